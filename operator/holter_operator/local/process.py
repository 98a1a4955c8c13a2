"""One process: started in a group of its own, its output read line by line, ended so that nothing of it is left."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from holter_operator.local.specs import ProcessSpec

_TETHER = str(Path(__file__).with_name("tether.py"))
_LONGEST_LINE = 65_536


class Register(Protocol):
    """Remembers which processes run, so that the next `holter up` can end those a killed one left."""

    def started(self, name: str, pid: int) -> None:
        """A process runs."""

    def ended(self, pid: int) -> None:
        """It does not any more."""


class Process:
    """A running process; make one with `launch`."""

    def __init__(
        self, spec: ProcessSpec, child: asyncio.subprocess.Process, lines: asyncio.Task[None], register: Register
    ) -> None:
        self.spec = spec
        self._child = child
        self._lines = lines
        self._register = register

    @classmethod
    async def launch(cls, spec: ProcessSpec, line: Callable[[str, str], None], register: Register) -> "Process":
        """Start it; `line(name, text)` is called with each line it writes.

        Raises:
            OSError: it cannot be started.
        """
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("HOLTER_")}
        reading, writing = os.pipe()
        try:
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", _TETHER, str(os.getpid()), *spec.argv),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                env=inherited | {"PYTHONUNBUFFERED": "1"} | dict(spec.env),
                start_new_session=True,
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        register.started(spec.name, child.pid)
        lines = asyncio.create_task(_read_lines(reading, lambda text: line(spec.name, text)))
        return cls(spec, child, lines, register)

    @property
    def pid(self) -> int:
        """Process id, which is also that of its group."""
        return self._child.pid

    async def wait(self) -> int:
        """Wait until it has ended by itself or been ended.

        Returns:
            Its exit code; minus the signal's number when a signal ended it.
        """
        code = await self._child.wait()
        self.kill()  # whatever it started
        await self._lines
        self._register.ended(self.pid)
        return code

    async def finish(self) -> int:
        """Wait for a job's end; its deadline, or being cancelled, ends it."""
        try:
            return await asyncio.wait_for(asyncio.shield(self.wait()), self.spec.deadline)
        except TimeoutError:
            return await self.end()
        except asyncio.CancelledError:
            await self.end()
            raise

    async def end(self, *, grace: float | None = None) -> int:
        """SIGTERM, and SIGKILL after the grace period (the manifest's when not given)."""
        if self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(signal.SIGTERM)
        waiting = asyncio.ensure_future(self.wait())
        await asyncio.wait([waiting], timeout=self.spec.grace if grace is None else grace)
        if not waiting.done():
            self.kill()
        return await waiting

    def kill(self) -> None:
        """SIGKILL to the whole group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


async def _read_lines(descriptor: int, line: Callable[[str], None]) -> None:
    """Hand on each line until the last writer has closed the pipe; an endless line is cut."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
    )
    rest = b""
    try:
        while data := await reader.read(_LONGEST_LINE):
            *whole, rest = (rest + data).split(b"\n")
            if len(rest) >= _LONGEST_LINE:
                whole, rest = [*whole, rest], b""
            for text in whole:
                line(text.decode(errors="replace"))
        if rest:
            line(rest.decode(errors="replace"))
    finally:
        transport.close()
