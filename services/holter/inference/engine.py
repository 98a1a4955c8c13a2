"""The batch: chunks of any number of devices in, one `Tick` for each round of seconds out.

Nothing here knows of stores, alerts or clocks on the wall. A device's results depend on its own samples alone.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holter.chunk import MICROSECONDS, Chunk
from holter.inference.stream import Second, Stream
from holter.model.fusion import fuse
from holter.model.pipeline import Model, select
from holter.signal import lethal
from holter.signal.features import NAMES, ordered_score, window_features
from holter.signal.filters import BLOCK
from holter.signal.measures import N as MEASURES
from holter.signal.measures import learn, measure
from holter.signal.patient import SECONDS, allocate, checkpoint, restore
from holter.signal.quality import GOOD, quality
from holter.signal.rhythm import RHYTHM, describe
from holter.signal.step import advance
from holter.window import WindowScores

FLAT_MILLIVOLTS = 0.015
FLAT_SHARE = 0.9
_SETTLED = 15
"""Seconds after which the filters and levels of a new patient can be learnt from."""
_DOUBT = 0.3
"""VT/VF score from which nothing is learnt."""


@dataclass(frozen=True, slots=True)
class Tick:
    """One second of n devices, each with its own event time.

    Attributes:
        slots: shape (n,), places in the engine's arrays.
        seconds: shape (n,), int64, event time of the seconds' ends, s since the epoch.
        probability: shape (n,), VT/VF score of the last 4 s.
        measures: shape (n, 24), float32, `signal.measures.NAMES`.
        extra: shape (n, 5), see `signal.measures.measure`.
        rhythm: shape (n,), dtype RHYTHM.
        quality: shape (n,), of the window that ends now.
        quality_now: shape (n,), of the last 4 s.
        flat: shape (n,), bool, the second is constant.
        holes: shape (n,), float32, share of samples that never came.
        windows: rows of this tick at which a window ends.
        scores: those windows, or None when there are none.
    """

    slots: NDArray[np.int64]
    seconds: NDArray[np.int64]
    probability: NDArray[np.float64]
    measures: NDArray[np.float32]
    extra: NDArray[np.float32]
    rhythm: NDArray[np.void]
    quality: NDArray[np.float32]
    quality_now: NDArray[np.float32]
    flat: NDArray[np.bool_]
    holes: NDArray[np.float32]
    windows: NDArray[np.int64]
    scores: WindowScores | None


class Engine:
    """See the module.

    Args:
        window: seconds, 2..10.
        interval: step between windows, seconds.
        model: scores windows; None until there is one; replace it at any time between calls.
        capacity: patients to make room for at first.

    Attributes:
        waiting: some device of the last `push` has a hole that a chunk still on its way may fill.
    """

    def __init__(self, window: int = 10, interval: int = 5, model: Model | None = None, capacity: int = 64) -> None:
        self.window, self.interval, self.model = window, interval, model
        self.state = allocate(capacity)
        self.device_ids: list[str | None] = [None] * capacity
        self._slots: dict[str, int] = {}
        self._free = list(range(capacity - 1, -1, -1))
        self._streams: dict[str, Stream] = {}
        self._late_before = 0  # of devices that have gone
        self.waiting = False

    def __len__(self) -> int:
        return len(self._slots)

    def slot(self, device_id: str) -> int:
        """The device's place, a new one when it is not known."""
        known = self._slots.get(device_id)
        if known is not None:
            return known
        if not self._free:
            old = len(self.state)
            self.state = np.concatenate([self.state, allocate(old)])
            self.device_ids += [None] * old
            self._free = list(range(2 * old - 1, old - 1, -1))
        slot = self._free.pop()
        self.state[slot] = np.zeros((), self.state.dtype)
        self._slots[device_id] = slot
        self.device_ids[slot] = device_id
        self._streams[device_id] = Stream()
        return slot

    def forget(self, device_id: str) -> None:
        """Let go of a device that has gone."""
        slot = self._slots.pop(device_id)
        self._late_before += self._streams.pop(device_id).late_chunks
        self.device_ids[slot] = None
        self._free.append(slot)

    def knows(self, device_id: str) -> bool:
        """Whether the device has a place."""
        return device_id in self._slots

    def newest(self, device_id: str) -> int:
        """Event time just after a known device's newest sample, µs."""
        return self._streams[device_id].newest

    @property
    def late_chunks(self) -> int:
        """Chunks that came after their second had been processed."""
        return self._late_before + sum(stream.late_chunks for stream in self._streams.values())

    def checkpoint(self, device_id: str) -> bytes:
        """What another worker needs to go on with a known device."""
        return checkpoint(self.state[self._slots[device_id]])

    def restore(self, device_id: str, payload: bytes) -> bool:
        """Begin a device with what another worker knew; False when the payload is of no use."""
        return restore(self.state[self.slot(device_id)], payload)

    def push(self, chunks: Iterable[Chunk]) -> Iterator[Tick]:
        """Take chunks in; each tick has to be used before the next is asked for (its arrays are the caller's)."""
        touched: dict[str, Stream] = {}
        for chunk in chunks:
            self.slot(chunk.device_id)
            stream = self._streams[chunk.device_id]
            touched[chunk.device_id] = stream
            while not stream.push(chunk):
                yield from self._round(touched)
        while True:
            ticks = list(self._round(touched))
            if not ticks:
                break
            yield from ticks
        self.waiting = any(stream.waiting for stream in touched.values())

    def _round(self, touched: dict[str, Stream]) -> Iterator[Tick]:
        """At most one second of each device."""
        slots, seconds = [], []
        for device_id, stream in touched.items():
            if stream.ready():
                slots.append(self._slots[device_id])
                seconds.append(stream.take())
        if slots:
            yield self._tick(np.asarray(slots, np.int64), seconds)

    def _tick(self, slots: NDArray[np.int64], taken: list[Second]) -> Tick:
        n, state = len(slots), self.state
        seconds = np.asarray([s.end for s in taken], np.int64)
        holes = np.asarray([s.hole for s in taken], np.float32)
        lead_off = np.asarray([s.lead_off for s in taken])
        advance(state, slots, np.stack([s.samples for s in taken]), holes, lead_off, seconds)
        measures, extra = np.empty((n, MEASURES), np.float32), np.empty((n, 5), np.float32)
        measure(state, slots, measures, extra)
        probability = lethal.probability(measures)
        good, good_now, rhythm = np.empty(n, np.float32), np.empty(n, np.float32), np.zeros(n, RHYTHM)
        quality(state, slots, self.window, good)
        quality(state, slots, 4, good_now)
        describe(state, slots, rhythm)
        ring = seconds % SECONDS
        flat = (state["pp_raw"][slots, ring] < FLAT_MILLIVOLTS) | (state["equal"][slots, ring] > FLAT_SHARE)
        known = state["n"][slots]
        clean = ~flat & (holes == 0) & (good >= GOOD) & (extra[:, 1] > FLAT_MILLIVOLTS)
        state["hold"][slots] = ~(clean & (probability < _DOUBT))
        quiet = clean & (probability < 0.5) & (known >= _SETTLED * BLOCK)
        learn(state, slots, measures, extra, quiet)
        windows = np.flatnonzero((seconds % self.interval == 0) & (known >= self.window * BLOCK))
        scores = self._score(slots[windows], seconds[windows], good[windows], quiet[windows]) if len(windows) else None
        return Tick(slots, seconds, probability, measures, extra, rhythm, good, good_now, flat, holes, windows, scores)

    def _score(
        self,
        slots: NDArray[np.int64],
        seconds: NDArray[np.int64],
        good: NDArray[np.float32],
        quiet: NDArray[np.bool_],
    ) -> WindowScores:
        n = len(slots)
        features = window_features(self.state, slots, self.window, quiet)
        ordered = ordered_score(features)
        forest, flagged = np.full(n, np.nan, np.float32), np.zeros(n, np.bool_)
        if self.model is not None:
            forest = self.model.score(select(NAMES, features, self.model.names))
            flagged = self.model.flagged(forest)
        return WindowScores(
            device_ids=tuple(self.device_ids[s] or "" for s in slots),
            ends=seconds * MICROSECONDS,
            names=NAMES,
            features=features,
            ordered=ordered,
            forest=forest,
            score=fuse(forest, ordered),
            quality=good,
            flagged=flagged,
            alerted=np.zeros(n, np.bool_),
            revision=np.full(n, self.model.revision if self.model else 0, np.int32),
        )
