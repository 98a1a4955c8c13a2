"""What the signal path costs, as a whole and by stage: samples in, what is known of each patient out. No store."""

import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from holter.batch.chunks import Chunks
from holter.bench.playing import Tape, record
from holter.chunk import MICROSECONDS, Chunk
from holter.inference.engine import Engine
from holter.model.jit import njit
from holter.signal import figures, filters, measures, step
from holter.signal.beats import settle
from holter.signal.features import ordered_score, window_features
from holter.signal.filters import BANDS, BLOCK, FS, LANES, SECTIONS
from holter.signal.lethal import probability
from holter.signal.patient import SECONDS, allocate
from holter.signal.quality import quality
from holter.signal.resample import HALF, interpolate_all, kernel
from holter.signal.rhythm import RHYTHM, describe
from holter.sim.ward import MIX

WARM_SECONDS = 40
"""Until templates are learnt and a minute's beats are nearly full."""
_OTHER_FS = 360.0
_TOGETHER = 2 * LANES
"""Patients of a stage: their records fit the processor's cache, and a stage is long enough to be timed."""


def measure(patients: int, seconds: int) -> dict[str, float]:
    """CPU in µs of a patient's second.

    Args:
        patients: how many.
        seconds: of each, after WARM_SECONDS that are not counted.

    Returns:
        `all`: all of it, as the worker does it, chunks of 250 Hz in, ticks and unscored windows out. Then of each stage
        by itself, `resampling` of 360 Hz, which is none of the others.
    """
    tape = record(MIX, templates=len(MIX))
    found = {"all": _whole(tape, patients, seconds)}
    stages = _Stages(tape, patients)
    for second in range(WARM_SECONDS + seconds):
        if second == WARM_SECONDS:
            stages.spent.clear()
        stages.run(second)
    return found | {name: 1e6 * spent / patients / seconds for name, spent in stages.spent.items()}


def _whole(tape: Tape, patients: int, seconds: int) -> float:
    engine, spent = Engine(capacity=patients), 0.0
    for second in range(WARM_SECONDS + seconds):
        chunks = Chunks.of(_chunks(tape, patients, second))
        began = time.process_time()
        for _ in engine.push(chunks):
            pass
        spent += time.process_time() - began if second >= WARM_SECONDS else 0.0
    return 1e6 * spent / patients / seconds


def _chunks(tape: Tape, patients: int, second: int) -> Iterator[Chunk]:
    for patient in range(patients):
        yield Chunk(f"bench-{patient:06d}", second * MICROSECONDS, float(FS), tape.second(patient, second))


@njit()
def _open(state: NDArray[np.void], slots: NDArray[np.int64], blocks: NDArray[np.float32], second: int) -> None:
    for i in range(slots.size):
        step.begin(state[slots[i]], second, 0.0, False, blocks[i, 0])


@njit()
def _filter(
    state: NDArray[np.void],
    slots: NDArray[np.int64],
    blocks: NDArray[np.float32],
    zi: NDArray[np.float64],
    x: NDArray[np.float32],
    bands: NDArray[np.float32],
) -> None:
    for first in range(0, slots.size, LANES):
        lanes = min(LANES, slots.size - first)
        for lane in range(lanes):
            zi[:, :, lane] = state[slots[first + lane]].zi
            x[first // LANES, :, lane] = blocks[first + lane]
        for band in range(BANDS):
            filters.run(zi, x[first // LANES], band, bands[first // LANES, band])
        for lane in range(lanes):
            state[slots[first + lane]].zi[:] = zi[:, :, lane]


@njit()
def _figures(
    state: NDArray[np.void],
    slots: NDArray[np.int64],
    x: NDArray[np.float32],
    bands: NDArray[np.float32],
    table: NDArray[np.float32],
) -> None:
    for first in range(0, slots.size, LANES):
        figures.of_signal(x[first // LANES], table)
        for band in range(BANDS):
            figures.of_band(band, bands[first // LANES, band], table)
        for lane in range(min(LANES, slots.size - first)):
            rec = state[slots[first + lane]]
            figures.keep(rec, rec.second % SECONDS, table, lane)


@njit()
def _peaks(state: NDArray[np.void], slots: NDArray[np.int64], bands: NDArray[np.float32]) -> None:
    for i in range(slots.size):
        rec = state[slots[i]]
        for band in range(BANDS):
            step.take(rec, band, bands[i // LANES, band, :, i % LANES])
        rec.n += BLOCK


@njit()
def _beats(state: NDArray[np.void], slots: NDArray[np.int64]) -> None:
    for i in range(slots.size):
        settle(state[slots[i]], state[slots[i]].n)


@njit()
def _templates(state: NDArray[np.void], slots: NDArray[np.int64]) -> None:
    for i in range(slots.size):
        rec = state[slots[i]]
        rec.ncc[rec.second % SECONDS] = step.template_correlation(rec)


class _Stages:
    """All stages of `signal.look`, one after the other, over a few patients at a time."""

    def __init__(self, tape: Tape, patients: int) -> None:
        self._tape, self._state = tape, allocate(patients)
        self._groups = [np.arange(patients)[k : k + _TOGETHER] for k in range(0, patients, _TOGETHER)]
        self._zi, self._table = np.zeros((SECTIONS, 2, LANES)), np.zeros((figures.ROWS, LANES), np.float32)
        self.spent: dict[str, float] = {}

    def _time(self, name: str, function: Callable[..., object], *args: object) -> None:
        began = time.process_time()
        function(*args)
        self.spent[name] = self.spent.get(name, 0.0) + time.process_time() - began

    def run(self, second: int) -> None:
        """One second of all patients."""
        for slots in self._groups:
            samples = np.stack([self._tape.second(int(patient), second) for patient in slots])
            self._some(slots, (samples / np.float32(1000)).astype(np.float32), second)

    def _some(self, slots: NDArray[np.int64], blocks: NDArray[np.float32], second: int) -> None:
        state, n, groups = self._state, len(slots), _TOGETHER // LANES
        bands, x = np.empty((groups, BANDS, BLOCK, LANES), np.float32), np.zeros((groups, BLOCK, LANES), np.float32)
        _open(state, slots, blocks, 1_000_000 + second)
        self._time("filters", _filter, state, slots, blocks, self._zi, x, bands)
        self._time("figures", _figures, state, slots, x, bands, self._table)
        self._time("peaks", _peaks, state, slots, bands)
        self._time("beats", _beats, state, slots)
        self._time("templates", _templates, state, slots)
        good, good_now, rhythm = np.empty(n, np.float32), np.empty(n, np.float32), np.zeros(n, RHYTHM)
        self._time("quality", quality, state, slots, 10, 0, good)
        self._time("quality", quality, state, slots, 4, 0, good_now)
        self._time("rhythm", describe, state, slots, rhythm)
        out, extra = np.empty((n, measures.N), np.float32), np.empty((n, measures.EXTRA), np.float32)
        self._time("measures", measures.measure, state, slots, rhythm, good_now, out, extra)
        self._time("measures", probability, out, np.empty(n))
        self._time("baselines", measures.learn, state, slots, extra, np.full(n, second >= 15, np.float32))
        if second % 5 == 0:
            self._time("window features", lambda: ordered_score(window_features(state, slots, 10)))
        native, first = np.zeros((n, int(_OTHER_FS) + 2 * HALF + 2), np.float32), np.full(n, float(HALF))
        own, out_250, step_360 = np.arange(n), np.empty((n, BLOCK), np.float32), _OTHER_FS / FS
        self._time("resampling", interpolate_all, native, first, step_360, kernel(_OTHER_FS), own, out_250, own)
