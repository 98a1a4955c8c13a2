"""When the store is asked to forget, and that nothing it does ends that."""

import asyncio

import pytest

from holter.ingest.prune import EVERY, FIRST, prune_hourly
from holter.store.protocol import StoreRefusedError, StoreUnavailableError

START, HOUR = 1_760_000_000, 3600


class Stores:
    """Opens stores whose pruning does what `outcomes` says next: a count, or an error."""

    def __init__(self, *outcomes):
        self.outcomes, self.before, self.opened, self.closed = list(outcomes), [], 0, 0

    def __call__(self):
        self.opened += 1
        if self.outcomes[0] == "cannot be opened":
            self.outcomes.pop(0)
            raise StoreUnavailableError("open: no")
        return self

    def prune(self, before):
        self.before.append(before)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def close(self):
        self.closed += 1


class Time:
    """Sleeping takes no time; after `sleeps` of them it lasts."""

    def __init__(self, sleeps):
        self.now, self.slept, self.sleeps, self.over = START, [], sleeps, asyncio.Event()

    async def sleep(self, seconds):
        if len(self.slept) == self.sleeps:
            self.over.set()
            await asyncio.Event().wait()
        self.slept.append(seconds)
        self.now += seconds


async def run(stores, sleeps, retention=lambda: 24 * HOUR):
    time = Time(sleeps)
    pruning = asyncio.create_task(prune_hourly(stores, retention, lambda: time.now * 1_000_000, time.sleep))
    async with asyncio.timeout(10):
        await time.over.wait()
    pruning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pruning
    return time


async def test_a_minute_after_the_start_and_then_each_hour():
    stores = Stores(7, 0, 3)
    time = await run(stores, 3)
    assert time.slept == [FIRST, EVERY, EVERY] == [60, HOUR, HOUR]
    first = (START + 60 - 24 * HOUR) * 1_000_000
    assert stores.before == [first + i * HOUR * 1_000_000 for i in range(3)]
    assert stores.opened == stores.closed == 3


async def test_another_retention_holds_from_the_next_time_on():
    retentions = iter([24 * HOUR, 2 * HOUR])
    stores = Stores(0, 0)
    await run(stores, 2, lambda: next(retentions))
    assert stores.before == [(START + 60 - 24 * HOUR) * 1_000_000, (START + 60 + HOUR - 2 * HOUR) * 1_000_000]


async def test_failures_are_told_and_the_next_hour_comes(capsys):
    locked, refused = StoreUnavailableError("prune: locked"), StoreRefusedError("prune: no")
    stores = Stores(locked, "cannot be opened", refused, OSError(5, "Input/output error"), 5)
    await run(stores, 5)
    assert (len(stores.before), stores.opened, stores.closed) == (4, 5, 4)
    told = capsys.readouterr().out
    for reason in ("prune: locked", "open: no", "prune: no", "Input/output error"):
        assert reason in told


async def test_the_end_of_the_process_ends_a_pruning_under_way():
    class Slow(Stores):
        def __init__(self):
            super().__init__(0)
            self.loop, self.begun, self.ended = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

        def prune(self, before):
            self.loop.call_soon_threadsafe(self.begun.set)
            done = asyncio.run_coroutine_threadsafe(self.ended.wait(), self.loop)
            return int(done.result(10))

        def close(self):
            super().close()
            self.ended.set()

    stores, time = Slow(), Time(1)
    pruning = asyncio.create_task(prune_hourly(stores, lambda: HOUR, lambda: 0, time.sleep))
    async with asyncio.timeout(10):
        await stores.begun.wait()
        pruning.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pruning
    assert stores.closed == 1
