"""The batch: chunks of any number of devices in, one `Tick` for each round of seconds out.

Nothing here knows of stores, alerts or clocks on the wall. A device's results depend on its own samples alone.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import structlog
from numpy.typing import NDArray

from holter.batch.chunks import Chunks
from holter.batch.seconds import Taken
from holter.batch.streams import Streams
from holter.chunk import MICROSECONDS, Chunk
from holter.model.fusion import fuse
from holter.model.pipeline import Model, select
from holter.signal.features import LOOKAHEAD, NAMES, ordered_score, window_features
from holter.signal.filters import BLOCK
from holter.signal.look import look
from holter.signal.measures import EXTRA
from holter.signal.measures import N as MEASURES
from holter.signal.patient import allocate, checkpoint, checkpoints, restore
from holter.signal.quality import quality
from holter.signal.rhythm import RHYTHM
from holter.window import WindowScores

_AT_ONCE = 2048
"""Rows of a tick: what is made for each on the way fits the processor's caches, and no more."""
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Tick:
    """One second of n devices, each with its own event time.

    Attributes:
        slots: shape (n,), places in the engine's arrays.
        seconds: shape (n,), int64, event time of the seconds' ends, s since the epoch.
        probability: shape (n,), VT/VF score of the last 4 s.
        measures: shape (n, 23), float32, `signal.measures.NAMES`.
        extra: shape (n, 19), float32, what they are made of: see `signal.measures.measure`.
        rhythm: shape (n,), dtype RHYTHM.
        quality: shape (n,), of the last `window` seconds.
        quality_now: shape (n,), of the last 4 s.
        flat: shape (n,), bool, the second is constant.
        holes: shape (n,), float32, share of samples that never came.
        arrived: shape (n,), int64, when what completed the second came to ingest, µs since the epoch, 0 unknown.
        windows: rows of this tick of which a window ended `LOOKAHEAD` seconds ago.
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
    arrived: NDArray[np.int64]
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
        streams: of the devices, by slot.
        remembered: asked, with the event time of its first chunk's end, for what is known of a device that is new.
    """

    def __init__(self, window: int = 10, interval: int = 5, model: Model | None = None, capacity: int = 64) -> None:
        self.window, self.interval, self.model = window, interval, model
        self.state = allocate(capacity)
        self.device_ids: list[str | None] = [None] * capacity
        self._slots: dict[bytes, int] = {}
        self._free = list(range(capacity - 1, -1, -1))
        self.streams = Streams(capacity)
        self.remembered: Callable[[str, int], bytes | None] = lambda _device_id, _newest: None
        self.waiting = False

    def __len__(self) -> int:
        return len(self._slots)

    def slot(self, device_id: str) -> int:
        """The device's place, a new one when it is not known."""
        known = self._slots.get(device_id.encode())
        return self._begin(device_id.encode()) if known is None else known

    def _begin(self, device_id: bytes) -> int:
        if not self._free:
            old = len(self.state)
            state = allocate(2 * old)  # pages that nobody has touched take no memory
            state[:old] = self.state
            self.state = state
            self.streams.grow(2 * old)
            self.device_ids += [None] * old
            self._free = list(range(2 * old - 1, old - 1, -1))
        slot = self._free.pop()
        self.state[slot] = np.zeros((), self.state.dtype)
        self.streams.begin(slot)
        self._slots[device_id] = slot
        self.device_ids[slot] = device_id.decode()
        return slot

    def know(self, slots: NDArray[np.int64], paced: NDArray[np.bool_]) -> None:
        """Who of these has a pacemaker, shape (n,): counts from their next second on."""
        self.state["paced"][slots] = paced

    def forget(self, device_id: str) -> None:
        """Let go of a device that has gone."""
        slot = self._slots.pop(device_id.encode())
        self.streams.begin(slot)
        self.device_ids[slot] = None
        self._free.append(slot)

    def knows(self, device_id: str) -> bool:
        """Whether the device has a place."""
        return device_id.encode() in self._slots

    def newest(self, device_id: str) -> int:
        """Event time just after a known device's newest sample, µs."""
        return self.streams.newest(self._slots[device_id.encode()])

    @property
    def late_chunks(self) -> int:
        """Chunks that came after their second had been processed."""
        return self.streams.late_chunks

    def checkpoint(self, device_id: str) -> bytes:
        """What another worker needs to go on with a known device."""
        return checkpoint(self.state[self._slots[device_id.encode()]])

    def checkpoints(self, device_ids: Sequence[str]) -> list[bytes]:
        """The same of many."""
        return checkpoints(self.state, np.array([self._slots[d.encode()] for d in device_ids], np.int64))

    def restore(self, device_id: str, payload: bytes) -> bool:
        """Begin a device with what another worker knew; False when the payload is of no use."""
        return restore(self.state[self.slot(device_id)], payload)

    def push(self, chunks: Chunks | Iterable[Chunk], now: float = 0.0) -> Iterator[Tick]:
        """Take chunks in; each tick has to be used before the next is asked for (its arrays are the caller's).

        Args:
            chunks: in any order.
            now: wall clock (s) at which their devices were heard of; 0: that is not to be noted.
        """
        chunks = Chunks.columns(chunks)
        slots = self.place(chunks)
        touched = np.unique(slots)
        self.streams.next_page()
        at = 0
        while (at := self.streams.push(slots, chunks, at, now)) < len(chunks):
            yield from self._round(touched)
        more = True
        while more:
            more = False
            for tick in self._round(touched):
                more = True
                yield tick
        self.waiting = self.streams.waiting(touched)

    def is_ahead(self, chunks: Chunks) -> bool:
        """Whether one of these is of a device that is not known, or holds something newer than all that it has sent."""
        slots = np.array([self._slots.get(device, -1) for device in chunks.head["device"].tolist()], np.int64)
        if (slots < 0).any():
            return True
        rows = self.streams.rows[slots]
        newest = rows["anchor"] + np.rint(rows["newest"] * MICROSECONDS / np.maximum(rows["fs"], 1.0)).astype(np.int64)
        return bool((chunks.head["t0"] > newest).any())

    def place(self, chunks: Chunks) -> NDArray[np.int64]:
        """The slot of each chunk, shape (n,); new devices get theirs."""
        devices = chunks.head["device"].tolist()
        slots = np.array([self._slots.get(device, -1) for device in devices], np.int64)
        unusable = 0
        for i in np.flatnonzero(slots < 0).tolist():
            device = devices[i]
            if device not in self._slots:
                self._begin(device)
                head = chunks.head[i]
                end = int(head["t0"]) + round(int(head["n"]) * MICROSECONDS / float(head["fs"]))
                payload = self.remembered(device.decode(), end)
                if payload is not None and not self.restore(device.decode(), payload):
                    unusable += 1
            slots[i] = self._slots[device]
        if unusable:
            _log.warning("baselines_unusable", devices=unusable, reason="of another release", instead="learnt anew")
        return slots

    def _round(self, touched: NDArray[np.int64]) -> Iterator[Tick]:
        """At most one second of each device."""
        for first in range(0, len(touched), _AT_ONCE):
            taken = self.streams.take(touched[first : first + _AT_ONCE])
            if taken is not None:
                yield self._tick(taken)

    def _tick(self, taken: Taken) -> Tick:
        slots, seconds, holes, state = taken.rows, taken.seconds, taken.holes, self.state
        n = len(slots)
        measures, extra, probability = (
            np.empty((n, MEASURES), np.float32),
            np.empty((n, EXTRA), np.float32),
            np.empty(n),
        )
        good, good_now, flat = np.empty(n, np.float32), np.empty(n, np.float32), np.empty(n, np.bool_)
        rhythm = np.zeros(n, RHYTHM)
        look(
            state, slots, taken.samples, holes, taken.lead_off, seconds, self.window, measures, extra, probability,
            rhythm, good, good_now, flat,
        )  # fmt: skip
        ended = np.flatnonzero((seconds - LOOKAHEAD) % self.interval == 0)
        windows = ended[state["n"][slots[ended]] >= (self.window + LOOKAHEAD) * BLOCK]
        scores = self._score(slots[windows], seconds[windows] - LOOKAHEAD) if len(windows) else None
        return Tick(
            slots, seconds, probability, measures, extra, rhythm, good, good_now, flat, holes, taken.arrived, windows,
            scores,
        )  # fmt: skip

    def _score(self, slots: NDArray[np.int64], ends: NDArray[np.int64]) -> WindowScores:
        n = len(slots)
        good = np.empty(n, np.float32)
        quality(self.state, slots, self.window, LOOKAHEAD, good)
        features = window_features(self.state, slots, self.window)
        ordered = ordered_score(features)
        forest, flagged = np.full(n, np.nan, np.float32), np.zeros(n, np.bool_)
        if self.model is not None:
            forest = self.model.score(select(NAMES, features, self.model.names))
            flagged = self.model.flagged(forest)
        return WindowScores(
            device_ids=tuple(self.device_ids[s] or "" for s in slots),
            ends=ends * MICROSECONDS,
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
