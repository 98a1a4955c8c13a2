"""Group commit: whatever arrives within a few milliseconds shares one fsync, and the event loop never waits for it."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from holter.ingest.wal import Log

GATHER = 0.004
"""Seconds that a commit waits for company."""


class LogBrokenError(Exception):
    """A write to the log failed: nothing more is accepted by this process."""


class Commits:
    """Writes records to the log; lives on one event loop.

    Attributes:
        fault: why nothing more is accepted, once a write has failed: what it left on disk is unknown, so the process
            has to end, and the next one reads what is there.
        broken: set then.
    """

    def __init__(self, log: Log, committed: Callable[[Sequence[bytes]], None], gather: float = GATHER) -> None:
        """Args: the log; called with the records after each commit; seconds to wait for company."""
        self._log, self._committed, self._gather = log, committed, gather
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._open: list[bytes] = []
        self._open_bytes = self._writing_bytes = 0
        self._future: asyncio.Future[None] | None = None  # of the open records
        self._writing: asyncio.Future[None] | None = None  # of those that are being written
        self.fault: str | None = None
        self.broken = asyncio.Event()

    def check_room(self, size: int) -> None:
        """Return when records of `size` bytes may be appended.

        Raises:
            LogFullError: the log is full.
            LogBrokenError: it cannot be written.
        """
        if self.fault is not None:
            raise LogBrokenError(self.fault)
        self._log.check_room(self._open_bytes + self._writing_bytes + size)

    def append(self, record: bytes) -> None:
        """Add a record to the next commit; `check_room` comes first."""
        self._open.append(record)
        self._open_bytes += len(record)
        if self._future is None:
            loop = asyncio.get_running_loop()
            self._future = loop.create_future()
            loop.call_later(self._gather, self._write)

    def pending(self) -> asyncio.Future[None] | None:
        """Done when everything appended so far is on disk; None when it is. Shared: await it through `on_disk`."""
        return self._future or self._writing

    async def on_disk(self) -> None:
        """Return when everything appended so far is on disk.

        Raises:
            LogBrokenError: it may not be.
        """
        if self.fault is not None:
            raise LogBrokenError(self.fault)
        future = self.pending()
        if future is not None:
            await asyncio.shield(future)

    def close(self) -> None:
        """End the thread; nothing may be pending."""
        self._thread.shutdown()

    def _write(self) -> None:
        if self._writing is not None or self._future is None:
            return  # the end of the commit under way begins the next one
        records, self._open = self._open, []
        self._writing_bytes, self._open_bytes = self._open_bytes, 0
        self._writing, self._future = self._future, None
        done = asyncio.get_running_loop().run_in_executor(self._thread, self._log.write, b"".join(records))
        done.add_done_callback(lambda written: self._finish(written.exception(), records))

    def _finish(self, error: BaseException | None, records: Sequence[bytes]) -> None:
        future, self._writing, self._writing_bytes = self._writing, None, 0
        if future is None:
            return
        if error is None:
            future.set_result(None)
            self._committed(records)
        else:
            self.fault = f"the log cannot be written: {error}"
            self.broken.set()
            for waiting in (future, self._future):
                if waiting is not None:
                    waiting.set_exception(LogBrokenError(self.fault))
                    waiting.exception()  # nobody may be waiting for it (UDP)
            self._future = None
        self._write()
