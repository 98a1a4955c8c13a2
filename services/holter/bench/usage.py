"""What processes cost: CPU time and memory, from /proc (Linux)."""

import ctypes
import os
import signal
import time
from contextlib import suppress
from pathlib import Path


def cpu(pid: int) -> float:
    """CPU seconds of a process so far, user and system, all threads, ended ones too: the kernel's clock of it.

    Raises:
        OSError: it has ended, or this is not Linux.
    """
    return time.clock_gettime(~pid << 3 | 2)


def memory(pid: int) -> int:
    """Resident bytes of a process that are its own (unlike shared libraries' pages).

    Raises:
        OSError: it has ended, or this is not Linux.
    """
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) << 10
    raise OSError(f"/proc/{pid}/status has no RssAnon")


def load_average() -> float:
    """Of the last minute: how busy the machine was with anything."""
    return os.getloadavg()[0]


def die_with_parent() -> None:
    """For `preexec_fn`: a measurement that is killed leaves no services behind (prctl PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def listener(port: int) -> int | None:
    """The process of this machine that listens on a TCP port; None when it is elsewhere, or may not be looked at."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if any(str(entry.readlink()) in inodes for entry in (process / "fd").iterdir()):
                return int(process.name)
    return None
