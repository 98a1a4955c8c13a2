"""Group commit: whatever arrives within a few milliseconds shares one fsync, and the event loop never waits for it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread

from holter.ingest.wal import Log, LogFullError

GATHER = 0.008
"""Seconds that records wait for company when somebody waits for them."""
GATHER_UNAWAITED = 0.04
"""Seconds when nobody does (UDP)."""


class LogBrokenError(Exception):
    """A write to the log failed: nothing more is accepted by this process."""


@dataclass(frozen=True, slots=True)
class _Order:
    """What one commit writes."""

    records: Sequence[bytes]
    inherited: Sequence[tuple[bytes, int]]
    sync: bool

    def joined(self) -> bytes:
        return b"".join([*self.records, *(block for block, _ in self.inherited)])


class Commits:
    """Writes records to the log; lives on one event loop, with a thread of its own.

    Attributes:
        fault: why nothing more is accepted, once a write has failed: what it left on disk is unknown, so the process
            has to end, and the next one reads what is there.
        broken: set then.
    """

    def __init__(
        self,
        log: Log,
        committed: Callable[[Sequence[bytes], int], None],
        dropped: Callable[[Sequence[bytes]], None] = lambda _: None,
        gather: float = GATHER,
    ) -> None:
        """Start the thread.

        Args:
            log: is written to by nobody else.
            committed: called after each commit with what `append` was given, and the number of records in all.
            dropped: called with all of one that the disk had no room for.
            gather: seconds to wait for company.
        """
        self._log, self._committed, self._dropped, self._gather = log, committed, dropped, gather
        self._open: list[bytes] = []
        self._inherited: list[tuple[bytes, int]] = []
        self._open_bytes = self._writing_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._future: asyncio.Future[None] | None = None  # of the open records, when somebody may wait for them
        self._writing: asyncio.Future[None] | None = None  # of those that are being written
        self._busy = False
        self.fault: str | None = None
        self.broken = asyncio.Event()
        self._orders: SimpleQueue[_Order | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name="commit", daemon=True)
        self._thread.start()

    def check_room(self, size: int) -> None:
        """Return when records of `size` bytes may be appended.

        Raises:
            LogFullError: the log is full.
            LogBrokenError: it cannot be written.
        """
        if self.fault is not None:
            raise LogBrokenError(self.fault)
        self._log.check_room(self._open_bytes + self._writing_bytes + size)

    def append(self, record: bytes, *, awaited: bool = True) -> None:
        """Add a record to the next commit; `check_room` comes first.

        Args:
            record: see `holter.ingest.records`.
            awaited: False when nobody is told of it (UDP): it is written a little later, and survives the end of this
                process from then on, that of the machine within a second more.
        """
        self._open.append(record)
        self._open_bytes += len(record)
        if awaited:
            if self._future is None:
                self._future = asyncio.get_running_loop().create_future()
                self._schedule(self._gather)
        elif self._timer is None and not self._busy:
            self._schedule(GATHER_UNAWAITED)

    def append_inherited(self, block: bytes, count: int) -> None:
        """Add records that another process had accepted, as they are in its log; they are awaited."""
        self._inherited.append((block, count))
        self._open_bytes += len(block)
        if self._future is None:
            self._future = asyncio.get_running_loop().create_future()
            self._schedule(self._gather)

    def pending(self) -> asyncio.Future[None] | None:
        """Done when everything awaited so far is on disk; None when it is. Shared: await it through `on_disk`."""
        return self._future or self._writing

    @property
    def idle(self) -> bool:
        """Whether everything appended so far is written, awaited or not."""
        return not (self._open or self._inherited or self._busy)

    async def on_disk(self) -> None:
        """Return when everything awaited so far is on disk.

        Raises:
            LogBrokenError: it may not be.
            LogFullError: it is not, and nothing of it is kept: the disk is full.
        """
        if self.fault is not None:
            raise LogBrokenError(self.fault)
        future = self.pending()
        if future is not None:
            await asyncio.shield(future)

    async def flush(self) -> None:
        """Return when everything appended so far is written, awaited or not.

        Raises:
            LogBrokenError, LogFullError: see `on_disk`.
        """
        if self._open and self._future is None:
            self._future = asyncio.get_running_loop().create_future()
            self._schedule(0.0)
        await self.on_disk()

    def close(self) -> None:
        """End the thread; nothing may be pending."""
        self._orders.put(None)
        self._thread.join()

    def _schedule(self, wait: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(wait, self._write)

    def _write(self) -> None:
        self._timer = None
        if self._busy or not (self._open or self._inherited):
            return  # the end of the commit under way begins the next one
        order = _Order(self._open, self._inherited, sync=self._future is not None)
        self._open, self._inherited = [], []
        self._writing_bytes, self._open_bytes = self._open_bytes, 0
        self._writing, self._future = self._future, None
        self._busy = True
        self._loop = asyncio.get_running_loop()
        self._orders.put(order)

    def _work(self) -> None:
        """The thread: a write and an fsync at a time."""
        while (order := self._orders.get()) is not None:
            try:
                self._log.write(order.joined(), sync=order.sync)
            except (OSError, LogFullError) as error:
                self._loop.call_soon_threadsafe(self._finish, order, error)
            else:
                self._loop.call_soon_threadsafe(self._finish, order, None)

    def _finish(self, order: "_Order", error: Exception | None) -> None:
        future, self._writing, self._writing_bytes, self._busy = self._writing, None, 0, False
        if error is None:
            self._committed(order.records, len(order.records) + sum(count for _, count in order.inherited))
            if future is not None:
                future.set_result(None)
        elif isinstance(error, LogFullError):
            self._dropped([*order.records, *(block for block, _ in order.inherited)])
            _fail(future, error)
        else:
            self.fault = f"the log cannot be written: {error}"
            self.broken.set()
            _fail(future, LogBrokenError(self.fault))
            _fail(self._future, LogBrokenError(self.fault))
            self._future = None
        if not self.idle and self._timer is None:
            self._write()


def _fail(future: "asyncio.Future[None] | None", error: Exception) -> None:
    if future is not None:
        future.set_exception(error)
        future.exception()  # nobody may be waiting for it
