"""Become a command that gets SIGTERM when its parent dies: `python -I -S tether.py <parent's pid> <command…>`.

A killed `holter up` so leaves no service behind. The kernel keeps the wish over exec, so no process stays in between.
Linux only; elsewhere the next `holter up` ends what a killed one left.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2)


def main() -> None:
    """Tie this process to its parent, then become the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before the wish was known
            sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    main()
