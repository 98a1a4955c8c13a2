"""Files that change whole."""

import os
import threading

import pytest

from holter_operator.local import files


def names(folder):
    return sorted(e.name for e in folder.iterdir() if not e.name.startswith(".."))


def test_a_volume_holds_exactly_what_is_published(tmp_path):
    files.publish(tmp_path / "v", {"a": b"1", "b": b"2"})
    assert ((tmp_path / "v" / "a").read_bytes(), (tmp_path / "v" / "b").read_bytes()) == (b"1", b"2")
    files.publish(tmp_path / "v", {"b": b"3", "hook/secret": b"s"})
    assert names(tmp_path / "v") == ["b", "hook"]
    assert (tmp_path / "v" / "hook" / "secret").read_bytes() == b"s"
    assert len([e for e in (tmp_path / "v").iterdir() if e.name.startswith("..version-")]) == 1, "old ones are gone"
    files.publish(tmp_path / "v", {})
    assert names(tmp_path / "v") == []


def test_files_of_one_version_are_never_mixed_with_another(tmp_path):
    """A reader that enters through the folder's `..data` sees one version whole."""
    folder, done, mixed, looks = tmp_path / "v", threading.Event(), [], 0
    files.publish(folder, {"a": b"0", "b": b"0"})

    def write():
        for n in range(1, 60):
            files.publish(folder, {"a": b"%d" % n, "b": b"%d" % n})
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        version = os.open(folder / "..data", os.O_RDONLY)
        try:
            a, b = (os.open(name, os.O_RDONLY, dir_fd=version) for name in "ab")
            if os.read(a, 9) != os.read(b, 9):
                mixed.append(looks)
            os.close(a)
            os.close(b)
            looks += 1
        except FileNotFoundError:
            pass  # the version went while it was entered: look again, as the services do
        finally:
            os.close(version)
    writer.join()
    assert looks
    assert not mixed


def test_a_secret_is_readable_by_its_owner_alone(tmp_path):
    files.publish(tmp_path / "v", {"token": b"t"})
    assert (tmp_path / "v" / "token").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "v").stat().st_mode & 0o777 == 0o700


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "f"
    files.write(path, b"old")

    def full(_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        files.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path], "no partial file is left"
