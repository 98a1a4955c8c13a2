"""The state folder: one `up`, a key for ever, and the end of what a killed one left."""

import json
import os
import subprocess
import sys
from base64 import urlsafe_b64decode

import pytest

from holter_operator.local import state
from holter_operator.local.state import StateError, StateFolder


@pytest.fixture
def folder(tmp_path):
    held = StateFolder(tmp_path / "s")
    yield held
    held.close()


@pytest.fixture
def sleeper():
    """A process in a session of its own, as `up` starts them."""
    code = "import signal, time; signal.signal(signal.SIGTERM, {}); print('up', flush=True); time.sleep(600)"
    made = []

    def start(handler="signal.SIG_DFL"):
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", code.format(handler)], start_new_session=True, stdout=subprocess.PIPE
        )
        process.stdout.readline()
        made.append(process)
        return process

    yield start
    for process in made:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_second_up_is_told_who_runs(folder):
    with pytest.raises(StateError, match=rf"pid {os.getpid()}\).*--state"):
        StateFolder(folder.path)
    folder.close()
    StateFolder(folder.path).close()


def test_a_lock_of_a_dead_process_is_none(tmp_path):
    path = str(tmp_path / "s")
    code = f"from pathlib import Path; from holter_operator.local.state import StateFolder; StateFolder(Path({path!r}))"
    subprocess.run([sys.executable, "-c", code], check=True)
    StateFolder(tmp_path / "s").close()


def test_console_tokens_are_made_once_and_a_lost_one_anew(folder):
    tokens = folder.console_tokens()
    assert set(tokens) == {"view", "acknowledge"}
    assert len(set(tokens.values())) == 2
    assert folder.console_tokens() == tokens
    (folder.path / "console-tokens" / "view").unlink()
    again = folder.console_tokens()
    assert again["view"] != tokens["view"]
    assert again["acknowledge"] == tokens["acknowledge"]


def test_the_device_key_is_made_once(folder):
    key = folder.device_key()
    assert set(key) == {"current"}
    assert len(urlsafe_b64decode(key["current"] + b"=")) == 32
    assert b"=" not in key["current"]
    assert folder.device_key() == key
    (folder.path / "device-key" / "previous").write_bytes(b"p")
    assert folder.device_key() == key | {"previous": b"p"}


def test_a_lost_key_of_a_cohort_with_data_is_not_made_anew(folder):
    folder.device_key()
    (folder.path / "store.db").touch()
    (folder.path / "device-key" / "current").unlink()
    with pytest.raises(StateError, match=r"is lost.*put the key back"):
        folder.device_key()


def test_damaged_files_of_ours_are_empty(folder):
    (folder.path / "ports.json").write_text("{")
    assert folder.read("ports.json") == {}
    (folder.path / "ports.json").write_text("[1]")
    assert folder.read("ports.json") == {}
    assert folder.read("nothing.json") == {}


def test_stale_processes_are_ended(folder, sleeper):
    process = sleeper()
    folder.started("ingest", process.pid)
    reaped = []
    assert folder.end_stale(sleep=lambda _: reaped.append(process.poll())) == ("ingest",)
    assert process.wait() == -15
    assert folder.read("processes.json") == {}


def test_one_that_ignores_sigterm_is_killed(folder, sleeper):
    process = sleeper("signal.SIG_IGN")
    folder.started("ingest", process.pid)
    assert folder.end_stale(grace=0.3) == ("ingest",)
    assert process.wait() == -9


def test_a_pid_that_went_to_another_program_is_let_be(folder, sleeper):
    process = sleeper()
    folder.started("ingest", process.pid)
    entry = json.loads((folder.path / "processes.json").read_bytes())
    entry[str(process.pid)]["began"] -= 1
    folder.write("processes.json", entry)
    assert folder.end_stale() == ()
    assert process.poll() is None


def test_what_ended_is_forgotten(folder, sleeper):
    process = sleeper()
    folder.started("ingest", process.pid)
    folder.ended(process.pid)
    assert folder.end_stale() == ()
    assert process.poll() is None


def test_a_full_disk_ends_nothing_that_runs(folder, sleeper, monkeypatch):
    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(state.files, "write", full)
    folder.started("ingest", sleeper().pid)
    folder.note("status.json", {})
    with pytest.raises(OSError, match="no space"):
        folder.write("cohort.json", {})


def test_clear_leaves_an_empty_folder_that_is_still_held(folder):
    folder.device_key()
    folder.write("ports.json", {"a": 1})
    folder.clear()
    assert [entry.name for entry in folder.path.iterdir() if entry.name != "processes.json"] == ["lock"]
    with pytest.raises(StateError):
        StateFolder(folder.path)


def test_a_taken_port_is_not_free():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert state.free_port(socket.SOCK_STREAM, port) is None
    assert state.free_port(socket.SOCK_STREAM, port) == port
    assert state.free_port(socket.SOCK_DGRAM) > 0
