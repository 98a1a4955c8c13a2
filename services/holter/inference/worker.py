"""A worker: read or be fed, compute, decide, commit. Blocking; its caller keeps it off the event loop.

The order is the guarantee: events and the read cursor are committed together, so a crash before that decides again from
the same chunks, and a crash after it delivers from the outbox.
"""

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import structlog

from holter.alert import AlertEvent, Transition
from holter.batch.chunks import Chunks
from holter.chunk import MICROSECONDS, Chunk, shard_of
from holter.inference.decision import Decision
from holter.inference.decision.life import Life
from holter.inference.engine import Engine
from holter.inference.errands import Errands
from holter.inference.outbox import Outbox
from holter.inference.past import REMEMBER, WARM_UP, Recalled, after_restart, in_order, recall
from holter.inference.silence import silent_devices
from holter.inference.telemetry import Telemetry
from holter.model.pipeline import Model
from holter.store.protocol import Baseline, ChunkPage, Store, StoreUnavailableError

PAGE = 50_000
"""Chunks that are read at once at most."""
BASELINES_EVERY = 60.0
LAGGING = 3.0
"""Seconds that the newest chunk of a batch may be old; beyond it this worker does not keep up, and nobody is silent."""
AUDIT, AUDIT_GRACE = 15.0, 5.0
"""Seconds of arrivals that an audit looks at, but for the newest: those the feed may be about to bring."""
BASELINE_VALID = 24 * 3600 * MICROSECONDS
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Parts:
    """What a worker works with.

    Attributes:
        store: chunks from, scores to.
        outbox: events to.
        engine: the batch.
        life: the cohort's alerts.
        decision: rules over the engine's ticks.
        telemetry: counts and times.
    """

    store: Store
    outbox: Outbox
    engine: Engine
    life: Life
    decision: Decision
    telemetry: Telemetry


class Worker:
    """See the module.

    `recall`, `fetch` and `errands.run` block on the store; the rest never touches it and is for one thread, which may
    be another: so a store that hangs keeps no alarm from being raised.

    Args:
        parts: what it works with.
        shards: which patients are its own.
        clock: wall clock, s since the epoch.

    Attributes:
        quiet: shards that another worker still holds: of them events are kept back until `speak`.
        until: monotonic seconds; what is decided later is not committed, for another worker has taken over by then.
    """

    def __init__(self, parts: Parts, shards: Collection[int], clock: Callable[[], float] = time.time) -> None:
        self._parts, self._shards, self._clock = parts, frozenset(shards), clock
        self.errands = Errands(parts.store, parts.telemetry)
        parts.engine.remembered = self._remembered
        self._cursor: int | None = None
        self._baselines: dict[str, Baseline] = {}
        self.quiet: frozenset[int] = frozenset()
        self.until = float("inf")
        self._behind = 0.0
        self._unsaid: list[AlertEvent] = []
        self._known: set[str] = set()  # ids of events that the store had when these shards were taken up
        self._late = 0
        self._baselines_at = self._baselines_due = 0.0
        self._next_baseline = 0

    @property
    def shards(self) -> frozenset[int]:
        """What is read of the store."""
        return self._shards

    @property
    def cursor(self) -> int | None:
        """Where the next page begins; None before the store has said."""
        return self._cursor

    @property
    def waiting(self) -> bool:
        """Whether some device has a hole that the store may fill."""
        return self._parts.engine.waiting

    def restore(self) -> None:
        """Go on where the last one stopped.

        Raises:
            StoreUnavailableError: try again.
        """
        self.resume(self.recall(self._shards))

    def begin(self) -> None:
        """Go on with what this worker itself remembers, for the store may not answer."""
        own = self._parts.outbox.open_alerts()
        since = round((self._clock() - REMEMBER) * MICROSECONDS)
        known = {event.id: event for event in (*self._parts.outbox.recent(since), *own)}
        self._parts.life.restore(in_order(e for e in known.values() if shard_of(e.device_id) in self._shards))

    def recall(self, shards: Collection[int], warm_up: float = WARM_UP) -> Recalled:
        """Ask the store what it knows of these shards.

        Args:
            shards: which.
            warm_up: seconds of arrivals to be read again.

        Raises:
            StoreUnavailableError: try again.
        """
        parts, now = self._parts, self._clock()
        known = recall(parts.store, shards, now, warm_up)
        return known if self._cursor is not None else after_restart(known, parts.store, parts.outbox.cursor(), now)

    def resume(self, recalled: Recalled) -> None:
        """Go on with shards from what the store knows of them, and from what this worker itself has decided."""
        parts, now = self._parts, self._clock()
        since = round((now - REMEMBER) * MICROSECONDS)
        if self._cursor is None:
            parts.engine.streams.since = recalled.judged
            self.errands.start(since)
        self._shards |= recalled.shards
        self._cursor = recalled.cursor if self._cursor is None else min(self._cursor, recalled.cursor)
        # Who is judged already has a baseline of today, and alerts that are further on than the store's.
        fresh = {d: b for d, b in recalled.baselines.items() if not parts.engine.knows(d)}
        self._baselines |= fresh
        known = {event.id: event for event in recalled.events}
        mine = (*parts.outbox.recent(since), *parts.outbox.open_alerts())
        known |= {event.id: event for event in mine if shard_of(event.device_id) in recalled.shards}
        events = in_order(event for event in known.values() if not parts.engine.knows(event.device_id))
        parts.life.restore(events)
        self._known = {event.id for event in recalled.events}
        told = {event.id for event in mine}
        parts.outbox.adopt(event for event in parts.life.opened(events) if event.id not in told)
        for event in parts.outbox.open_alerts():
            self.errands.want_strip(event, now)
        counts = {"shards": len(recalled.shards), "baselines": len(fresh), "events": len(events)}
        _log.info("restored", cursor=self._cursor, **counts)

    def told(self) -> tuple[AlertEvent, ...]:
        """Alerts of the last day in the store, whoever told them.

        Raises:
            StoreUnavailableError: try again.
        """
        return self._parts.store.read_alerts(round((self._clock() - REMEMBER) * MICROSECONDS))

    def speak(self, shards: Collection[int], told: Iterable[AlertEvent]) -> None:
        """Nobody else holds these shards any more: say what was kept back.

        Where the other has told something of the same patient and kind in the meantime, it is what goes on.

        Args:
            shards: some of `quiet`.
            told: what the store knows by now.
        """
        parts, mine = self._parts, [e for e in self._unsaid if shard_of(e.device_id) in shards]
        self._unsaid = [e for e in self._unsaid if shard_of(e.device_id) not in shards]
        self.quiet -= frozenset(shards)
        own = {event.id for event in parts.outbox.recent(0)}
        news = in_order(
            e for e in told if shard_of(e.device_id) in shards and e.id not in self._known and e.id not in own
        )
        parts.life.restore(news)
        parts.outbox.adopt(parts.life.opened(news))
        said = {(event.device_id, event.kind) for event in news}
        self._known |= {event.id for event in news}
        self._commit([event for event in mine if (event.device_id, event.kind) not in said])

    def take_on(self, shards: Collection[int]) -> None:
        """Judge these shards too, from now on."""
        self._shards |= frozenset(shards)

    def release(self, shards: Collection[int]) -> None:
        """Another worker judges these shards."""
        parts = self._parts
        self._shards -= frozenset(shards)
        self.quiet -= frozenset(shards)
        self._unsaid = [e for e in self._unsaid if shard_of(e.device_id) not in shards]
        leaving = {d for d in parts.engine.device_ids if d is not None and shard_of(d) in shards}
        self.errands.keep_baselines(self._checkpoints(sorted(leaving)))
        for device_id in leaving:
            parts.engine.forget(device_id)
        parts.life.forget(leaving)
        parts.decision.forget(leaving)
        parts.outbox.release(leaving)
        for device_id in [d for d in self._baselines if shard_of(d) in shards]:
            del self._baselines[device_id]
        _log.info("released", shards=len(shards), devices=len(leaving))

    def use(self, model: Model | None, trained_at: float) -> None:
        """Swap the model, between two cycles; None leaves the ordered score alone at work."""
        parts = self._parts
        parts.engine.model = model
        if model is None:
            parts.decision.limits = replace(parts.decision.limits, revision=0)
        else:
            parts.decision.limits = replace(parts.decision.limits, revision=model.revision, threshold=model.threshold)
        parts.telemetry.model(model.revision if model else 0, trained_at)
        _log.info(
            "scorer", at_work="ordered and forest" if model else "ordered", revision=model.revision if model else 0
        )

    def fetch(self, limit: int = PAGE) -> ChunkPage:
        """The next page of the store, not yet judged; `restore` or `resume` come first.

        Raises:
            StoreUnavailableError: try again.
        """
        assert self._cursor is not None
        with self._parts.telemetry.stage("read"):
            try:
                return self._parts.store.read_chunks(self._shards, self._cursor, limit)
            except StoreUnavailableError:
                self._parts.telemetry.store_failed()
                raise

    def audit(self, shard: int) -> Chunks:
        """What the store has of one shard from the last seconds, to be held against what the feed has brought.

        Raises:
            StoreUnavailableError: try again.
        """
        store = self._parts.store
        since = store.cursor_at(round((self._clock() - AUDIT) * MICROSECONDS))
        with self._parts.telemetry.stage("read"):
            return Chunks.columns(store.read_chunks([shard], since).chunks)

    def is_missing(self, chunks: Chunks) -> bool:
        """Whether one of these, of an audit, should have been brought by the feed and was not."""
        old = chunks.where(chunks.head["arrived"] < (self._clock() - AUDIT_GRACE) * MICROSECONDS)
        return self._parts.engine.is_ahead(old)

    def skip(self, until: int) -> None:
        """The feed has brought all that arrived before `until` (wall clock, µs): the store is read from there on."""
        cursor = self._parts.store.cursor_at(until)
        if self._cursor is not None and cursor > self._cursor:
            self._cursor = cursor
            self._commit([], cursor)

    def rewind(self, seconds: float) -> None:
        """Read the store again from so long ago."""
        assert self._cursor is not None
        self._cursor = min(self._cursor, self._parts.store.cursor_at(round((self._clock() - seconds) * MICROSECONDS)))

    def look(self) -> None:
        """What is to be done each second or so, whatever has come: silent devices, acknowledgements, baselines."""
        now = self._clock()
        self._silent(now)
        for ack in self.errands.acknowledgements():
            self._parts.life.acknowledge(ack.device_id, ack.alert_id)
        self._keep_some_baselines(now)

    def judge(self, chunks: Chunks | Iterable[Chunk], cursor: int | None = None) -> None:
        """Compute and decide what can be, and commit it.

        Args:
            chunks: in any order, known ones too.
            cursor: of the page that they are; None for chunks of the feed, which the store gives again at a restart.
        """
        if cursor is not None:
            self._cursor = cursor
        parts, now = self._parts, self._clock()
        chunks = Chunks.columns(chunks)
        newest = int(chunks.head["arrived"].max(initial=0))
        self._behind = now - newest / MICROSECONDS if newest else 0.0
        events: list[AlertEvent] = []
        seconds, windows = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        missing = 0
        stream = parts.engine.push(chunks, now)
        while True:
            with parts.telemetry.stage("compute"):
                tick = next(stream, None)
            if tick is None:
                break
            with parts.telemetry.stage("decide"):
                events += parts.decision.step(tick)
            seconds.append(tick.arrived)
            windows.append(tick.arrived[tick.windows])
            missing += round(float(tick.holes.sum()) * 250)
            if tick.scores is not None:
                self.errands.keep_scores(tick.scores)
        self._commit(events, cursor)
        parts.telemetry.decided(self._clock(), np.concatenate(seconds), np.concatenate(windows))
        parts.telemetry.cycle(len(parts.engine), parts.engine.late_chunks - self._late, missing)
        self._late = parts.engine.late_chunks

    def _remembered(self, device_id: str, newest: int) -> bytes | None:
        """What another worker left of a device that begins here, if it is of the last day."""
        baseline = self._baselines.pop(device_id, None)
        return baseline.payload if baseline is not None and abs(newest - baseline.at) < BASELINE_VALID else None

    def _commit(self, events: list[AlertEvent], cursor: int | None = None) -> None:
        if time.monotonic() > self.until:
            if events:
                _log.warning("too_late", events=len(events), instead="another worker has taken over")
            return
        if self.quiet:
            self._unsaid += [e for e in events if shard_of(e.device_id) in self.quiet]
            events = [e for e in events if shard_of(e.device_id) not in self.quiet]
        if not events and cursor is None:
            return
        with self._parts.telemetry.stage("commit"):
            new = self._parts.outbox.commit(events, cursor)
        self._parts.telemetry.alerts(new)
        now = self._clock()
        for event in new:
            _log.info(
                "alert", transition=event.event, device_id=event.device_id, kind=event.kind, priority=event.priority
            )
            if event.event is Transition.RAISED:
                self.errands.want_strip(event, now)

    def _silent(self, now: float) -> None:
        if self._behind > LAGGING:
            return  # the silence is this worker's own
        parts, events = self._parts, list[AlertEvent]()
        revision = parts.decision.limits.revision
        for silent in silent_devices(parts.engine, now):
            if silent.gone:
                events += parts.life.end(
                    silent.device_id, silent.second, "the device has been gone for an hour", revision
                )
                parts.engine.forget(silent.device_id)
            else:
                events += parts.life.hold(silent.device_id, silent.second, [silent.condition], revision)
        if events:
            self._commit(events)

    def _keep_some_baselines(self, now: float) -> None:
        """Let another worker go on from here: a share of what is learnt is written with the next errands, all in turn.

        All at once would hold up alarms for a moment.
        """
        device_ids = self._parts.engine.device_ids
        passed = min(now - self._baselines_at, BASELINES_EVERY) if self._baselines_at else 0.0
        self._baselines_at = now
        self._baselines_due += max(passed, 0.0) / BASELINES_EVERY * len(device_ids)
        first, n = self._next_baseline, min(int(self._baselines_due), len(device_ids))
        self._baselines_due -= n
        some = [device_ids[k % len(device_ids)] for k in range(first, first + n)]
        self._next_baseline = (first + n) % len(device_ids)
        self.errands.keep_baselines(self._checkpoints([d for d in some if d is not None]))

    def write_baselines(self) -> None:
        """All of them, at once; failing that is only logged."""
        self.errands.keep_baselines(self._checkpoints([d for d in self._parts.engine.device_ids if d is not None]))
        self.errands.write_baselines()

    def _checkpoints(self, device_ids: Sequence[str]) -> list[Baseline]:
        engine = self._parts.engine
        payloads = engine.checkpoints(device_ids)
        return [Baseline(d, engine.newest(d), payload) for d, payload in zip(device_ids, payloads, strict=True)]
