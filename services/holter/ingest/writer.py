"""Takes the log to the store, in batches, for as long as it takes: the store may be down, a chunk may be refused."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from holter.chunk import Chunk
from holter.config import IngestConfig
from holter.ingest.measures import Measures
from holter.ingest.pending import Stretch
from holter.ingest.wal import Log
from holter.packed import Batch
from holter.store.protocol import Store, StoreRefusedError, StoreUnavailableError

WIDEST = 10
"""A batch may be this many times the configured size when so much is waiting."""
APART = 0.5
"""Seconds between the beginnings of two writes, unless the widest batch is full, or the flush interval is less."""
ASIDE_BYTES = 16 << 20
"""More than this behind, and what is behind is stored beside what comes: some 30,000 chunks."""
SHARE = 0.5
"""Of the time, at most, in which what was set aside is written."""
_LONGEST_WAIT = 60.0
_WIDEST = 4
_TOLD = 5
_log = structlog.get_logger()


class Drain:
    """The blocking half: one batch a call. Several threads may call it, each for another part of the log."""

    def __init__(self, log: Log, open_store: Callable[[], Store], measures: Measures) -> None:
        """Args: the log; opens the store, and may raise what any of its calls may; where to count."""
        self._log, self._open_store, self._measures = log, open_store, measures
        self._store: Store | None = None
        self._opening = threading.Lock()
        self._width = 1

    def step(self, batch: int, of: Stretch | None = None) -> bool:
        """Take up to `batch` chunks to the store; False when there is nothing left.

        Args:
            batch: chunks.
            of: a stretch of `Log.pending`; None is the live end.

        Raises:
            StoreUnavailableError: the store takes nothing now; the chunks stay where they are.
            OSError: the log cannot be read.
        """
        at, end = (self._log.pending.live, None) if of is None else of
        page = self._log.read(at, batch * self._width, end)
        if page.end == at:
            return False
        if page.damaged:
            self._measures.rejected("damaged")
            _log.error("log_damaged", segment=at.segment, unreadable_bytes=page.damaged)
        if page.chunks:
            self._write(page.chunks)
        try:
            self._log.mark_stored(page.end, of)
        except OSError as e:
            _log.warning("log_mark_failed", error=str(e))
        return True

    def close_store(self) -> None:
        """Close the store; the next step opens it anew."""
        with self._opening:
            store, self._store = self._store, None
        if store is not None:
            store.close()

    def _write(self, chunks: Batch) -> None:
        try:
            self._call(chunks)
        except StoreRefusedError as e:
            self._leave_refused(chunks, str(e))
        self._width = 1

    def _leave_refused(self, chunks: Batch, reason: str) -> None:
        """Store all but the chunks that the store will never take.

        When it takes none at all, the fault is most likely not the chunks' (rights, a bucket that is gone): they are
        kept and tried again together with more.
        """
        refused = self._isolate(chunks, reason)
        if len(refused) == len(chunks):
            self._width = min(2 * self._width, _WIDEST)
            raise StoreUnavailableError(f"write_chunks: all of {len(chunks)} chunks were refused: {reason}")
        self._measures.rejected("store_refused", len(refused))
        for chunk, why in refused[:_TOLD]:
            _log.error("chunk_refused_by_store", device_id=chunk.device_id, t0=chunk.t0, reason=why, of=len(refused))

    def _isolate(self, chunks: Batch, reason: str) -> list[tuple[Chunk, str]]:
        if len(chunks) == 1:
            return [(chunks[0], reason)]
        refused: list[tuple[Chunk, str]] = []
        middle = len(chunks) // 2
        for half in (chunks[:middle], chunks[middle:]):
            try:
                self._call(half)
            except StoreRefusedError as e:
                refused += self._isolate(half, str(e))
        return refused

    def _call(self, chunks: Batch) -> None:
        begun = time.perf_counter()
        written = self._opened().write_chunks(chunks)
        self._measures.store_seconds.observe(time.perf_counter() - begun)
        if written.conflicts:
            self._measures.rejected("conflict", written.conflicts)
        if written.refused:
            self._measures.rejected("store_refused", written.refused)

    def _opened(self) -> Store:
        with self._opening:
            if self._store is None:
                try:
                    self._store = self._open_store()
                except StoreRefusedError as e:
                    raise StoreUnavailableError(f"the store cannot be opened: {e}") from e
            return self._store


class Writer:
    """The waiting half, on the event loop. Two writes at most are under way: of what comes, and of what was set aside.

    Attributes:
        fault: why the store takes nothing now.
        patience: seconds between two tries at most, when the store does not say how long to wait.
    """

    def __init__(self, drain: Drain, log: Log, config: IngestConfig, measures: Measures) -> None:
        self.fault: str | None = None
        self.patience = 15.0
        self._drain, self._log, self._measures, self._config = drain, log, measures, config
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="store")
        self._wake, self._well, self._ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._well.set()
        self._fresh = 0
        self._begun = float("-inf")
        self._closing = False

    def reconfigure(self, config: IngestConfig) -> None:
        """Go on under another configuration; another layout opens the store anew."""
        if config.layout != self._config.layout:
            self._threads.submit(self._drain.close_store)
        self._config = config

    def committed(self, chunks: int) -> None:
        """So many more chunks are in the log."""
        self._fresh += chunks
        apart = asyncio.get_running_loop().time() - self._begun >= min(APART, self._config.flush_interval)
        if self._fresh >= (self._batch() if apart else WIDEST * self._batch()):
            self._wake.set()

    async def run(self) -> None:
        """Write until `close` and nothing is left, or until cancelled."""
        aside = asyncio.create_task(self._catch_up())
        try:
            await self._follow()
            await aside
        finally:
            aside.cancel()
            with suppress(asyncio.CancelledError):
                await aside

    def close(self) -> None:
        """Let `run` return when the log is in the store."""
        self._closing = True
        self._wake.set()
        self._ended.set()

    def shutdown(self) -> None:
        """End the threads, when their calls return, and close the store."""
        self._threads.submit(self._drain.close_store)
        self._threads.shutdown()

    async def _follow(self) -> None:
        """What comes: a batch when it is large enough, or `flush_interval` has passed."""
        loop = asyncio.get_running_loop()
        while True:
            # A full batch sets the event; time passes else. wait_for would raise each time it does.
            handle = loop.call_later(self._config.flush_interval, self._wake.set)
            await self._wake.wait()
            handle.cancel()
            if not self._closing:
                self._wake.clear()
            self._fresh, self._begun = 0, loop.time()
            more = True
            while more:
                if not self._closing:
                    self._set_aside()
                more = await self._patiently()
            if self._closing:
                return

    async def _catch_up(self) -> None:
        """What was set aside: in its order, at a limited rate, and only while the store takes what comes."""
        while True:
            if not self._closing:
                await self._well.wait()
            aside = self._log.pending.aside
            if not aside:
                if self._closing:
                    return
                await self._until_ended(1.0)
                continue
            begun = time.perf_counter()
            await self._patiently(aside[0])
            if not self._log.pending.aside:
                _log.info("caught_up")
            await self._until_ended((time.perf_counter() - begun) * (1 / SHARE - 1))

    def _set_aside(self) -> None:
        """Far behind: after an outage, or at the start. What comes now must not wait for all of that."""
        behind = self._log.live_backlog
        if behind > ASIDE_BYTES:
            self._log.set_aside()
            _log.info("set_aside", bytes=behind)

    async def _until_ended(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()

    async def _patiently(self, of: Stretch | None = None) -> bool:
        """One step; tried again, with more and more patience, until it succeeds."""
        # Whatever a store raises, the log stays and the next try may succeed: nothing is given up here.
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Exception),
            wait=self._wait,
            before_sleep=self._tell,
        )
        more: bool = await retrying(self._step, of)
        if more:
            self._recovered()
        return more

    async def _step(self, of: Stretch | None) -> bool:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._drain.step, WIDEST * self._batch(), of)

    def _wait(self, state: RetryCallState) -> float:
        """What the store asked for and a little more; else longer and longer, at random, so that pods do not meet."""
        error = state.outcome and state.outcome.exception()
        asked = error.wait if isinstance(error, StoreUnavailableError) else None
        backoff = wait_random_exponential(multiplier=0.2, max=self.patience)(state)
        return backoff if asked is None else min(asked, _LONGEST_WAIT) + min(backoff, 1.0)

    def _tell(self, state: RetryCallState) -> None:
        error = state.outcome and state.outcome.exception()
        self._measures.store_errors.inc()
        self.fault = str(error)
        self._well.clear()
        _log.warning("store_unavailable", error=self.fault, attempt=state.attempt_number)

    def _recovered(self) -> None:
        self._well.set()
        if self.fault is not None:
            _log.info("store_back")
            self.fault = None

    def _batch(self) -> int:
        """Chunks in a batch: a point is a chunk, or in the layout Samples a sample."""
        config = self._config
        return config.batch_size if config.layout == "Chunks" else max(1, int(config.batch_size / config.sample_rate))
