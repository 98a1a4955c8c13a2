"""The state folder of one cohort: one `up` at a time, what it was told before, and what a killed one left behind."""

import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from holter_operator.local import files


class StateError(Exception):
    """The folder cannot be used; the message says what to do."""


class StateFolder:
    """The folder, held by this process until `release`.

    Raises:
        StateError: another `holter up` holds it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = (self.path / "lock").open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.seek(0)
            owner = self._lock.read().strip() or "unknown"
            self._lock.close()
            raise StateError(
                f"another `holter up` (pid {owner}) runs with {path}: stop it, or choose another folder with --state"
            ) from None
        self._lock.truncate(0)
        self._lock.write(f"{os.getpid()}\n")
        self._lock.flush()
        self._processes = dict[str, dict[str, Any]]()

    def close(self) -> None:
        """Let another `up` have it."""
        self._lock.close()

    def clear(self) -> None:
        """Begin anew: end what a killed `up` left, and remove everything that was kept."""
        self.end_stale()
        for entry in self.path.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name != "lock":
                entry.unlink()

    def read(self, name: str) -> dict[str, Any]:
        """One of our JSON files; empty when it is not there or was damaged."""
        try:
            value = json.loads((self.path / name).read_bytes())
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def write(self, name: str, value: Mapping[str, Any]) -> None:
        """Write one of our JSON files."""
        files.write(self.path / name, json.dumps(value, indent=2).encode() + b"\n")

    def note(self, name: str, value: Mapping[str, Any]) -> None:
        """Write what is only told, as well as it goes: a full disk must not end what runs."""
        with suppress(OSError):
            self.write(name, value)

    def device_key(self) -> dict[str, bytes]:
        """The cohort's device keys by name; made once and never again: every wearable's token hangs on them.

        To rotate, move `current` to `previous` and write a new `current`.
        """
        folder = self.path / "device-key"
        current = folder / "current"
        if not current.exists():
            if (self.path / "store.db").exists():
                raise StateError(
                    f"{current} is lost, but the cohort has been running: put the key back, or remove {self.path} "
                    "to begin anew (every device then needs a new token)"
                )
            files.write(current, urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"="))
        return {name: (folder / name).read_bytes() for name in ("current", "previous") if (folder / name).exists()}

    def console_tokens(self) -> dict[str, str]:
        """Tokens of those who look at the console and of those who acknowledge; a lost one is made anew."""
        tokens = {}
        for name in ("view", "acknowledge"):
            path = self.path / "console-tokens" / name
            if not path.exists():
                files.write(path, secrets.token_urlsafe(32).encode())
            tokens[name] = path.read_text().strip()
        return tokens

    # The register of running processes.

    def started(self, name: str, pid: int) -> None:
        """Remember a process."""
        self._processes[str(pid)] = {"name": name, "began": _began(pid)}
        self.note("processes.json", self._processes)

    def ended(self, pid: int) -> None:
        """Forget it."""
        if self._processes.pop(str(pid), None) is not None:
            self.note("processes.json", self._processes)

    def end_stale(self, grace: float = 30.0, *, sleep: Callable[[float], None] = time.sleep) -> tuple[str, ...]:
        """End what a killed `up` left: SIGTERM, and SIGKILL after `grace` seconds.

        A process is only touched when its start time is still the one remembered: a pid may have gone to another.

        Returns:
            The names of those that were still there.
        """
        left = {int(pid): entry for pid, entry in self.read("processes.json").items()}
        left = {pid: e for pid, e in left.items() if e.get("began") is not None and _began(pid) == e["began"]}
        names = tuple(sorted(str(e["name"]) for e in left.values()))
        for step in range(round(grace / 0.1) + 1):
            for pid in list(left):
                if _began(pid) != left[pid]["began"]:
                    del left[pid]
                elif step == 0:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGTERM)
            if not left:
                break
            sleep(0.1)
        for pid in left:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        self.write("processes.json", {})
        return names


def _began(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot (proc(5), stat, field 22); None when it is not running."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state == "Z" else int(fields[18])


def free_port(kind: socket.SocketKind, port: int = 0) -> int | None:
    """Bind `port` on 127.0.0.1 for a moment (0: any); None when it is taken."""
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind is socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # past TIME_WAIT, as the services bind
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return None
        return int(probe.getsockname()[1])
