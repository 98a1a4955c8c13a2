"""The two strands: what is judged when, with a worker that only takes notes."""

import asyncio
import time
from types import SimpleNamespace

import numpy as np
import pytest

from holter.batch.chunks import NONE, Chunks
from holter.chunk import MICROSECONDS, Chunk, shard_of
from holter.feed.client import Claim
from holter.inference import live
from holter.inference.live import Live
from holter.inference.shards import PATIENCE, Duty
from holter.store.protocol import ChunkPage, StoreUnavailableError


def chunk(second):
    return Chunk("a", second * MICROSECONDS, 250.0, np.zeros(250, np.int16), second, 0, second)


class Worker:
    """Notes what it is told; its store has pages, or is away."""

    def __init__(self):
        self.notes, self.pages, self.away = [], [], False
        self.shards, self.cursor, self.waiting = frozenset(), None, False
        self.errands = SimpleNamespace(run=lambda now: None)
        self.missed = False
        self.quiet, self.until = frozenset(), 0.0

    def begin(self):
        self.notes.append("begin")

    def look(self):
        pass

    def recall(self, shards, warm_up):
        if self.away:
            raise StoreUnavailableError("away")
        return shards

    def resume(self, shards):
        self.notes.append("resume")
        self.take_on(shards)
        self.cursor = self.cursor or 0

    def take_on(self, shards):
        self.shards |= frozenset(shards)

    def release(self, shards):
        self.notes.append("release")
        self.shards -= shards

    def fetch(self, limit):
        if self.away:
            raise StoreUnavailableError("away")
        chunks = self.pages.pop(0) if self.pages else ()
        return ChunkPage(tuple(chunks), self.cursor + len(chunks))

    def audit(self, shard):
        self.notes.append("audit")
        return NONE

    def is_missing(self, chunks):
        return self.missed

    def told(self):
        return ["what another told"]

    def speak(self, shards, told):
        self.quiet -= shards
        self.notes.append(("speak", tuple(told)))

    def skip(self, until):
        self.notes.append("skip")

    def rewind(self, seconds):
        self.notes.append("rewind")

    def judge(self, chunks, cursor=None):
        if cursor is not None:
            self.cursor = cursor
        self.notes += [
            ("fed" if cursor is None else "read", c.seq)
            for c in (chunks.each() if isinstance(chunks, Chunks) else chunks)
        ]


class Feed:
    """One that brings what it is given."""

    def __init__(self):
        self.claims, self.listening_since, self.whole, self.lost_at = {}, None, True, 0.0
        self.chunks, self.said = [], []

    async def run(self):
        await asyncio.Event().wait()

    def take(self):
        taken, self.chunks = Chunks.of(self.chunks), []
        return taken

    def behind(self, now):
        return now

    def say(self, beat):
        self.said.append(beat)


class Pair:
    def __init__(self, replicas=1, worker=None):
        self.worker, self.feed, self.now = worker or Worker(), Feed(), 100.0
        telemetry = SimpleNamespace(unowned=lambda shards: None)
        duty = Duty(0, replicas)
        self.live = Live(self.worker, duty, telemetry, self.feed, fed=True, clock=lambda: self.now)

    async def until(self, condition):
        async with asyncio.timeout(20):
            while not condition():
                await self.live.cycle(lambda: None)
                await asyncio.sleep(0.01)

    @property
    def held(self):
        return self.feed.said[-1].held if self.feed.said else frozenset()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(live, "HOLES", 0.02)
    monkeypatch.setattr(live, "CLOSELY", 0.02)


async def test_what_is_fed_waits_for_what_the_store_has_from_before():
    pair = Pair()
    pair.worker.pages = [[chunk(1), chunk(2)]]
    pair.feed.chunks = [chunk(3)]
    async with pair.live.running():
        await pair.until(lambda: ("fed", 3) in pair.worker.notes)
        await pair.until(lambda: pair.held)
    assert [n for n in pair.worker.notes if n not in ("audit", "skip")] == [
        "begin", "resume", ("read", 1), ("read", 2), ("fed", 3),
    ]  # fmt: skip
    assert pair.held == frozenset(range(64))
    assert pair.live.fault is None


async def test_a_store_that_is_away_is_not_waited_for_and_asked_again():
    pair = Pair()
    pair.worker.away = True
    pair.feed.chunks = [chunk(3)]
    async with pair.live.running():
        await pair.until(lambda: pair.live.store_fault)
        assert pair.worker.notes == ["begin"]
        assert pair.held == frozenset()
        pair.now += live.STORE_PATIENCE + 1
        await pair.until(lambda: ("fed", 3) in pair.worker.notes)
        assert pair.live.fault is None, "it is fed"
        pair.feed.whole = False
        assert "away" in pair.live.fault
        pair.worker.away, pair.worker.pages = False, [[chunk(2)]]
        await pair.until(lambda: ("read", 2) in pair.worker.notes)
        await pair.until(lambda: pair.live.store_fault is None)
    told = [n for n in pair.worker.notes if n not in ("audit", "skip")]
    assert told == ["begin", ("fed", 3), "resume", ("read", 2)]


async def test_after_a_loss_nothing_is_judged_before_a_later_read():
    pair = Pair()
    async with pair.live.running():
        await pair.until(lambda: pair.held)
        pair.feed.lost_at, pair.feed.chunks = pair.now, [chunk(9)]
        for _ in range(10):
            await pair.live.cycle(lambda: None)
            await asyncio.sleep(0.01)
        assert ("fed", 9) not in pair.worker.notes
        pair.worker.pages = [[chunk(8)]]
        pair.now += live.SETTLE
        await pair.until(lambda: ("fed", 9) in pair.worker.notes)
    assert [n for n in pair.worker.notes if n not in ("audit", "skip")][-2:] == [("read", 8), ("fed", 9)]
    assert pair.held == frozenset(range(64)), "nobody need take over meanwhile"


async def test_while_the_feed_is_whole_the_store_is_audited_and_read_only_when_something_is_missing():
    pair = Pair()
    async with pair.live.running():
        await pair.until(lambda: pair.held)
        pair.worker.pages = [[chunk(1)]]
        pair.now += live.SWEEP
        await pair.until(lambda: "skip" in pair.worker.notes)
        await asyncio.sleep(0.1)
        assert ("read", 1) not in pair.worker.notes
        pair.worker.missed = True
        pair.now += live.SWEEP
        await pair.until(lambda: ("read", 1) in pair.worker.notes)
        assert "rewind" in pair.worker.notes


@pytest.mark.parametrize(("replicas", "begins_again"), [(1, False), (2, True)])
async def test_one_that_was_frozen_begins_again_where_another_stood_in(replicas, begins_again):
    pair = Pair(replicas)
    async with pair.live.running():
        await pair.until(lambda: pair.held)
        pair.now += 6
        await pair.live.cycle(lambda: None)
        assert ("release" in pair.worker.notes) == begins_again
        await pair.until(lambda: pair.held)
        assert pair.worker.notes.count("resume") == 1 + begins_again


async def test_a_standby_takes_over_from_what_it_has_kept():
    device = next(name for name in map(str, range(1000)) if shard_of(name) >= 32)
    pair = Pair(replicas=2)

    def of_the_other(seq):
        arrived = round(time.time() * MICROSECONDS)
        return Chunk(device, seq * MICROSECONDS, 250.0, np.full(250, seq, np.int16), seq, 0, arrived)

    async with pair.live.running():
        for second in range(26):  # the other is there
            pair.feed.claims, pair.feed.listening_since = {1: Claim(frozenset(range(32, 64)), pair.now)}, 100.0
            pair.feed.chunks = [of_the_other(second)]
            await pair.live.cycle(lambda: None)
            pair.now += 1
        await pair.until(lambda: pair.held == frozenset(range(32)))
        assert pair.feed.said[-1].wanted == frozenset(range(64))
        assert not [n for n in pair.worker.notes if n[0] == "fed"], "they are the other's"
        pair.worker.fetch = lambda limit: pytest.fail("the store need not be read")
        for _ in range(round(PATIENCE)):  # a jump would be a freeze of its own
            await pair.live.cycle(lambda: None)
            pair.now += 1
        await pair.until(lambda: pair.held == frozenset(range(64)))
        await pair.until(lambda: ("fed", 25) in pair.worker.notes)
    assert [n for n in pair.worker.notes if n[0] == "fed"] == [("fed", second) for second in range(26)]


async def test_one_that_is_told_to_end_says_so_and_goes_on_until_another_judges():
    pair = Pair(replicas=2)
    async with pair.live.running():
        await pair.until(lambda: pair.held)
        pair.feed.claims = {1: Claim(frozenset(range(32, 64)), pair.now)}
        assert not pair.live.may_end()
        await pair.live.cycle(lambda: None)
        assert pair.feed.said[-1].replicas == 0
        assert pair.held == frozenset(range(32)), "it goes on"
        pair.feed.claims = {1: Claim(frozenset(range(64)), pair.now)}
        assert pair.live.may_end()
        assert pair.held == frozenset()


async def test_one_that_is_told_to_end_does_not_wait_for_ever():
    pair = Pair(replicas=2)
    async with pair.live.running():
        await pair.until(lambda: pair.held)
        for _ in range(2):
            pair.feed.claims = {1: Claim(frozenset(range(32, 64)), pair.now)}
            assert pair.live.may_end() == (pair.now > 110)
            pair.now += live.LINGER
        assert Pair(replicas=1).live.may_end(), "alone"


async def test_while_another_holds_a_shard_it_is_kept_quiet_of_and_then_what_the_other_told_is_read():
    pair = Pair(replicas=2)
    pair.feed.claims = {1: Claim(frozenset(range(64)), pair.now)}
    pair.feed.listening_since = pair.now - 10
    async with pair.live.running():
        await pair.until(lambda: pair.held)
        assert pair.worker.quiet == frozenset(range(32))
        pair.now += 1
        pair.feed.claims = {1: Claim(frozenset(range(32, 64)), pair.now)}
        await pair.until(lambda: ("speak", ("what another told",)) in pair.worker.notes)
        await pair.until(lambda: pair.worker.quiet == frozenset())


async def test_who_has_heard_nobody_yet_waits_a_moment_with_what_it_says():
    pair = Pair(replicas=2)
    async with pair.live.running():
        await pair.until(lambda: pair.held)
        assert pair.worker.quiet == frozenset(range(32))
        pair.now += 3.5
        await pair.until(lambda: pair.worker.quiet == frozenset())
