"""One second of many patients, all of it: samples in, what is known of each now out.

A few patients go through all stages together, so that a record comes from memory once, not once a stage.
"""

import numpy as np
from numpy.typing import NDArray

from holter.model.jit import njit
from holter.signal.filters import BLOCK, LANES
from holter.signal.lethal import probability
from holter.signal.measures import LPPMIN, ORGANISED, learn, measure
from holter.signal.patient import SECONDS
from holter.signal.quality import GOOD, quality
from holter.signal.rhythm import describe
from holter.signal.step import advance

FLAT_MILLIVOLTS = 0.015
_FLAT_LOG = np.log(FLAT_MILLIVOLTS)
FLAT_SHARE = 0.9
SECONDS_NOW = 4
"""Of the quality of now: what the measures look at."""
_SETTLED = 15
"""Seconds after which the filters and levels of a new patient can be learnt from."""
_POOR = 0.25
"""What a second of poor signal counts for in the own means: a lead that is never good has means of its own too."""


@njit()
def _flat(state: NDArray[np.void], slots: NDArray[np.int64], out: NDArray[np.bool_]) -> None:
    """Whether the last second is constant."""
    for i in range(slots.size):
        rec = state[slots[i]]
        s = rec.second % SECONDS
        out[i] = rec.pp_raw[s] < FLAT_MILLIVOLTS or rec.equal[s] > FLAT_SHARE


@njit()
def look(
    state: NDArray[np.void],
    slots: NDArray[np.int64],
    blocks: NDArray[np.float32],
    holes: NDArray[np.float32],
    lead_off: NDArray[np.bool_],
    seconds: NDArray[np.int64],
    window: int,
    measures: NDArray[np.float32],
    extra: NDArray[np.float32],
    score: NDArray[np.float64],
    rhythm: NDArray[np.void],
    good: NDArray[np.float32],
    good_now: NDArray[np.float32],
    flat: NDArray[np.bool_],
) -> None:
    """Take one second of each of n patients in, measure, and learn where that is safe.

    Args:
        state: see `step.advance`, as all of the next five.
        slots: which records.
        blocks: the samples.
        holes: what is missing of them.
        lead_off: what the device says.
        seconds: event time.
        window: seconds that `good` is of.
        measures: shape (n, measures.N); this and all that follow are overwritten. See `measures.measure`.
        extra: shape (n, measures.EXTRA), likewise.
        score: shape (n,), of ventricular tachycardia or fibrillation.
        rhythm: shape (n,), dtype RHYTHM.
        good: shape (n,), quality of the last `window` seconds.
        good_now: shape (n,), quality of the last `SECONDS_NOW`.
        flat: shape (n,), the second is constant.
    """
    weight = np.empty(LANES, np.float32)
    for first in range(0, slots.size, LANES):
        end = min(first + LANES, slots.size)
        some = slots[first:end]
        advance(state, some, blocks[first:end], holes[first:end], lead_off[first:end], seconds[first:end])
        quality(state, some, window, 0, good[first:end])
        quality(state, some, SECONDS_NOW, 0, good_now[first:end])
        describe(state, some, rhythm[first:end])
        measure(state, some, rhythm[first:end], good_now[first:end], measures[first:end], extra[first:end])
        probability(measures[first:end], score[first:end])
        _flat(state, some, flat[first:end])
        for i in range(first, end):
            rec = state[slots[i]]
            there = not flat[i] and holes[i] == 0 and extra[i, LPPMIN] > _FLAT_LOG
            rec.hold = 0 if there and good[i] >= GOOD and extra[i, ORGANISED] > 0 else 1
            learnt = there and rec.n >= _SETTLED * BLOCK
            weight[i - first] = (1.0 if good[i] >= GOOD else _POOR) if learnt else 0.0
        learn(state, some, extra[first:end], weight)
