"""Files that are there whole or not at all, and mounted volumes that change as a kubelet changes them."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path


def write(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write a file so that a reader sees the old content or the new, never a part; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def publish(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make `folder` hold exactly these files, all at one moment, as a kubelet does with a mounted ConfigMap.

    Each name is a link to `..data/<name>`, and `..data` a link to a folder that is swapped whole: a reader
    never finds one new file beside an old one.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = Path(tempfile.mkdtemp(dir=folder, prefix="..version-"))
    for name, content in files.items():
        write(fresh / name, content)
    data = folder / "..data"
    before = data.resolve() if data.is_symlink() else None
    link = folder / "..data-new"
    link.unlink(missing_ok=True)
    link.symlink_to(fresh.name)
    link.replace(data)
    # An item's path may hold a slash: its first part is linked, as a kubelet does.
    names = {Path(name).parts[0] for name in files}
    for name in names:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    for entry in folder.iterdir():
        if entry.is_symlink() and entry.name != "..data" and entry.name not in names:
            entry.unlink()
    if before is not None:
        shutil.rmtree(before, ignore_errors=True)
