"""Where a worker's chunks come from, and when: the feed at once, the store for start, catch-up and gaps.

Two strands take turns with the worker. One judges what the feed brings, four times a second, and never waits for the
store. The other reads the store and does the errands there, however long that takes. While the feed is whole it reads
one shard now and then, for chunks that the feed does not know it missed; of what both bring the second is let be
(`holter.batch.streams`).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import structlog

from holter.batch.chunks import NONE, Chunks
from holter.chunk import MICROSECONDS
from holter.feed.client import ROOM, Feed
from holter.feed.wire import Beat
from holter.inference.past import WARM_UP
from holter.inference.shards import PATIENCE, Duty
from holter.inference.standby import Standby
from holter.inference.telemetry import Telemetry
from holter.inference.worker import Worker
from holter.store.protocol import ChunkPage, StoreRefusedError, StoreUnavailableError

CYCLE = 0.25
CLOSELY = 1.0
"""Seconds between two reads of the store while the feed is not whole, and between errands."""
HOLES = 0.5
"""While a hole may be filled from the store."""
SWEEP = 5.0
"""Between two audits while the feed is whole: then the store is not read, but of one shard in turn, to see whether the
feed has missed something without knowing it. All shards take SHARDS times as long."""
HEARING = 2.0
"""Seconds of listening after which it is known who else holds a shard; ingest tells each second."""
DOUBT = 30.0
"""Seconds that the store is read closely for when it has."""
SKIP_BEHIND = 5.0
"""Seconds behind what the feed has brought from which the store is read when something is lost."""
WARM_TAKEOVER = 20.0
"""Seconds of arrivals read again for shards that another worker judged until a moment ago; it left baselines. A window,
the time until its end was noticed, and what the store is behind; more would keep their patients waiting."""
STORE_PATIENCE = 5.0
"""Seconds without an answer of the store after which shards are judged without their past."""
SETTLE = 2.0
"""After a loss the feed is judged no further before a read of the store that began this much later: a jump would make
holes of what is about to come. Ingest brings the store within a second what it has accepted."""
LINGER = 12.0
"""Seconds that a worker which is told to end goes on at most, until others judge its shards."""
HELD = 10 * ROOM
"""Chunks that are kept back at most."""
PAGE = 5_000
"""Chunks judged in one turn: half a second of work, in which the feed waits."""
_log = structlog.get_logger()


class Live:
    """See the module; lives on an event loop, and works in threads.

    Args:
        worker: judges.
        duty: which shards.
        telemetry: is told of shards without a worker.
        feed: other workers are heard through it; None where there is none.
        fed: whether chunks come through it too.
        clock: monotonic seconds.

    Attributes:
        store_fault: why the store gives nothing now.
    """

    def __init__(
        self,
        worker: Worker,
        duty: Duty,
        telemetry: Telemetry,
        feed: Feed | None,
        *,
        fed: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store_fault: str | None = None
        self._worker, self._duty, self._telemetry = worker, duty, telemetry
        self._feed, self._fed, self._clock = feed, fed and feed is not None, clock
        self._turn = asyncio.Lock()
        self._unrecalled: set[int] = set()  # the store has not been asked of their past yet
        self._joining: dict[int, float] = {}  # since when: not judged by the feed before the store has been read
        self._mine: frozenset[int] = frozenset()
        self._held = NONE  # of shards that are joining
        self._standby = Standby(WARM_TAKEOVER)
        self._warm: frozenset[int] = frozenset()  # joining, and what came before is among what is held
        self._left_at: float | None = None
        self._unheard: dict[int, float] = {}  # gained since when: it is not known yet who else holds them
        self._leaving: dict[int, float] = {}  # nobody else holds them since then: what they have told is to be read
        self._answered = self._cycled = clock()
        self._next_audit = float("-inf")
        self._audited = duty.ordinal  # shards, round and round
        self._doubted = float("-inf")
        self._lost_at = feed.lost_at if feed else 0.0
        self._settles: float | None = None  # from when on a read of the store makes good what the feed has lost

    @property
    def fault(self) -> str | None:
        """Why it is not ready, in words; without the store it is, as long as it is fed."""
        if self._joining:
            return self.store_fault or f"catching up with {len(self._joining)} shards"
        if self.store_fault is not None and not (self._feed and self._fed and self._feed.whole):
            return self.store_fault
        return None

    def may_end(self) -> bool:
        """Told to end: go on until others judge what this worker does, for a while. To be asked after each cycle."""
        if self._feed is None or not self._feed.claims:
            return True
        now = self._clock()
        self._left_at = self._left_at or now
        if now - self._left_at < LINGER and not self._duty.is_relieved(now, self._feed.claims):
            return False
        self._feed.say(Beat(self._duty.ordinal, 0, frozenset(), frozenset()))
        return True

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Meanwhile the feed and the store are read."""
        await asyncio.to_thread(self._worker.begin)
        self._tasks = [asyncio.create_task(self._read_store())]
        if self._feed is not None:
            self._tasks.append(asyncio.create_task(self._feed.run()))
        try:
            yield
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def cycle(self, first: Callable[[], None]) -> None:
        """Judge what the feed has brought.

        Args:
            first: called before, in the worker's thread.
        """
        for task in self._tasks:
            if task.done():
                task.result()
        await self._wake_up()
        self._notice_loss()
        await self._decide()
        fed = self._sorted_out(self._feed.take()) if self._feed is not None else NONE
        async with self._turn:
            await asyncio.to_thread(self._step, first, fed)
        self._tell()

    def _step(self, first: Callable[[], None], fed: Chunks) -> None:
        first()
        self._worker.until = self._until()
        if len(fed) or self._fed:  # nothing is a sign too: it has caught up
            self._worker.judge(fed)
        self._worker.look()

    async def _wake_up(self) -> None:
        """After a time in which it did not get on, another has judged for it, and told: begin again from there."""
        now = self._clock()
        frozen, self._cycled = now - self._cycled > PATIENCE, now
        if frozen and self._duty.replicas > 1 and self._feed is not None:
            _log.warning("frozen", instead="the shards are taken up anew")
            await self._release(self._mine)
            self._mine = frozenset()

    async def _release(self, shards: frozenset[int]) -> None:
        self._unrecalled -= shards
        for shard in shards & self._joining.keys():
            del self._joining[shard]
        await self._in_turn(partial(self._worker.release, shards))

    async def _decide(self) -> None:
        """Which shards are whose, from what the others say."""
        now = self._clock()
        claims, since = (self._feed.claims, self._feed.listening_since) if self._feed else ({}, None)
        mine = self._duty.decide(now, claims, since)
        gained, lost = mine - self._mine, self._mine - mine
        self._mine = mine
        if gained:
            self._warm |= self._standby.warm(gained, now)
            self._held = Chunks.join([self._standby.take(gained), self._held])
        if self._fed:
            self._standby.stand_by(self._duty.standing_by() if self._left_at is None else (), now)
        if gained:
            _log.info("shards_gained", shards=sorted(gained))
            self._joining |= dict.fromkeys(gained, now)
            self._unrecalled |= gained
        if lost:
            await self._release(lost)
        await self._keep_quiet(now, gained)
        if self._fed and any(now - max(began, self._answered) > STORE_PATIENCE for began in self._joining.values()):
            _log.warning("joined_without_store", shards=len(self._joining), reason=self.store_fault)
            async with self._turn:
                self._worker.take_on(self._joining)
            self._joining = {}

    async def _keep_quiet(self, now: float, gained: frozenset[int]) -> None:
        """While another worker holds a shard too, it is the one that speaks.

        Two that decide from different pasts would tell one alert in two ways. Where nobody has been heard yet, that is
        waited for; what cannot be heard is not.
        """
        if self._feed is None or not (self._duty.replicas > 1 or self._worker.quiet or self._feed.claims):
            return
        since = self._feed.listening_since
        heard = since is not None and now - since >= HEARING
        self._unheard |= dict.fromkeys(gained, now)
        self._unheard = {s: at for s, at in self._unheard.items() if s in self._mine and not heard and now - at < 3.0}
        others = self._duty.held_by_others(now, self._feed.claims) & self._mine
        quiet = others | self._unheard.keys()
        self._leaving = {s: at for s, at in self._leaving.items() if s in self._mine and s not in quiet}
        self._leaving |= {s: now for s in self._worker.quiet - quiet if s in self._mine and s not in self._leaving}
        late = frozenset(s for s, at in self._leaving.items() if now - at > STORE_PATIENCE)
        self._leaving = {s: at for s, at in self._leaving.items() if s not in late}
        async with self._turn:
            self._worker.quiet = frozenset(quiet | self._leaving.keys() | late)
            if late:
                await asyncio.to_thread(self._worker.speak, late, ())

    async def _hear_out(self) -> None:
        """What another worker has told of shards that it does not hold any more."""
        shards = frozenset(self._leaving)
        if not shards:
            return
        told = await asyncio.to_thread(self._worker.told)
        async with self._turn:
            shards &= self._leaving.keys()
            for shard in shards:
                del self._leaving[shard]
            await asyncio.to_thread(self._worker.speak, shards, told)

    def _notice_loss(self) -> None:
        if self._feed is None or not self._fed:
            return
        now = self._clock()
        if self._feed.lost_at != self._lost_at:
            self._lost_at = self._feed.lost_at
            self._standby.lost(now)
            self._settles = self._lost_at + SETTLE
        if self._settles is not None and (self.store_fault or now - self._settles > STORE_PATIENCE):
            self._settles = None  # there is nothing to wait for

    def _sorted_out(self, fed: Chunks) -> Chunks:
        """Those to be judged now; those of joining shards are kept until the store has given what came before them."""
        if not self._joining and not len(self._held) and self._settles is None and self._duty.replicas == 1:
            return fed
        chunks = Chunks.join([self._held, fed])
        waiting = chunks.of_shards(self._mine if self._settles is not None else self._joining)
        held = chunks.where(waiting)
        self._held = Chunks(held.head[-HELD:], held.samples) if len(held) else NONE
        self._standby.keep(fed.where(fed.of_shards(self._standby.shards)), time.time())
        return chunks.where(chunks.of_shards(self._mine) & ~waiting)

    def _tell(self) -> None:
        live = self._mine - self._joining.keys()
        if self._feed is not None:
            wanted = self._mine | self._standby.shards if self._fed else frozenset[int]()
            replicas = self._duty.replicas if self._left_at is None else 0
            self._feed.say(Beat(self._duty.ordinal, replicas, wanted, live))
        claims = self._feed.claims if self._feed else {}
        listening = self._feed is not None and self._feed.listening_since is not None
        self._telemetry.unowned(self._duty.unowned(self._clock(), live, claims, listening=listening))

    async def _read_store(self) -> None:
        while True:
            more = False
            try:
                more = await self._catch_up()
                await self._hear_out()
                if not more:
                    await asyncio.to_thread(self._worker.errands.run, time.time())
                self._recovered()
            except StoreUnavailableError as error:
                self._failed(error)
            except StoreRefusedError as error:
                if not self._fed:
                    raise
                self._failed(error)  # alarms go on
            if not more:
                await asyncio.sleep(self._pause())

    async def _catch_up(self) -> bool:
        """One page, when it is time for one; whether there may be more."""
        worker, unrecalled = self._worker, frozenset(self._unrecalled)
        if unrecalled:
            warm_up = WARM_UP if worker.cursor is None else WARM_TAKEOVER
            recalled = await asyncio.to_thread(worker.recall, unrecalled, warm_up)
            if not unrecalled <= self._mine:
                return True
            await self._in_turn(partial(worker.resume, recalled))
            self._unrecalled -= unrecalled
            for shard in unrecalled & self._warm & self._joining.keys():
                del self._joining[shard]
            self._warm -= unrecalled
            self._answered = self._clock()
        if worker.cursor is None:
            return False
        if not self._is_due():
            if self._clock() >= self._next_audit:
                await self._audit()
            return False
        shards, before = worker.shards, worker.cursor
        began, wall = self._clock(), time.time()
        page = await asyncio.to_thread(worker.fetch, PAGE)
        if worker.shards != shards:
            return True
        await self._in_turn(partial(self._judge, page))
        self._answered = self._clock()
        if page.cursor != before and page.chunks and not _is_last(page, wall):
            return True
        if self._settles is not None and began >= self._settles:
            self._settles = None
        for shard in shards & self._joining.keys():
            del self._joining[shard]
        return False

    def _judge(self, page: ChunkPage) -> None:
        self._worker.until = self._until()
        self._worker.judge(page.chunks, page.cursor)

    def _until(self) -> float:
        """When another would have taken over from one that was frozen in the middle of its work."""
        return time.monotonic() + PATIENCE if self._duty.replicas > 1 and self._feed is not None else float("inf")

    def _is_due(self) -> bool:
        whole = self._feed is not None and self._fed and self._feed.whole
        awaited = bool(self._joining) or self._settles is not None or self._worker.waiting
        return awaited or not whole or self._clock() - self._doubted < DOUBT

    async def _audit(self) -> None:
        """Hold one shard of the store against what the feed has brought; move the cursor past what it has."""
        self._next_audit = self._clock() + SWEEP
        shards = sorted(self._worker.shards)
        if not shards or self._feed is None:
            return
        self._audited += 1
        brought = self._feed.behind(round(time.time() * MICROSECONDS))
        chunks = await asyncio.to_thread(self._worker.audit, shards[self._audited % len(shards)])
        async with self._turn:
            if sorted(self._worker.shards) != shards or self._joining:
                return  # what it has been told of since is another matter
            missing = await asyncio.to_thread(self._worker.is_missing, chunks)
        if missing:
            _log.warning("feed_incomplete", instead="the store is read")
            self._doubted = self._clock()
            await asyncio.to_thread(self._worker.rewind, SWEEP * len(shards) + WARM_UP)
        else:
            await asyncio.to_thread(self._worker.skip, round(brought - SKIP_BEHIND * MICROSECONDS))

    def _pause(self) -> float:
        soon = self._joining or self._leaving or self._settles is not None or self._worker.waiting
        return HOLES if soon else CLOSELY

    async def _in_turn(self, work: Callable[[], None]) -> None:
        async with self._turn:
            await asyncio.to_thread(work)

    def _failed(self, error: Exception) -> None:
        if self.store_fault is None:
            _log.warning("store_unavailable", reason=str(error))
        self.store_fault = f"the store does not answer: {error}"

    def _recovered(self) -> None:
        if self.store_fault is not None:
            _log.info("store_back")
        self.store_fault = None


def _is_last(page: ChunkPage, began: float) -> bool:
    """Whether what follows a page can wait for the next look; `began` is when it was asked for (wall clock, s).

    Where chunks come without a break there is no empty page to end with.
    """
    newest = max(chunk.arrived for chunk in page.chunks)
    return len(page.chunks) < PAGE and newest > (began - CLOSELY) * MICROSECONDS
