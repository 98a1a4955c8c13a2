"""The 24 measures of the life-threatening path, each second over the last 4 s, for a batch of patients.

Sources: count2 Jekova & Krasteva, Physiol Meas 2004;25:1167; leak (the VF filter) Kuo & Dillman 1978 as in Amann,
Tratnig & Unterkofler, BioMed Eng OnLine 2005;4:60; slope after Irusta; the others are plain statistics. `d_x` is x
minus the patient's own median of x (the population's mean difference until that is known).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from holter.model.jit import njit
from holter.signal.filters import FS
from holter.signal.order import below, largest, median, nth, quantile
from holter.signal.patient import BEATS, LEARN, SECONDS
from holter.signal.ring import newest

NAMES = (
    "slopeL", "count2", "slope", "d_leak", "leak", "p2.5_5", "leakL", "d_count2", "mobL", "d_slope", "llf", "d_mobL",
    "d_lhf", "nccmed4", "qL", "d_leakL", "d_slopeL", "dlrr", "acmin", "nccmax4", "kurtL", "acminL", "acmaxL", "cnt4",
)  # fmt: skip
N = len(NAMES)
BASELINES = ("leak", "count2", "slope", "mobL", "lhf", "leakL", "slopeL", "amplitude", "rr")
"""Own baselines, as in a record's `base`: measures, the largest 1 s peak-to-peak of 4 s (mV), median R-R (s)."""
_D_LEAK, _D_COUNT2, _D_SLOPE, _D_MOBL, _D_LHF, _D_LEAKL, _D_SLOPEL = -0.018, 0.045, -0.187, -0.266, 0.803, 0.001, -0.101
READY = 10
"""Learnt seconds from which an own baseline is used."""
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
def _autocorrelation(v: NDArray[np.float32], rate: float) -> tuple[float, float, float]:
    """Lowest over 0..0.6 s, highest over 0.15..0.6 s, and that one's lag (s), of the unbiased autocorrelation."""
    n = v.size
    power = np.float32(0.0)
    for i in range(n):
        power += v[i] * v[i]
    power /= np.float32(n)
    if power <= 0.0:
        return 0.0, 0.0, 0.0
    lowest, highest, at = 1.0, -1.0, 0
    for lag in range(1, int(0.6 * rate) + 1):
        total = np.float32(0.0)
        now, then = v[lag:], v[: n - lag]
        for i in range(n - lag):
            total += now[i] * then[i]
        r = float(total / power) / (n - lag)
        lowest = min(lowest, r)
        if lag >= 0.15 * rate and r > highest:
            highest, at = r, lag
    return lowest, highest, at / rate


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
def _moments(v: NDArray[np.float32], dv: NDArray[np.float32], rate: float) -> tuple[float, float, float]:
    """Mobility (Hz), ln kurtosis, q = ln(median |v| / 98 % quantile of |v|)."""
    n = v.size
    m2, m4, d2 = np.float32(0.0), np.float32(0.0), np.float32(0.0)
    for i in range(n):
        square = v[i] * v[i]
        m2 += square
        m4 += square * square
        d2 += dv[i] * dv[i]
    m2 /= np.float32(n)
    if m2 <= 1e-12:
        return 0.0, np.log(3.0), -1.0
    top = largest(v)
    q = np.log(max(quantile(v, top, 0.5), 1e-6) / max(quantile(v, top, 0.98), 1e-6))
    return np.sqrt(d2 / n / m2) * rate / (2 * np.pi), np.log(m4 / n / (m2 * m2)), q


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


@njit(fastmath=True)
def _one(rec: Any, out: NDArray[np.float32], extra: NDArray[np.float32]) -> None:
    v, dv = np.empty(1000, np.float32), np.empty(1000, np.float32)
    _window(rec.lethal, rec.n, v, dv)
    vl, dvl = np.empty(500, np.float32), np.empty(500, np.float32)
    _window(rec.slow, rec.n // 2, vl, dvl)
    leak, leak_l = _leak(v, dv), _leak(vl, dvl)
    slope, slope_l = _slope(dv), _slope(dvl)
    mob_l, kurt_l, q_l = _moments(vl, dvl, FS / 2)
    quarter = np.empty(250, np.float32)
    for i in range(250):
        quarter[i] = 0.25 * (v[4 * i] + v[4 * i + 1] + v[4 * i + 2] + v[4 * i + 3])
    acmin, _, _ = _autocorrelation(quarter, FS / 4)
    quarter_l = vl[::2].copy()
    acmin_l, acmax_l, period = _autocorrelation(quarter_l, FS / 4)
    count2, high, wander, amplitude, lowest = 0.0, 0.0, 0.0, 0.0, 1e9
    ncc = np.empty(4, np.float32)
    for k in range(4):
        s = (rec.second - k) % SECONDS
        count2 += 0.25 * rec.complex[s]
        high += rec.high_sq[s]
        wander = max(wander, rec.wander[s])
        amplitude = max(amplitude, rec.pp[s])
        lowest = min(lowest, rec.pp[s])
        ncc[k] = rec.ncc[s]
    lhf = np.log(max(np.sqrt(high / 1000), 1e-5))
    beats, n = 0, min(rec.beat_n, BEATS)
    rrs = np.empty(32, np.float32)
    known = 0
    for j in range(n):
        b = rec.beats[(rec.beat_n - 1 - j) % BEATS]
        if b.r < rec.n - 1000:
            break
        beats += 1
        if b.rr > 0 and known < 32:
            rrs[known] = b.rr
            known += 1
    rr = nth(rrs, known, known // 2) if known > 0 else 0.0
    base, ready = rec.base, rec.learn_n >= READY
    out[0], out[1], out[2] = slope_l, count2, slope
    out[3] = leak - base[0] if ready else _D_LEAK
    out[4], out[5], out[6] = leak, _share_2_5_5(quarter), leak_l
    out[7] = count2 - base[1] if ready else _D_COUNT2
    out[8] = mob_l
    out[9] = slope - base[2] if ready else _D_SLOPE
    out[10] = np.log(max(wander, 1e-3))
    out[11] = mob_l - base[3] if ready else _D_MOBL
    out[12] = lhf - base[4] if ready else _D_LHF
    out[13], out[14] = median(ncc, 4), q_l
    out[15] = leak_l - base[5] if ready else _D_LEAKL
    out[16] = slope_l - base[6] if ready else _D_SLOPEL
    out[17] = np.log(rr / base[8]) if ready and rr > 0 and base[8] > 0 else -0.289
    out[18], out[19], out[20], out[21], out[22], out[23] = acmin, nth(ncc, 4, 3), kurt_l, acmin_l, acmax_l, beats
    extra[0], extra[1], extra[2], extra[3], extra[4] = amplitude, lowest, period, rr, lhf
    if rec.bank_seen[rec.dominant] < 8:  # no template to be unlike
        out[13], out[19] = 0.880, 0.935


@njit()
def _learn(rec: Any, out: NDArray[np.float32], extra: NDArray[np.float32]) -> None:
    """Take a quiet second into the own baseline: medians of the first 300, renewed every 10, then kept."""
    row = rec.learn[rec.learn_n % LEARN]
    row[0], row[1], row[2], row[3], row[4] = out[4], out[1], out[2], out[8], extra[4]
    row[5], row[6], row[7], row[8] = out[6], out[0], extra[0], extra[3]
    rec.learn_n += 1
    if rec.learn_n % 10 == 0:
        for b in range(rec.base.size):
            rec.base[b] = np.median(rec.learn[: rec.learn_n, b])


@njit()
def measure(
    state: NDArray[np.void], slots: NDArray[np.int64], out: NDArray[np.float32], extra: NDArray[np.float32]
) -> None:
    """Measures of the last 4 s of each patient.

    Args:
        state: shape (capacity,), dtype PATIENT.
        slots: shape (n,), which records.
        out: shape (n, 24), float32, columns NAMES, overwritten.
        extra: shape (n, 5), float32, overwritten: largest and smallest 1 s peak-to-peak (mV), period of the
            autocorrelation's peak (s), median R-R of 4 s (s, 0 without), ln rms of 35-60 Hz.
    """
    for i in range(slots.size):
        _one(state[slots[i]], out[i], extra[i])


@njit()
def learn(
    state: NDArray[np.void], slots: NDArray[np.int64], out: NDArray[np.float32], extra: NDArray[np.float32],
    quiet: NDArray[np.bool_],
) -> None:  # fmt: skip
    """Let the patients of whom `quiet` (shape (n,)) is true learn their own baseline from this second's measures."""
    for i in range(slots.size):
        if quiet[i] and state[slots[i]].learn_n < LEARN:
            _learn(state[slots[i]], out[i], extra[i])
