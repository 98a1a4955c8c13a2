"""Takes the log to the store, in batches, for as long as it takes: the store may be down, a chunk may be refused."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from holter.chunk import Chunk
from holter.config import IngestConfig
from holter.ingest.measures import Measures
from holter.ingest.wal import Log
from holter.store.protocol import Store, StoreRefusedError, StoreUnavailableError

_log = structlog.get_logger()
_WIDEST = 4
_TOLD = 5


class Drain:
    """The blocking half: one batch a call. One thread at a time."""

    def __init__(self, log: Log, open_store: Callable[[], Store], measures: Measures) -> None:
        """Args: the log; opens the store, and may raise what any of its calls may; where to count."""
        self._log, self._open_store, self._measures = log, open_store, measures
        self._store: Store | None = None
        self._at = log.stored
        self._width = 1

    def step(self, batch: int) -> bool:
        """Take up to `batch` chunks to the store; False when there is nothing left.

        Raises:
            StoreUnavailableError: the store takes nothing now; the chunks stay where they are.
            OSError: the log cannot be read.
        """
        chunks: list[Chunk] = []
        at, wanted = self._at, batch * self._width
        while len(chunks) < wanted:
            page = self._log.read(at, wanted - len(chunks))
            if page.end == at:
                break
            if page.damaged:
                self._measures.rejected("damaged")
                _log.error("log_damaged", segment=at.segment, unreadable_bytes=page.damaged)
            chunks.extend(page.chunks)
            at = page.end
        if at == self._at:
            return False
        if chunks:
            self._write(chunks)
        self._at = at
        try:
            self._log.mark_stored(at)
        except OSError as e:
            _log.warning("log_mark_failed", error=str(e))
        return True

    def close_store(self) -> None:
        """Close the store; the next step opens it anew."""
        store, self._store = self._store, None
        if store is not None:
            store.close()

    def _write(self, chunks: Sequence[Chunk]) -> None:
        try:
            self._call(chunks)
        except StoreRefusedError as e:
            self._leave_refused(chunks, str(e))
        self._width = 1

    def _leave_refused(self, chunks: Sequence[Chunk], reason: str) -> None:
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

    def _isolate(self, chunks: Sequence[Chunk], reason: str) -> list[tuple[Chunk, str]]:
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

    def _call(self, chunks: Sequence[Chunk]) -> None:
        if self._store is None:
            try:
                self._store = self._open_store()
            except StoreRefusedError as e:
                raise StoreUnavailableError(f"the store cannot be opened: {e}") from e
        begun = time.perf_counter()
        written = self._store.write_chunks(chunks)
        self._measures.store_seconds.observe(time.perf_counter() - begun)
        if written.conflicts:
            self._measures.rejected("conflict", written.conflicts)


class Writer:
    """The waiting half, on the event loop: a batch when it is full or `flush_interval` has passed.

    Attributes:
        fault: why the store takes nothing now.
        patience: seconds between two tries at most.
    """

    def __init__(self, drain: Drain, config: IngestConfig, measures: Measures) -> None:
        self.fault: str | None = None
        self.patience = 15.0
        self._drain, self._measures = drain, measures
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._wake = asyncio.Event()
        self._fresh = 0
        self._closing = False
        self._config = config

    def reconfigure(self, config: IngestConfig) -> None:
        """Go on under another configuration; another layout opens the store anew."""
        if config.layout != self._config.layout:
            self._thread.submit(self._drain.close_store)
        self._config = config

    def committed(self, chunks: int) -> None:
        """So many more chunks are in the log."""
        self._fresh += chunks
        if self._fresh >= self._batch():
            self._wake.set()

    async def run(self) -> None:
        """Write until `close`, or until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            # A full batch sets the event; time passes else. wait_for would raise each time it does.
            handle = loop.call_later(self._config.flush_interval, self._wake.set)
            await self._wake.wait()
            handle.cancel()
            if not self._closing:
                self._wake.clear()
            self._fresh = 0
            while await self._patiently():
                pass
            if self._closing:
                return

    def close(self) -> None:
        """Let `run` return when the log is in the store."""
        self._closing = True
        self._wake.set()

    def shutdown(self) -> None:
        """End the thread, when its call returns, and close the store."""
        self._thread.submit(self._drain.close_store)
        self._thread.shutdown()

    async def _patiently(self) -> bool:
        """One step; tried again, with more and more patience, until it succeeds."""
        # Whatever a store raises, the log stays and the next try may succeed: nothing is given up here.
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Exception),
            wait=wait_random_exponential(multiplier=0.2, max=self.patience),
            before_sleep=self._tell,
        )
        more: bool = await retrying(self._step)
        if self.fault is not None:
            _log.info("store_back")
            self.fault = None
        return more

    async def _step(self) -> bool:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._drain.step, self._batch())

    def _tell(self, state: RetryCallState) -> None:
        error = state.outcome and state.outcome.exception()
        self._measures.store_errors.inc()
        self.fault = str(error)
        _log.warning("store_unavailable", error=self.fault, attempt=state.attempt_number)

    def _batch(self) -> int:
        """Chunks in a batch: a point is a chunk, or in the layout Samples a sample."""
        config = self._config
        return config.batch_size if config.layout == "Chunks" else max(1, int(config.batch_size / config.sample_rate))
