"""Sends the chunks of many devices over few connections, each until it is acknowledged, each device's in order."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from heapq import merge

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from holter.chunk import MICROSECONDS, Chunk
from holter.sim.link import AccessError, Link, NotNowError

log = structlog.get_logger()

Sleep = Callable[[float], Awaitable[None]]


@dataclass(slots=True)
class Counts:
    """What became of the chunks.

    Attributes:
        handed: taken over from the producer.
        acknowledged: stored for good (over UDP: sent).
        refused: never to be taken.
        retries: attempts that had to be repeated.
        last_refusal: the reason of the last one that was refused.
    """

    handed: int = 0
    acknowledged: int = 0
    refused: int = 0
    retries: int = 0
    last_refusal: str = ""

    @property
    def waiting(self) -> int:
        """Chunks whose fate is open."""
        return self.handed - self.acknowledged - self.refused


class Sender:
    """Lanes side by side, a connection each; a device always takes the same lane, so its chunks stay in order.

    Args:
        connect: makes one link.
        lanes: number of connections.
        buffer: chunks that wait per lane; beyond it `put` waits, so nothing is dropped and memory is bounded.
        batch: most chunks in one attempt.
        sleep: waits between attempts.
    """

    def __init__(
        self,
        connect: Callable[[], Link],
        *,
        lanes: int = 4,
        buffer: int = 2000,
        batch: int = 64,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.counts = Counts()
        self._batch, self._sleep = batch, sleep
        self._links = [connect() for _ in range(lanes)]
        self._queues: list[asyncio.Queue[Chunk]] = [asyncio.Queue(buffer) for _ in range(lanes)]
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Sender":
        self._tasks = [asyncio.create_task(self._run(*lane)) for lane in zip(self._links, self._queues, strict=True)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for link in self._links:
            await link.close()

    async def put(self, chunk: Chunk) -> None:
        """Hand over a chunk; waits while its lane is full.

        Raises:
            AccessError: the ingest does not accept the key.
        """
        lane = zlib.crc32(chunk.device_id.encode()) % len(self._queues)
        queue = self._queues[lane]
        if queue.full() or any(task.done() for task in self._tasks):
            await self._unless_failed(queue.put(chunk))
        else:
            queue.put_nowait(chunk)
        self.counts.handed += 1

    async def drain(self) -> None:
        """Return when every chunk was acknowledged or refused.

        Raises:
            AccessError: the ingest does not accept the key.
        """
        for queue in self._queues:
            await self._unless_failed(queue.join())

    async def _unless_failed(self, awaitable: Awaitable[None]) -> None:
        # A lane ends only by a fault, and then nobody would ever empty its queue.
        waiting = asyncio.ensure_future(awaitable)
        try:
            await asyncio.wait([waiting, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in self._tasks:
                if task.done():
                    task.result()
            await waiting
        finally:
            waiting.cancel()

    async def _run(self, link: Link, queue: asyncio.Queue[Chunk]) -> None:
        while True:
            pending = [await queue.get()]
            while len(pending) < self._batch and not queue.empty():
                pending.append(queue.get_nowait())
            taken = len(pending)
            retrying = AsyncRetrying(
                retry=retry_if_exception_type(NotNowError),
                wait=_wait,
                sleep=self._sleep,
                before_sleep=self._count_retry,
            )
            await retrying(self._attempt, link, pending)
            for _ in range(taken):
                queue.task_done()

    async def _attempt(self, link: Link, pending: list[Chunk]) -> None:
        delivery = await link.deliver(pending)
        self.counts.acknowledged += len(delivery.acknowledged)
        self.counts.refused += len(delivery.refused)
        for index, reason in delivery.refused.items():
            self.counts.last_refusal = f"{pending[index].device_id}: {reason}"
        done = delivery.acknowledged | delivery.refused.keys()
        pending[:] = [chunk for i, chunk in enumerate(pending) if i not in done]
        if pending:
            raise NotNowError(f"{len(pending)} chunks were not acknowledged", delivery.wait)

    def _count_retry(self, state: RetryCallState) -> None:
        self.counts.retries += 1
        if state.attempt_number == 3 and state.outcome is not None:
            log.warning("ingest does not take chunks", reason=str(state.outcome.exception()))


_backoff = wait_random_exponential(multiplier=0.2, max=10)


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    asked = error.wait if isinstance(error, NotNowError) else 0.0
    return max(asked, _backoff(state))


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a chunk may leave: event time runs at `speed` from `live` on, and what is older leaves at once.

    Attributes:
        start: wall clock at which event time `live` is reached, seconds since the epoch.
        live: event time, µs since the epoch.
        speed: event seconds per second.
    """

    start: float
    live: int
    speed: float = 1.0

    def due(self, event: int) -> float:
        """Wall clock (seconds since the epoch) at which an event time (µs) has come."""
        return self.start + max(0, event - self.live) / MICROSECONDS / self.speed


async def play(
    streams: Iterable[Iterator[Chunk]],
    schedule: Schedule,
    sender: Sender,
    *,
    clock: Callable[[], float],
    jitter: Callable[[], float] = lambda: 0.0,
    sleep: Sleep = asyncio.sleep,
) -> None:
    """Hand over each chunk once its last sample has been taken.

    Args:
        streams: one a device, each in order of time.
        schedule: when each is due.
        sender: takes them.
        clock: wall clock, seconds since the epoch.
        jitter: seconds by which a live chunk leaves late, below a second.
        sleep: waits.

    Raises:
        AccessError: the ingest does not accept the key.
    """
    for chunk in merge(*streams, key=lambda chunk: chunk.end):
        if chunk.end > schedule.live:
            wait = schedule.due(chunk.end) + jitter() / schedule.speed - clock()
            if wait > 0:
                await sleep(wait)
        await sender.put(chunk)


__all__ = ["AccessError", "Counts", "Schedule", "Sender", "play"]
