"""One cycle of a worker: read, compute, decide, commit, write. Blocking; its caller keeps it off the event loop.

The order is the guarantee: events and the read cursor are committed together, so a crash before that decides again from
the same chunks, and a crash after it delivers from the outbox.
"""

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import numpy as np
import structlog

from holter.alert import AlertEvent, Transition
from holter.chunk import MICROSECONDS
from holter.inference.arrivals import Arrivals
from holter.inference.decision import Decision
from holter.inference.decision.life import Life
from holter.inference.engine import Engine
from holter.inference.outbox import Outbox
from holter.inference.silence import Silence
from holter.inference.strips import Strips
from holter.inference.telemetry import Telemetry
from holter.model.pipeline import Model
from holter.store.protocol import Baseline, ChunkPage, Store, StoreRefusedError, StoreUnavailableError
from holter.window import WindowScores

WARM_UP = 150.0
"""Seconds of arrivals that are read again at start: filters, levels and persistence find their state."""
BASELINES_EVERY = 60.0
ACKNOWLEDGEMENTS_EVERY = 2.0
REMEMBER = 24 * 3600.0
BASELINE_VALID = 24 * 3600 * MICROSECONDS
_SCORES_KEPT = 200_000
_CURSOR_STEP = 100_000
"""µs of the wall clock: how closely a cursor is placed in time."""
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

    Args:
        parts: what it works with.
        shards: which patients are its own.
        clock: wall clock, s since the epoch.
    """

    def __init__(self, parts: Parts, shards: Collection[int], clock: Callable[[], float] = time.time) -> None:
        self._parts, self._shards, self._clock = parts, shards, clock
        self._silence = Silence()
        self._arrivals = Arrivals()
        self._strips = Strips(parts.store)
        self._cursor = 0
        self._baselines: dict[str, Baseline] = {}
        self._unwritten: deque[WindowScores] = deque()
        self._late = 0
        self._next_baselines = 0.0
        self._next_acknowledgements = 0.0
        self._acknowledged_until = 0

    def restore(self) -> None:
        """Go on where the last one stopped.

        Raises:
            StoreUnavailableError: try again.
        """
        store, now = self._parts.store, self._clock()
        resume = self._parts.outbox.cursor()
        warm = store.cursor_at(round((now - WARM_UP) * MICROSECONDS))
        self._cursor = warm if resume is None else min(resume, warm)
        self._arrivals.since = self._judged_until(resume, now)
        self._baselines = {baseline.device_id: baseline for baseline in store.read_baselines(self._shards)}
        since = round((now - REMEMBER) * MICROSECONDS)
        known = {event.id: event for event in store.read_alerts(since)}
        known |= {event.id: event for event in self._parts.outbox.recent(since)}
        known |= {event.id: event for event in self._parts.outbox.open_alerts()}
        events = tuple(sorted(known.values(), key=lambda e: (e.decided_at, e.id)))
        self._parts.life.restore(events)
        for event in self._parts.outbox.open_alerts():
            self._strips.want(event, now)
        self._acknowledged_until = since
        _log.info("restored", cursor=self._cursor, baselines=len(self._baselines), events=len(events))

    def _judged_until(self, resume: int | None, now: float) -> int:
        """About when (wall clock, µs) the chunk came that `resume` stands before; 0 when nothing is read twice."""
        if resume is None or resume <= self._cursor:
            return 0
        times = range(round((now - WARM_UP) * MICROSECONDS), round(now * MICROSECONDS), _CURSOR_STEP)
        found = bisect_left(times, resume, key=self._parts.store.cursor_at)
        return times[found - 1] if found else 0

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

    def cycle(self) -> None:
        """Take in all that has arrived.

        Raises:
            StoreUnavailableError: nothing was read; what was read before is decided and committed.
        """
        while True:
            page, more = self._read()
            self._judge(page)
            if not more:
                break
        now = self._clock()
        self._silent(now)
        self._write_scores()
        self._strips.write(now)
        if now >= self._next_acknowledgements:
            self._acknowledge()
            self._next_acknowledgements = now + ACKNOWLEDGEMENTS_EVERY
        if now >= self._next_baselines:
            if self._next_baselines:
                self.write_baselines()
            self._next_baselines = now + BASELINES_EVERY

    def _read(self) -> tuple[ChunkPage, bool]:
        with self._parts.telemetry.stage("read"):
            try:
                page = self._parts.store.read_chunks(self._shards, self._cursor)
            except StoreUnavailableError:
                self._parts.telemetry.store_failed()
                raise
        more = page.cursor != self._cursor and len(page.chunks) > 0
        self._cursor = page.cursor
        return page, more

    def _judge(self, page: ChunkPage) -> None:
        parts, now = self._parts, self._clock()
        self._silence.hear(page.chunks, now)
        for device_id in {chunk.device_id for chunk in page.chunks} & self._baselines.keys():
            baseline = self._baselines.pop(device_id)
            newest = max(chunk.end for chunk in page.chunks if chunk.device_id == device_id)
            if abs(newest - baseline.at) < BASELINE_VALID and not parts.engine.restore(device_id, baseline.payload):
                _log.warning("baseline_unusable", device_id=device_id)
        events: list[AlertEvent] = []
        seconds, windows = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        missing = 0
        stream = parts.engine.push(self._arrivals.hear(page.chunks))
        while True:
            with parts.telemetry.stage("compute"):
                tick = next(stream, None)
            if tick is None:
                break
            with parts.telemetry.stage("decide"):
                events += parts.decision.step(tick)
            arrived = self._arrivals.take(tick, parts.engine.device_ids)
            seconds.append(arrived)
            windows.append(arrived[tick.windows])
            missing += round(float(tick.holes.sum()) * 250)
            if tick.scores is not None:
                self._unwritten.append(tick.scores)
        self._commit(events)
        parts.telemetry.decided(self._clock(), np.concatenate(seconds), np.concatenate(windows))
        parts.telemetry.cycle(len(parts.engine), parts.engine.late_chunks - self._late, missing)
        self._late = parts.engine.late_chunks

    def _commit(self, events: list[AlertEvent]) -> None:
        with self._parts.telemetry.stage("commit"):
            new = self._parts.outbox.commit(events, self._cursor)
        self._parts.telemetry.alerts(new)
        now = self._clock()
        for event in new:
            _log.info(
                "alert", transition=event.event, device_id=event.device_id, kind=event.kind, priority=event.priority
            )
            if event.event is Transition.RAISED:
                self._strips.want(event, now)

    def _silent(self, now: float) -> None:
        parts, events = self._parts, list[AlertEvent]()
        revision = parts.decision.limits.revision
        for silent in self._silence.look(now):
            if silent.gone:
                events += parts.life.end(
                    silent.device_id, silent.second, "the device has been gone for an hour", revision
                )
                parts.engine.forget(silent.device_id)
                self._arrivals.forget(silent.device_id)
            else:
                events += parts.life.hold(silent.device_id, silent.second, [silent.condition], revision)
        if events:
            self._commit(events)

    def _write_scores(self) -> None:
        kept = sum(len(scores) for scores in self._unwritten)
        while kept > _SCORES_KEPT:
            dropped = len(self._unwritten.popleft())
            kept -= dropped
            self._parts.telemetry.scores_dropped(dropped)
        if not self._unwritten:
            return
        with self._parts.telemetry.stage("write"):
            try:
                self._parts.store.write_scores(_joined(self._unwritten))
            except StoreUnavailableError as error:
                self._parts.telemetry.store_failed()
                _log.warning("scores_wait", windows=kept, reason=str(error))
                return
            except StoreRefusedError as error:
                self._parts.telemetry.scores_dropped(kept)
                _log.error("scores_refused", windows=kept, reason=str(error))
            self._unwritten.clear()

    def _acknowledge(self) -> None:
        for ack in self._parts.store.read_acks(self._acknowledged_until):
            self._parts.life.acknowledge(ack.device_id, ack.alert_id)
            self._acknowledged_until = max(self._acknowledged_until, ack.at - 5 * MICROSECONDS)

    def write_baselines(self) -> None:
        """Let another worker go on from here; failing that is only logged."""
        engine = self._parts.engine
        baselines = [
            Baseline(device_id, engine.newest(device_id), engine.checkpoint(device_id))
            for device_id in engine.device_ids
            if device_id is not None
        ]
        try:
            self._parts.store.write_baselines(baselines)
        except (StoreUnavailableError, StoreRefusedError) as error:
            self._parts.telemetry.store_failed()
            _log.warning("baselines_not_written", reason=str(error))


def _joined(parts: Collection[WindowScores]) -> WindowScores:
    """Columns of several batches as one."""
    batches = list(parts)
    if len(batches) == 1:
        return batches[0]

    def column(name: str) -> np.ndarray:
        return np.concatenate([getattr(batch, name) for batch in batches])

    return WindowScores(
        device_ids=tuple(device_id for batch in batches for device_id in batch.device_ids),
        ends=column("ends"),
        names=batches[0].names,
        features=column("features"),
        ordered=column("ordered"),
        forest=column("forest"),
        score=column("score"),
        quality=column("quality"),
        flagged=column("flagged"),
        alerted=column("alerted"),
        revision=column("revision"),
    )
