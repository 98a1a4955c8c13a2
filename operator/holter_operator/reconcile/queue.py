"""Which cohort is looked at next: each key once however often it is woken, never twice at a time, failures later.

Those that took long hold each other up, and no others: they have half of the workers at most.
"""

import asyncio
import heapq
import random
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

SETTLE = 0.1
"""Seconds that a woken key waits: what comes together is one reason."""

FIRST_RETRY, LONGEST_RETRY = 0.5, 120.0
SPREAD = 0.2
"""Share by which times are spread, so that a thousand cohorts do not come at once."""


SLOW = 3.0
"""Seconds of work after which a key is a slow one: what it waits for, an InfluxDB of its own, does not answer."""


class Queue(Generic[K]):
    """Keys with times.

    Args:
        work: looks at a key; gives the seconds until it is to be looked at again unless it is woken before. When it
            raises, it is tried again, later each time.
        clock: monotonic seconds.
        chance: 0..1.
    """

    def __init__(
        self,
        work: Callable[[K], Awaitable[float | None]],
        clock: Callable[[], float] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._work = work
        self._clock = clock or asyncio.get_running_loop().time
        self._chance = chance
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._count = 0
        self._busy: set[K] = set()
        self._slow: set[K] = set()
        self._failures: dict[K, int] = {}
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        now = self._clock()
        return sum(1 for due in self._due.values() if due <= now)

    def add(self, key: K, after: float = SETTLE) -> None:
        """Look at a key, at the latest in so many seconds. In the event loop's thread."""
        self._put(key, self._clock() + after)

    async def run(self, workers: int) -> None:
        """Serve, so many keys at a time, until cancelled."""
        serving = set[asyncio.Task[None]]()
        try:
            while True:
                self._wake.clear()
                key, wait = self._take(max(1, workers // 2)) if len(self._busy) < workers else (None, None)
                if key is None:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(wait):
                            await self._wake.wait()
                    continue
                task = asyncio.create_task(self._serve(key))
                serving.add(task)
                task.add_done_callback(serving.discard)
        finally:
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)

    async def _serve(self, key: K) -> None:
        again: float | None
        began = self._clock()
        try:
            again = await self._work(key)
            self._failures.pop(key, None)
        except Exception as error:
            failures = self._failures.get(key, 0)
            self._failures[key] = failures + 1
            again = max(getattr(error, "retry_after", None) or 0.0, min(LONGEST_RETRY, FIRST_RETRY * 2**failures))
        self._busy.discard(key)
        (self._slow.add if self._clock() - began > SLOW else self._slow.discard)(key)
        if again is not None:
            self._put(key, self._clock() + again * (1 + SPREAD * (2 * self._chance() - 1)))
        self._wake.set()

    def _take(self, most_slow: int) -> tuple[K | None, float | None]:
        """A key whose time has come, or the seconds until one's does."""
        now, aside = self._clock(), []
        held_up = self._slow if len(self._slow & self._busy) >= most_slow else frozenset()
        try:
            while self._heap:
                due, _, key = self._heap[0]
                if self._due.get(key) != due:
                    heapq.heappop(self._heap)  # it was asked for earlier than this, and has been served
                elif due > now:
                    return None, due - now
                elif key in self._busy or key in held_up:
                    aside.append(heapq.heappop(self._heap))
                else:
                    heapq.heappop(self._heap)
                    del self._due[key]
                    self._busy.add(key)
                    return key, None
            return None, None
        finally:
            for entry in aside:
                heapq.heappush(self._heap, entry)

    def _put(self, key: K, due: float) -> None:
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            self._count += 1
            heapq.heappush(self._heap, (due, self._count, key))
            self._wake.set()
