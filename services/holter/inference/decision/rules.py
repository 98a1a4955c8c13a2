"""Which conditions hold in this second, for a batch of patients: explicit, cited criteria and short memories.

Criteria and constants: docs/detection.md. Every rule is a few lines of arrays; a row of `Found` says on, since when,
and how urgent.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holter.alert import TECHNICAL, Kind
from holter.inference.decision.life import OVER_A_MINUTE
from holter.inference.decision.limits import ORDERED_THRESHOLD, Limits
from holter.inference.engine import Tick
from holter.signal.lethal import THRESHOLD as LETHAL
from holter.signal.measures import LLF, LPP, LRR, OWN, PERIOD, PRIOR, READY
from holter.signal.measures import NAMES as MEASURES
from holter.signal.patient import SECONDS
from holter.signal.quality import GOOD

KINDS = tuple(Kind)
_AT = {kind: column for column, kind in enumerate(KINDS)}
HIGH, MEDIUM, LOW = 0, 1, 2
_EMERGENCIES = frozenset(
    {
        Kind.ASYSTOLE,
        Kind.VENTRICULAR_FIBRILLATION,
        Kind.VENTRICULAR_TACHYCARDIA,
        Kind.EXTREME_BRADYCARDIA,
        Kind.EXTREME_TACHYCARDIA,
    }
)
"""Looked for in any signal that is one, however noisy."""
WINDOWS, LIT, JUDGED = 12, 6, 10
"""A minute of windows, of which half have to be beyond the threshold, and five sixths good enough to be judged."""

MEMORY = np.dtype(
    [
        ("lethal", np.uint8),  # the last seconds, newest in bit 0
        ("lethal_since", np.int64),
        ("lethal_last", np.int64),
        ("plain", np.bool_),  # it was clear, since it began
        ("interrupted", np.bool_),  # since it was last clear
        ("unseen", np.int32),  # seconds of poor signal in a row
        ("aperiodic", np.uint8),  # of the last lethal seconds
        ("fibrillation", np.bool_),  # what this episode is called
        ("quiet", np.int32),  # seconds in a row, as all that follow
        ("jump", np.int64),  # second of the last electrode jump
        ("jump_good", np.bool_),  # the beats before it were the patient's own
        ("flat", np.int32),
        ("lead_off", np.int32),
        ("very_slow", np.int32),
        ("slow", np.int32),
        ("fast", np.int32),
        ("very_fast", np.int32),
        ("sudden", np.float32),  # rate of a sudden tachycardia that goes on; 0 without
        ("mains", np.uint8),
        ("poor", np.int32),
        ("irregular", np.int32),
        ("lit", np.uint32),  # windows, newest in bit 0
        ("lit_forest", np.uint32),
        ("judged", np.uint32),  # windows that could be judged
    ],
    align=True,
)

FAST_SECONDS = 10
"""For which a rate has to be above its limit; a tachycardia that is told sooner came at once."""
IRREGULAR = 0.12
IRREGULAR_SECONDS = 45
_MILLIVOLTS = 0.15  # IEC 60601-2-27: what is smaller is no QRS
_DRIFT = 0.4  # of mV, or of the own amplitude, within a second below 0.7 Hz
_DRIFT_ALONE = np.log(8.0)
"""Below 0.7 Hz over 1-30 Hz, peak to peak: 99.5 % of lethal seconds are below 1.8, drifts alone above 13."""
_PERIODIC = MEASURES.index("acmaxL")
VT_PERIODICITY = 0.45
"""Autocorrelation from which a lethal rhythm is called tachycardia and not fibrillation."""
RUN_OF_TACHYCARDIA = 8
"""Ventricular beats in a row, at 120/min or faster, that are tachycardia whatever the score is."""
_CLEARLY = 0.6
"""Periodicity from which an episode begins as tachycardia; 0.1 more above 214/min."""
_FAST_PERIOD = 0.28  # s
_WIDEST = 1.2
"""A ventricular QRS is about twice as wide as the own one; what motion makes wide is wider."""
_POSSIBLE, _LIKELY = 0.003, 0.2
"""VT/VF scores from which a run of ventricular beats is one, and from which a long one is tachycardia."""
_A_DOUBLING, _LOUDEST = 0.1, 4.0
"""By how much the VT/VF score has to be higher for each doubling of muscle noise beyond what can be judged, up to four
times that: noise alone comes to more than `LETHAL`."""
_CLEAR, _INTERRUPTED = 0.97, 0.9
"""VT/VF scores from which it is clear, and below which it is interrupted: a part of the 4 s is something else."""
_UNSEEN = 5
"""Seconds of poor signal that may have held anything."""
_ANEW = 10
"""Least seconds between two onsets of a rhythm that never went away, else one that comes and goes is an event each."""
_SHORTEST_PERIOD = 0.24  # s: what is faster than 250/min is treated as fibrillation
_EPISODE = 30
"""Seconds without a lethal one after which the next begins an episode, and may have another name."""


@dataclass(frozen=True, slots=True)
class Found:
    """Conditions of n patients in one second.

    Attributes:
        on: shape (n, kinds), bool.
        since: shape (n, kinds), int64, event second at which each began (where on).
        priority: shape (n, kinds), int8: HIGH, MEDIUM or LOW.
        judged: shape (n, kinds), bool: whether it could be told that they do not hold.
        anew: shape (n,), bool: tachycardia or fibrillation goes on, but was interrupted and is clear again.
        least: shape (n,), float64: the VT/VF score that had to be passed in this noise.
    """

    on: NDArray[np.bool_]
    since: NDArray[np.int64]
    priority: NDArray[np.int8]
    judged: NDArray[np.bool_]
    anew: NDArray[np.bool_]
    least: NDArray[np.float64]


def _run(counter: NDArray[np.int32], holds: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Seconds in a row."""
    return np.where(holds, counter + 1, 0).astype(np.int32)


def _bits(ring: NDArray[np.uint8], holds: NDArray[np.bool_], length: int) -> NDArray[np.uint8]:
    return ((ring.astype(np.uint32) << 1 | holds) & ((1 << length) - 1)).astype(ring.dtype)


def _count(ring: NDArray[Any]) -> NDArray[np.uint8]:
    count: NDArray[np.uint8] = np.bitwise_count(ring)
    return count


def find(
    tick: Tick, state: NDArray[np.void], memory: NDArray[np.void], rows: NDArray[np.void], limits: Limits
) -> Found:
    """Judge one second.

    Args:
        tick: the second.
        state: the engine's records.
        memory: shape (capacity,), dtype MEMORY; the tick's rows are brought up to date.
        rows: shape (n,), dtype LIMITS, of the tick's patients.
        limits: the cohort's.
    """
    slots, second, n = tick.slots, tick.seconds, len(tick.slots)
    m = memory[slots]
    on = np.zeros((n, len(KINDS)), np.bool_)
    since = np.repeat(second[:, None], len(KINDS), axis=1)
    priority = np.full((n, len(KINDS)), LOW, np.int8)

    def say(kind: Kind, holds: NDArray[np.bool_], began: NDArray[np.int64], urgency: int | NDArray[np.int8]) -> None:
        on[:, _AT[kind]], since[:, _AT[kind]], priority[:, _AT[kind]] = holds, began, urgency

    four = (second[:, None] - np.arange(4)) % SECONDS
    across = slots[:, None]
    seen = state["n"][slots] >= 6 * 250
    whole = (state["hole"][across, four] <= 0.2).all(axis=1) & seen
    learnt = state["learn_n"][slots] >= PRIOR + READY
    own = np.where(learnt, np.exp(state["base"][slots, LPP]), np.maximum(state["amp"][slots], 0.5))
    rhythm, quality = tick.rhythm, tick.quality
    peak_to_peak = state["pp"][across, four]

    # technical: constant, flagged, mains, noise
    flagged = state["lead_off"][slots, four[:, 0]] > 0
    m["lead_off"] = _run(m["lead_off"], flagged)
    m["flat"] = _run(m["flat"], tick.flat & (state["hole"][slots, four[:, 0]] <= 0.2))
    lost = m["flat"] >= 2
    say(Kind.LEAD_OFF, flagged, second - m["lead_off"], LOW)
    say(Kind.ECG_LOST, lost & ~flagged, second - m["flat"], np.where(m["flat"] >= 10, HIGH, LOW).astype(np.int8))
    loud = state["high_sq"][across, four].sum(axis=1) > state["lethal_sq"][across, four].sum(axis=1)
    mains = loud & ~tick.flat & (peak_to_peak[:, 0] > 0.05)
    m["mains"] = _bits(m["mains"], mains, 4)
    m["poor"] = _run(m["poor"], (quality < GOOD) & (state["n"][slots] >= 20 * 250) & ~tick.flat & ~flagged)
    noisy = _count(m["mains"]) >= 3
    say(Kind.POOR_SIGNAL, (noisy | (m["poor"] >= 10)) & ~lost, second - np.maximum(m["poor"], 4), LOW)

    # life-threatening
    readable = whole & ~tick.flat & ~lost & ~flagged & ~mains
    gate = np.minimum(np.maximum(0.10, 0.12 * own), 0.4 * own)
    good = (quality >= GOOD) & (tick.quality_now >= GOOD)
    muscle = state["muscle"][slots]
    counted = muscle <= 1  # in muscle noise beats are passed over that may be some
    # 90/min or less, and none of five beats ventricular: neither tachycardia nor fibrillation, whatever lies over it.
    slow = counted & (rhythm["rate"] > 0) & (rhythm["rate"] <= 90)
    beating = slow & (rhythm["ventricular_now"] == 0) & (rhythm["since"] < 2)
    least = LETHAL + _A_DOUBLING * np.log2(np.clip(muscle, 1.0, _LOUDEST))
    scored = (tick.probability > least) & (peak_to_peak.min(axis=1) > gate)
    run = good & (tick.probability > _LIKELY) & (rhythm["run"] >= RUN_OF_TACHYCARDIA) & (rhythm["run_rate"] >= 120)
    drift = tick.extra[:, LLF] - tick.extra[:, LPP] > _DRIFT_ALONE
    lethal = readable & (scored | run) & ~beating & ~drift
    fresh = (_count(m["lethal"] & 7) < 2) & (m["lethal"] & 1 == 0)  # a salvo after two seconds of another rhythm
    m["lethal"] = _bits(m["lethal"], lethal, 4)
    m["lethal_since"] = np.where(fresh & lethal, second - 3, m["lethal_since"])
    sustained = _count(m["lethal"] & 7) >= 2
    aperiodic = (tick.measures[:, _PERIODIC] < VT_PERIODICITY) | (tick.extra[:, PERIOD] < _SHORTEST_PERIOD)
    m["fibrillation"] &= second - m["lethal_last"] <= _EPISODE
    m["aperiodic"] = np.where(lethal, _bits(m["aperiodic"], aperiodic, 8), m["aperiodic"])
    begins = second - m["lethal_last"] > _EPISODE
    # A name is not taken back: tachycardia has to be clear at first, and the faster the clearer.
    clear = tick.measures[:, _PERIODIC] >= np.where(tick.extra[:, PERIOD] < _FAST_PERIOD, _CLEARLY + 0.1, _CLEARLY)
    m["fibrillation"] |= sustained & np.where(begins, ~clear | aperiodic, _count(m["aperiodic"]) >= 6)
    m["lethal_last"] = np.where(sustained, second, m["lethal_last"])
    # Salvos that a few beats part are one for a score over 4 s, and so is what poor signal hides the end of.
    seen_again = (m["unseen"] >= _UNSEEN) & (tick.quality_now >= GOOD)
    m["unseen"] = _run(m["unseen"], tick.quality_now < GOOD)
    m["plain"] &= ~fresh
    m["interrupted"] = m["plain"] & (m["interrupted"] | ~lethal | (tick.probability < _INTERRUPTED) | seen_again)
    plain = lethal & (tick.probability > _CLEAR)
    anew = sustained & plain & m["interrupted"] & (second - 3 - m["lethal_since"] >= _ANEW)
    m["lethal_since"] = np.where(anew, second - 3, m["lethal_since"])
    m["plain"] |= plain
    m["interrupted"] &= ~plain
    say(Kind.VENTRICULAR_TACHYCARDIA, sustained & ~m["fibrillation"], m["lethal_since"], HIGH)
    say(Kind.VENTRICULAR_FIBRILLATION, sustained & m["fibrillation"], m["lethal_since"], HIGH)

    jump = state["wander"][slots, four[:, 0]] > np.maximum(1.0, 0.4 * own)
    before = (state["ncc"][across, (second[:, None] - np.arange(1, 5)) % SECONDS] > 0.9).sum(axis=1) >= 3
    m["jump_good"] = np.where(jump, before | (m["jump_good"] & (second - m["jump"] <= 2)), m["jump_good"])
    m["jump"] = np.where(jump, second, m["jump"])
    small = peak_to_peak[:, 0] < np.minimum(0.4 * own, np.maximum(_MILLIVOLTS, 0.15 * own))
    # An electrode that drifts by as much as a QRS is high, and nothing else: it may be off, and that is no silence.
    wander = state["wander"][across, four].max(axis=1)
    drifts = (wander > _DRIFT * np.maximum(1.0, own)) | (drift & (wander > _DRIFT / 2))
    m["quiet"] = _run(m["quiet"], small & whole & ~tick.flat & ~flagged & ~mains & ~drifts)
    vetoed = (second - m["quiet"] - m["jump"] < 6) & m["jump_good"] & (m["quiet"] < 10)
    say(Kind.ASYSTOLE, (m["quiet"] >= 4) & ~vetoed, second - m["quiet"], HIGH)

    rate, own_rr = rhythm["rate"], np.where(learnt, np.exp(state["base"][slots, LRR]), 0.0)
    paused = m["quiet"] >= 4
    slower = np.where(own_rr > 0, rate * 1.25 * own_rr < 60.0, True)
    m["very_slow"] = _run(m["very_slow"], readable & counted & (rate > 0) & (rate < 30) & slower & ~paused)
    say(Kind.EXTREME_BRADYCARDIA, m["very_slow"] >= 8, second - m["very_slow"], HIGH)
    own_shape = tick.extra[:, OWN] >= 0.9
    m["very_fast"] = _run(m["very_fast"], readable & (rate > rows["high"]) & ~own_shape)
    say(Kind.EXTREME_TACHYCARDIA, (m["very_fast"] >= 5) & ~sustained, second - m["very_fast"], HIGH)

    # rate and rhythm
    legible = readable & (quality >= GOOD)
    clean = legible & ~sustained & ~paused
    m["slow"] = _run(m["slow"], clean & (rate > 0) & (rate < rows["low"]))
    say(Kind.BRADYCARDIA, (m["slow"] >= 10) & ~on[:, _AT[Kind.EXTREME_BRADYCARDIA]], second - m["slow"], MEDIUM)
    now, then = rhythm["rate_now"], rhythm["rate_before"]
    steady = clean & (tick.quality_now >= GOOD / 2)  # noise that begins makes beats at once, and a slow index later
    starts = steady & (now >= 120) & (then > 0) & (now >= 1.35 * then) & (rhythm["ventricular"] < 4)
    goes_on = clean & (m["sudden"] > 0) & (now >= 0.85 * m["sudden"])
    m["sudden"] = np.where(goes_on, m["sudden"], np.where(starts, now, 0.0))
    m["fast"] = _run(m["fast"], clean & (rate > rows["high"]))
    say(Kind.TACHYCARDIA, (m["sudden"] > 0) | (m["fast"] >= FAST_SECONDS), second - np.maximum(m["fast"], 4), MEDIUM)
    speaks = (rhythm["run_width"] < _WIDEST) & (tick.probability > _POSSIBLE)
    wide = clean & good & speaks & (rhythm["run"] >= 3) & (rhythm["run_rate"] >= 100)
    say(Kind.VENTRICULAR_RUN, wide, second - rhythm["run_first"].astype(np.int64), MEDIUM)
    uneven = clean & (rhythm["irregularity"] > IRREGULAR) & (rhythm["ventricular"] * 5 < rhythm["beats"])
    m["irregular"] = np.where(clean, _run(m["irregular"], uneven), m["irregular"])
    irregular = (m["irregular"] >= IRREGULAR_SECONDS) & clean & ~rows["known_af"]
    say(Kind.IRREGULAR_RHYTHM, irregular, second - m["irregular"], LOW)

    if tick.scores is not None:
        _windows(m, tick, clean, limits)
    minute = second - np.minimum(60, state["n"][slots] // 250)
    known = _count(m["judged"]) >= JUDGED
    many = known & (_count(m["lit"]) >= LIT)
    ventricular, premature = rhythm["ventricular"] >= 2, rhythm["premature"] >= 4
    ectopy = clean & many & (ventricular | premature) & ~irregular
    frequent = np.where(rhythm["ventricular"] >= 6, MEDIUM, LOW).astype(np.int8)
    say(Kind.ECTOPY, ectopy, minute, frequent)
    by_forest = known & (_count(m["lit_forest"]) >= LIT)
    if limits.revision:
        quiet_beats = ~ventricular & ~premature & ~irregular & ~wide
        say(Kind.ANOMALY, clean & (by_forest | many) & quiet_beats, minute, LOW)

    judged = np.ones((n, len(KINDS)), np.bool_)
    for kind in KINDS:
        if kind in _EMERGENCIES:
            judged[:, _AT[kind]] = readable
        elif kind not in TECHNICAL:
            judged[:, _AT[kind]] = legible & (known | (kind not in OVER_A_MINUTE))
    high = (on & (priority == HIGH))[:, [_AT[k] for k in KINDS if k not in TECHNICAL]].any(axis=1)
    for kind in KINDS:  # one message at a time: the most urgent
        if kind not in TECHNICAL:
            on[:, _AT[kind]] &= ~high | (priority[:, _AT[kind]] == HIGH)
    memory[slots] = m
    return Found(on, since, priority, judged, anew, least)


def _windows(m: NDArray[np.void], tick: Tick, clean: NDArray[np.bool_], limits: Limits) -> None:
    """Move the rings of windows beyond the threshold on."""
    rows, scores = tick.windows, tick.scores
    assert scores is not None
    ordered, fused = np.nan_to_num(scores.ordered, nan=-9.0), np.nan_to_num(scores.score, nan=-9.0)
    beyond = fused > limits.threshold if limits.revision else ordered > ORDERED_THRESHOLD
    by_rule = ordered > 0.5 * ORDERED_THRESHOLD
    usable = clean[rows] & (scores.quality >= GOOD)
    keep = (1 << WINDOWS) - 1
    m["judged"][rows] = (m["judged"][rows] << np.uint32(1) | usable) & keep
    m["lit"][rows] = (m["lit"][rows] << np.uint32(1) | (beyond & by_rule & usable)) & keep
    m["lit_forest"][rows] = (m["lit_forest"][rows] << np.uint32(1) | (beyond & ~by_rule & usable)) & keep
