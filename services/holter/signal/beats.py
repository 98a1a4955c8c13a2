"""From a peak to a beat compared with the patient's own: a bank of slowly learnt templates, R-R measures, residuals.

Features and constants: docs/detection.md. `ventricular` marks beats for runs and reasons; the graded features serve the
score.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from holter.model.jit import njit
from holter.signal.fast import OWN, above_motion
from holter.signal.features import of_beat, ventricular
from holter.signal.filters import BLOCK, FS
from holter.signal.order import below, largest, nth
from holter.signal.patient import BEATS, CLUSTERS, SECONDS, SLOW_TEMPLATE, TEMPLATE
from holter.signal.qrs import SETTLE
from holter.signal.quality import HF_LIMIT, MOTION_LIMIT, own_amplitude
from holter.signal.ring import newest
from holter.signal.slow import SLOW_SEGMENT, compare, cut, follow

_BEFORE, _AFTER, _LAG = 30, 40, 12
_AROUND = 116
"""Samples before a peak from which the median is taken that R deflects from."""
_JOIN = 0.85
_PREMATURE = 0.87
_FAINT = 0.4
"""Slow band's energy over the own one's below which a peak in noise is none: 97 % of normal beats are above 0.5."""
_QUIET = 0.04
"""RMS of 25-45 Hz over QRS amplitude up to which a beat is taken at its word; the quality index's limit is 0.055."""
_LARGE = 1.5
_SMALLEST = 0.15  # mV: IEC 60601-2-27 lets what is smaller be no QRS


@njit()
def _quantile(values: NDArray[np.float32], n: int, q: float) -> float:
    return float(nth(values, n, min(n - 1, int(q * n))))


@njit(fastmath=True)
def _mean(seg: NDArray[np.float32], s: int) -> np.float32:
    part, total = seg[s : s + TEMPLATE], np.float32(0.0)
    for j in range(TEMPLATE):
        total += part[j]
    return total / np.float32(TEMPLATE)


@njit()
def _width(beat: NDArray[np.float32]) -> float:
    """Samples from 35 % of the peak on."""
    return float(TEMPLATE - below(beat, 0.35 * largest(beat)))


@njit()
def own_normal(rec: Any, k: int) -> bool:
    """Whether cluster k is a shape of this patient's normal beats (a bundle branch block or pacing comes and goes)."""
    if rec.bank_seen[k] == 0:
        return False
    d = rec.dominant
    if k == d:
        return True
    total = 0.0
    for j in range(CLUSTERS):
        total += rec.bank_count[j]
    return bool(
        rec.bank_seen[k] >= 8
        and rec.bank_count[k] >= 0.1 * total
        and rec.bank_prem[k] < 0.4
        and (rec.paced == 1 or rec.bank_width[k] < 1.35 * rec.bank_width[d])
    )


@njit(fastmath=True)
def _segment(rec: Any, peak: int, seg: NDArray[np.float32]) -> int:
    """Find R and copy the beat with its lag margins; returns R.

    R is the largest deflection in -160..+32 ms of the peak from the median of 600 ms around: that of the beat alone
    would lie within a wide QRS, and R at its edge.
    """
    x = np.empty(_AROUND + 8 + _AFTER + _LAG + 1, np.float32)  # from _AROUND before the peak on
    newest(rec.shape, peak - _AROUND + x.size, x)
    middle = np.float32(nth(x[: 4 * 38 : 4].copy(), 38, 19))
    best, at = np.float32(-1.0), 0
    for j in range(_AROUND - 40, _AROUND + 9):
        d = abs(x[j] - middle)
        if d > best:
            best, at = d, j
    first = at - _BEFORE - _LAG
    for j in range(seg.size):
        seg[j] = x[first + j]
    return int(peak - _AROUND + at)


@njit(fastmath=True)
def _match(rec: Any, seg: NDArray[np.float32], corr: NDArray[np.float32], lag: NDArray[np.int64]) -> None:
    """Best correlation, and the lag it has, of the beat with every template."""
    corr[:] = -1.0
    for s in range(2 * _LAG + 1):
        part, mean, energy = seg[s : s + TEMPLATE], _mean(seg, s), np.float32(0.0)
        for j in range(TEMPLATE):
            energy += (part[j] - mean) * (part[j] - mean)
        norm = np.sqrt(energy) + np.float32(1e-9)
        for k in range(CLUSTERS):
            if rec.bank_seen[k] == 0:
                continue
            template, dot = rec.bank[k], np.float32(0.0)
            for j in range(TEMPLATE):  # templates have mean zero
                dot += template[j] * part[j]
            c = dot / (norm * rec.bank_norm[k] + np.float32(1e-9))
            if c > corr[k]:
                corr[k] = c
                lag[k] = s


@njit(fastmath=True)
def _residual(rec: Any, k: int, seg: NDArray[np.float32], s: int) -> float:
    """|beat - template|^2 / |template|^2 at a lag, at most 20."""
    part, template, mean = seg[s : s + TEMPLATE], rec.bank[k], _mean(seg, s)
    total = np.float32(0.0)
    for j in range(TEMPLATE):
        off = part[j] - mean - template[j]
        total += off * off
    return float(min(20.0, total / (rec.bank_norm[k] ** 2 + 1e-9)))


@njit(fastmath=True)
def _learn(rec: Any, k: int, seg: NDArray[np.float32], s: int, premature: bool, width: float) -> int:
    """Move template k towards the beat (k < 0: the lightest one is replaced by it) and choose the dominant anew.

    Returns:
        Which template that was.
    """
    for j in range(CLUSTERS):
        rec.bank_count[j] *= 0.999
    fresh = k < 0
    if fresh:
        k = 0
        for j in range(CLUSTERS):
            if rec.bank_seen[j] == 0:
                k = j
                break
            if rec.bank_count[j] < rec.bank_count[k]:
                k = j
        rec.bank_count[k] = 0.0
        rec.bank_seen[k] = 0
    rec.bank_seen[k] += 1
    rec.bank_count[k] += 1.0
    rate = max(1.0 / rec.bank_seen[k], 0.02)
    part, template, mean = seg[s : s + TEMPLATE], rec.bank[k], _mean(seg, s)
    energy = np.float32(0.0)
    for j in range(TEMPLATE):
        value = part[j] - mean
        template[j] = value if fresh else template[j] + np.float32(rate) * (value - template[j])
        energy += template[j] * template[j]
    rec.bank_norm[k] = np.sqrt(energy)
    rec.bank_width[k] = width if fresh else rec.bank_width[k] + rate * (width - rec.bank_width[k])
    early = 1.0 if premature else 0.0
    rec.bank_prem[k] = early if fresh else rec.bank_prem[k] + rate * (early - rec.bank_prem[k])
    best, d = -1.0, 0
    for j in range(CLUSTERS):
        if rec.bank_seen[j] > 0:
            weight = rec.bank_count[j] * (1.0 - rec.bank_prem[j]) ** 2
            if weight > best:
                best, d = weight, j
    rec.dominant = d
    return k


@njit()
def _over(value: float, noise: NDArray[np.float32], n: int, floor: float) -> float:
    """A value over the patient's own: the 30 % quantile of the last n, which bigeminy does not move."""
    own = _quantile(noise, n, 0.3) if n >= 8 else floor
    return floor * value / (floor + own)


@njit()
def _trust(rec: Any, r: int, slow_energy: float) -> float:
    """What evidence of a beat is worth in the muscle noise of its second: 1 in none.

    In noise a ventricular beat still has a large slow band; a peak of noise has not.
    """
    second = (rec.second - (rec.n - 1 - r) // BLOCK) % SECONDS
    noise = np.float32(0.0)
    for j in range(5):
        noise += rec.noise[5 * second + j]
    ratio = noise / 5 / max(rec.amp, 0.1) / _QUIET
    if rec.amp <= 0.0 or ratio <= 1.0:
        return 1.0
    size = min(1.0, (slow_energy + 0.05) / _LARGE)
    return float(size ** min(1.0, np.log(ratio)) / ratio)


@njit()
def _discount(beat: Any, trust: float) -> None:
    beat.resx *= trust
    beat.cnx *= trust
    beat.res *= trust
    beat.wid *= trust
    beat.joint *= trust
    beat.pm_x *= trust
    beat.drr *= trust


@njit(fastmath=True)
def _beat(rec: Any, peak: int) -> None:
    seg = np.empty(TEMPLATE + 2 * _LAG, np.float32)
    r = _segment(rec, peak, seg)
    previous = rec.beats[(rec.beat_n - 1) % BEATS]
    rr = 0.0
    if rec.beat_n > 0 and previous.r > 0:
        rr = (r - previous.r) / FS
        if rr < 0.16:
            return
        if rr > 6.0:
            rr = 0.0
    corr = np.empty(CLUSTERS, np.float32)
    lag = np.full(CLUSTERS, _LAG, np.int64)
    _match(rec, seg, corr, lag)
    d = rec.dominant
    nearest, best = d, -1.0
    for k in range(CLUSTERS):
        if own_normal(rec, k) and corr[k] > best:
            nearest, best = k, corr[k]
    known = rec.bank_seen[d] >= 8
    s = lag[nearest]
    beat = seg[s : s + TEMPLATE] - np.float32(_mean(seg, s))
    low, high = 0.0, 0.0
    for j in range(TEMPLATE):
        low = min(low, beat[j])
        high = max(high, beat[j])
    if rec.amp > 0 and high - low < min(_SMALLEST, 0.4 * rec.amp):
        return
    slow = np.empty(SLOW_SEGMENT, np.float32)
    cut(rec, r, slow)
    slow_residual, slow_energy, slow_best, _ = compare(rec, nearest, slow)
    doubtful = slow_energy < _FAINT or (0.0 < rr < 0.28 and best < previous.corr)
    if known and rec.muscle > 1 and doubtful and rec.skipped < 4:
        rec.skipped += 1
        return
    rec.skipped = 0

    width = _width(beat)
    trust = _trust(rec, r, slow_energy)
    med = rec.rr_med
    premature = med > 0 and 0.0 < rr < _PREMATURE * med
    now = rec.beats[rec.beat_n % BEATS]
    now.r, now.rr, now.amp, now.corr = r, rr, high - low, best
    now.resx = now.cnx = now.wid = now.res = now.motion = 0.0
    home, most = -1, _JOIN
    for k in range(CLUSTERS):
        if rec.bank_seen[k] > 0 and corr[k] > most:
            home, most = k, corr[k]
    now.fast, at, energy = above_motion(rec, nearest, seg)
    if not 0.4 < energy < 2.5:
        now.fast = min(now.fast, 0.0)
    now.prem = now.comp = now.pm_x = now.drr = now.joint = 0.0
    now.ventricular = 0
    if med > 0 and rr > 0:
        now.prem = max(0.0, 1.0 - rr / med)
        if previous.rr > 0:
            now.drr = abs(rr - previous.rr) / med
            irregular = _quantile(rec.irr, min(rec.irr_n, 64), 0.5) if rec.irr_n >= 8 else 0.05
            now.pm_x = max(0.0, min(now.prem, 1.0 - rr / previous.rr) - 1.5 * irregular)
        previous.comp = trust * previous.prem * max(0.0, rr / med - 1.0)
    if known:
        residual, own = _residual(rec, nearest, seg, s), rec.own_noise
        n = min(rec.own_n, 24)
        now.resx = min(_over(residual, own[0], n, 0.05), _over(slow_residual, own[2], n, 0.05))
        now.cnx = min(_over(1.0 - best, own[1], n, 0.02), _over(1.0 - slow_best, own[3], n, 0.02))
        now.res = min(residual, slow_residual)
        if d != nearest:
            now.res = min(_residual(rec, d, seg, lag[d]), compare(rec, d, slow)[0])
        now.wid = max(0.0, width / max(rec.bank_width[d], 1.0) - 1.0)
        now.joint = now.prem * np.sqrt(min(residual, slow_residual))
        place = rec.own_n % 24
        own[0, place], own[1, place] = residual, 1.0 - best
        own[2, place], own[3, place] = slow_residual, 1.0 - slow_best
        rec.own_n += 1
        in_time = now.fast > OWN and r - rec.own_last >= _PREMATURE * med * FS
        if now.fast > OWN:
            rec.own_last = r
        if in_time:
            moved = _residual(rec, nearest, seg, at)
            if home >= 0 and rec.bank_seen[home] >= 8:  # a shape of its own, and known
                moved = min(moved, _residual(rec, home, seg, lag[home]))
            now.motion = np.sqrt(moved)
            second = (rec.second - (rec.n - 1 - r) // BLOCK) % SECONDS
            rec.moved[second] = max(rec.moved[second], now.motion)
        in_motion = now.motion > MOTION_LIMIT
        if premature:  # beats of a tachycardia may be own ones above the band of motion now and then
            now.motion = 0.0
        _discount(now, trust)
        features = np.empty(8, np.float32)
        of_beat(now, features)
        now.ventricular = 1 if ventricular(features) and not in_motion else 0

    if rec.hold == 0:
        k = _learn(rec, home, seg, lag[home] if home >= 0 else _LAG, premature, width)
        if home >= 0:
            follow(rec, k, slow, compare(rec, k, slow)[3], max(1.0 / rec.bank_seen[k], 0.02))
        else:
            follow(rec, k, slow, SLOW_SEGMENT // 2 - SLOW_TEMPLATE // 2, 1.0)
        if rr > 0:
            if previous.rr > 0:
                rec.rr2[rec.rr2_n % 31] = 0.5 * (rr + previous.rr)
                rec.rr2_n += 1
                rec.rr_med = _quantile(rec.rr2, min(rec.rr2_n, 31), 0.5)
            if home == rec.dominant and previous.cluster == rec.dominant and previous.rr > 0 and rec.rr_med > 0:
                rec.irr[rec.irr_n % 64] = abs(rr - previous.rr) / rec.rr_med
                rec.irr_n += 1
    now.cluster = home
    rec.beat_n += 1
    if rec.hold == 0 and (rec.beat_n % 8 == 0 or rec.amp == 0):
        n = min(rec.beat_n, 60)
        amps = np.empty(n, np.float32)
        for j in range(n):
            amps[j] = rec.beats[(rec.beat_n - 1 - j) % BEATS].amp
        rec.amp = _quantile(amps, n, 0.5)


@njit()
def _muscle(rec: Any) -> float:
    """Muscle noise of the last 4 s, in multiples of the quality index's limit."""
    noise = np.empty(20, np.float32)
    for k in range(4):
        s = 5 * ((rec.second - k) % SECONDS)
        noise[5 * k : 5 * k + 5] = rec.noise[s : s + 5]
    return float(nth(noise, 20, 10) / (HF_LIMIT * own_amplitude(rec)))


@njit()
def settle(rec: Any, now: int) -> None:
    """Turn the queued peaks that nothing can undo any more into beats.

    Args:
        rec: a PATIENT record whose rings hold all samples below `now`.
        now: number of the next sample.
    """
    rec.muscle = _muscle(rec)
    while rec.pend_n > 0 and rec.pend_i[0] + SETTLE <= now:
        _beat(rec, rec.pend_i[0])
        rec.pend_n -= 1
        for q in range(rec.pend_n):
            rec.pend_i[q] = rec.pend_i[q + 1]
            rec.pend_h[q] = rec.pend_h[q + 1]
