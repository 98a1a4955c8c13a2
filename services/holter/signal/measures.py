"""The measures of the life-threatening path, each second over the last 4 s, for a batch of patients.

What a heart looks like while it beats its own rhythm differs more between patients than sinus rhythm and fibrillation
do in many of them: each figure counts by its distance from the patient's own running mean (`d_x`), which begins as the
population's. Sources: count2 Jekova & Krasteva, Physiol Meas 2004;25:1167; leak (the VF filter) Kuo & Dillman 1978 as
in Amann, Tratnig & Unterkofler, BioMed Eng OnLine 2005;4:60; slope after Irusta; the others are plain statistics.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from holter.model.jit import njit
from holter.signal.filters import FS
from holter.signal.fitted import POPULATION as _POPULATION
from holter.signal.fitted import REACH as _REACH
from holter.signal.order import below, largest, median, nth, quantile
from holter.signal.patient import BEATS, LEARNED, SECONDS
from holter.signal.ring import newest

RELATIVE = (
    "leak", "count2", "slope", "leakL", "slopeL", "p2.5_5", "acmin", "acminL", "acmaxL", "llf", "lpp", "lppmin",
    "unlike_median", "unlike_second", "unlike_best",
)  # fmt: skip
"""Figures that have an own mean. L: of the slow band. lpp, lppmin: ln of the largest and smallest 1 s peak-to-peak
(mV); llf: ln of the largest wander; unlike: ln(1.03 - c), c of the seconds' correlations with an own beat."""
NAMES = (
    *(f"d_{name}" for name in RELATIVE),
    "acmaxL", "unlike_median", "unlike_second", "unlike_best", "foreign", "own", "moved", "quality",
)  # fmt: skip
N = len(NAMES)
LRR, PERIOD, OWN, ORGANISED = range(len(RELATIVE), len(RELATIVE) + 4)
"""Further columns of `extra`: ln of the median R-R of 4 s (NaN without), the period of the autocorrelation's peak (s),
the best correlation with an own beat, and whether the rhythm is one that may be learnt (1 or 0)."""
EXTRA = len(RELATIVE) + 4
LLF, LPP, LPPMIN = RELATIVE.index("llf"), RELATIVE.index("lpp"), RELATIVE.index("lppmin")
POPULATION = np.array([_POPULATION[name] for name in (*RELATIVE, "lrr")], np.float32)
REACH = np.array([_REACH[name] for name in (*RELATIVE, "lrr")], np.float32)
PRIOR = 10.0
"""Seconds that the population's mean counts for."""
READY = 10.0
"""Seconds learnt beyond it from which an own mean is taken at its word."""
_MEMORY = 600.0
"""Seconds of an own mean: later ones move it by 1/600 each."""
_COUNT2, _LEAK = 0.36, 0.6
_SLOW_LAG, _SLOW_RATE, _SLOW_PEAK = 0.46, 130.0, 0.4
_FLOOR = 0.01  # mV
_PERIOD = 0.85
_PHASES = 2 * np.pi * np.outer(np.arange(10, 21), np.arange(250)) / 250  # 2.5-5 Hz in bins of 0.25 Hz
_COSINES, _SINES = np.cos(_PHASES).astype(np.float32), np.sin(_PHASES).astype(np.float32)
_HANN = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(250) / 250)).astype(np.float32)


@njit(fastmath=True)
def _leak(v: NDArray[np.float32], dv: NDArray[np.float32]) -> float:
    """|v_i + v_(i-N)| over |v_i| + |v_(i-N)|, N half the mean period: 0 for a sine, 1 for spikes."""
    sum_v, sum_dv = np.float32(0.0), np.float32(0.0)
    for i in range(v.size):
        sum_v += abs(v[i])
        sum_dv += abs(dv[i])
    if sum_dv <= 0.0:
        return 1.0
    half = int(np.pi * sum_v / sum_dv + 0.5)
    if half < 1 or half >= v.size:
        return 1.0
    top, bottom = np.float32(0.0), np.float32(0.0)
    now, then = v[half:], v[: v.size - half]
    for i in range(now.size):
        top += abs(now[i] + then[i])
        bottom += abs(now[i]) + abs(then[i])
    return float(top / bottom) if bottom > 0 else 1.0


@njit(fastmath=True)
def _autocorrelation(v: NDArray[np.float32], rate: float) -> tuple[float, float, float, float]:
    """Lowest over 0..0.6 s, highest over 0.15..0.6 s, that one's lag (s), and the period (s), of the autocorrelation.

    It is the unbiased one. The period is the lag of the first peak that is nearly as high as the highest, which may be
    that of two periods.
    """
    n, most = v.size, int(0.6 * rate)
    power = np.float32(0.0)
    for i in range(n):
        power += v[i] * v[i]
    power /= np.float32(n)
    if power <= 0.0:
        return 0.0, 0.0, 0.0, 0.0
    r = np.empty(most + 1)
    lowest, highest, at = 1.0, -1.0, 0
    for lag in range(1, most + 1):
        total = np.float32(0.0)
        now, then = v[lag:], v[: n - lag]
        for i in range(n - lag):
            total += now[i] * then[i]
        r[lag] = float(total / power) / (n - lag)
        lowest = min(lowest, r[lag])
        if lag >= 0.15 * rate and r[lag] > highest:
            highest, at = r[lag], lag
    first = at
    for lag in range(int(0.15 * rate) + 1, at):
        if r[lag] >= _PERIOD * highest and r[lag] >= r[lag - 1] and r[lag] >= r[lag + 1]:
            first = lag
            break
    return lowest, highest, at / rate, first / rate


@njit(fastmath=True)
def _share_2_5_5(v: NDArray[np.float32]) -> float:
    """Power share of 2.5-5 Hz (Hann window); v: 250 samples at 62.5 Hz of a 1-30 Hz signal."""
    windowed = v * _HANN
    total = np.float32(0.0)
    for i in range(windowed.size):
        total += windowed[i] * windowed[i]
    if total <= 0.0:
        return 0.0
    power = np.float32(0.0)
    for k in range(_COSINES.shape[0]):
        real, imaginary = np.float32(0.0), np.float32(0.0)
        for i in range(windowed.size):
            real += windowed[i] * _COSINES[k, i]
            imaginary += windowed[i] * _SINES[k, i]
        power += real * real + imaginary * imaginary
    return float(2 * power / (v.size * total))


@njit(fastmath=True)
def _slope(dv: NDArray[np.float32]) -> float:
    """Share of small differences: the isoelectric line."""
    top = largest(dv)
    return below(dv, 0.1 * quantile(dv, top, 0.98)) / dv.size if top > 0.0 else 1.0


@njit(fastmath=True)
def _window(ring: NDArray[np.float32], end: int, v: NDArray[np.float32], dv: NDArray[np.float32]) -> None:
    """Copy the last samples, mean removed, and their differences."""
    n = v.size
    newest(ring, end, v)
    mean = np.float32(0.0)
    for i in range(n):
        mean += v[i]
    mean /= np.float32(n)
    dv[0] = v[0] - ring[(end - n - 1) % ring.size]
    now, then, change = v[1:], v[: n - 1], dv[1:]
    for i in range(n - 1):
        change[i] = now[i] - then[i]
    for i in range(n):
        v[i] -= mean


@njit()
def _unlike(c: float) -> float:
    return float(np.log(1.03 - min(max(c, 0.0), 1.0)))


@njit()
def _median_rr(rec: Any) -> float:
    """Of the beats of the last 4 s; 0 without."""
    rrs, known = np.empty(32, np.float32), 0
    for j in range(min(rec.beat_n, BEATS)):
        b = rec.beats[(rec.beat_n - 1 - j) % BEATS]
        if b.r < rec.n - 4 * FS or known == 32:
            break
        if b.rr > 0:
            rrs[known] = b.rr
            known += 1
    return nth(rrs, known, known // 2) if known > 0 else 0.0


@njit(fastmath=True)
def _figures(rec: Any, rate: float, extra: NDArray[np.float32]) -> None:
    v, dv = np.empty(1000, np.float32), np.empty(1000, np.float32)
    _window(rec.lethal, rec.n, v, dv)
    vl, dvl = np.empty(500, np.float32), np.empty(500, np.float32)
    _window(rec.slow, rec.n // 2, vl, dvl)
    quarter = np.empty(250, np.float32)
    for i in range(250):
        quarter[i] = 0.25 * (v[4 * i] + v[4 * i + 1] + v[4 * i + 2] + v[4 * i + 3])
    acmin, _, _, _ = _autocorrelation(quarter, FS / 4)
    acmin_l, acmax_l, lag, period = _autocorrelation(vl[::2].copy(), FS / 4)
    count2, wander, amplitude, lowest = 0.0, 0.0, 0.0, 1e9
    ncc = np.empty(4, np.float32)
    for k in range(4):
        s = (rec.second - k) % SECONDS
        count2 += 0.25 * rec.complex[s]
        wander = max(wander, rec.wander[s])
        amplitude = max(amplitude, rec.pp[s])
        lowest = min(lowest, rec.pp[s])
        ncc[k] = rec.ncc[s]
    known = rec.bank_seen[rec.dominant] >= 8  # else there is nothing to be unlike
    best = nth(ncc, 4, 3) if known else 0.985
    second = nth(ncc, 4, 2) if known else 0.98
    middle = median(ncc, 4) if known else 0.97
    leak = _leak(v, dv)
    extra[0], extra[1], extra[2] = leak, count2, _slope(dv)
    extra[3], extra[4], extra[5] = _leak(vl, dvl), _slope(dvl), _share_2_5_5(quarter)
    extra[6], extra[7], extra[8] = acmin, acmin_l, acmax_l
    extra[9], extra[10], extra[11] = (
        np.log(max(wander, 1e-3)),
        np.log(max(amplitude, _FLOOR)),
        np.log(max(lowest, _FLOOR)),
    )
    extra[12], extra[13], extra[14] = _unlike(middle), _unlike(second), _unlike(best)
    rr = _median_rr(rec)
    extra[LRR] = np.log(rr) if rr > 0 else np.nan
    extra[PERIOD], extra[OWN] = period, best
    slow = acmax_l > _SLOW_PEAK and lag >= _SLOW_LAG and rate <= _SLOW_RATE
    extra[ORGANISED] = 1.0 if slow or (count2 < _COUNT2 and leak > _LEAK) else 0.0


@njit()
def measure(
    state: NDArray[np.void],
    slots: NDArray[np.int64],
    rhythm: NDArray[np.void],
    good_now: NDArray[np.float32],
    out: NDArray[np.float32],
    extra: NDArray[np.float32],
) -> None:
    """Measures of the last 4 s of each patient.

    Args:
        state: shape (capacity,), dtype PATIENT.
        slots: shape (n,), which records.
        rhythm: shape (n,), dtype RHYTHM, of the same second.
        good_now: shape (n,), quality of the last 4 s.
        out: shape (n, N), float32, columns NAMES, overwritten.
        extra: shape (n, EXTRA), float32, columns RELATIVE and the four after it, overwritten.
    """
    count = len(RELATIVE)
    for i in range(slots.size):
        rec, r = state[slots[i]], rhythm[i]
        if rec.learn_n == 0:
            rec.base[:] = POPULATION
            rec.learn_n = PRIOR
        _figures(rec, r.rate, extra[i])
        for k in range(count):
            out[i, k] = extra[i, k] - rec.base[k]
        out[i, count] = extra[i, 8]
        out[i, count + 1], out[i, count + 2], out[i, count + 3] = extra[i, 12], extra[i, 13], extra[i, 14]
        out[i, count + 4], out[i, count + 5] = r.foreign, min(r.own, 3)
        out[i, count + 6], out[i, count + 7] = min(r.moved, 1.5), good_now[i]


@njit()
def learn(
    state: NDArray[np.void], slots: NDArray[np.int64], extra: NDArray[np.float32], weight: NDArray[np.float32]
) -> None:
    """Move each patient's own mean towards this second (a running mean of Huber's kind, Ann Math Stat 1964;35:73).

    Args:
        state: shape (capacity,), dtype PATIENT.
        slots: shape (n,), which records.
        extra: shape (n, EXTRA), from `measure`.
        weight: shape (n,), what the second counts for; 0: nothing.
    """
    for i in range(slots.size):
        if weight[i] <= 0 or extra[i, ORGANISED] == 0:
            continue
        rec = state[slots[i]]
        rec.learn_n += weight[i]
        rate = weight[i] / min(rec.learn_n, _MEMORY)
        for k in range(LEARNED):
            off = extra[i, k] - rec.base[k]
            if np.isfinite(off):
                rec.base[k] += rate * min(max(off, -REACH[k]), REACH[k])
