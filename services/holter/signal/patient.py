"""All that is known of a patient, as one record of a structured array: the batch is `state[slots]`.

Rings are addressed by absolute sample or second number modulo their length, so nothing is ever shifted.
"""

import numpy as np
from numpy.typing import NDArray

from holter.signal.filters import SECTIONS
from holter.signal.pacing import TAIL

RING = 1024
"""Samples of the filtered rings: 4 s of history and one block."""
SECONDS = 16
"""Seconds of the per-second rings."""
CLUSTERS = 8
TEMPLATE = 70
"""Samples of a template: -120..+160 ms around R."""
SLOW_TEMPLATE = 35
"""The same at 125 Hz."""
BEATS = 64
LEARNED = 16
"""Figures that have an own mean: `signal.measures.RELATIVE`, and ln R-R."""

BEAT = np.dtype(
    [
        ("r", np.int64),  # sample number of R
        ("rr", np.float32),  # s, 0 = unknown
        ("prem", np.float32),  # max(0, 1 - RR / median)
        ("amp", np.float32),  # mV, peak to peak
        ("corr", np.float32),  # with the nearest own normal
        ("resx", np.float32),  # residual energy to the nearest own normal over own noise
        ("cnx", np.float32),  # 1 - corr over own noise
        ("wid", np.float32),  # QRS width over own width, - 1
        ("res", np.float32),  # residual energy to the dominant
        ("comp", np.float32),  # prematurity x compensatory pause
        ("pm_x", np.float32),  # prematurity beyond own irregularity
        ("drr", np.float32),  # |change of RR| / median
        ("joint", np.float32),  # prematurity x sqrt(residual)
        ("fast", np.float32),  # correlation with the nearest own normal above the band of motion
        ("motion", np.float32),  # residual to it (norm over the template's) of a beat in time that `fast` says is own
        ("cluster", np.int32),
        ("ventricular", np.int32),  # 1: by `features.ventricular`
    ],
    align=True,
)

PATIENT = np.dtype(
    [
        # stream
        ("n", np.int64),  # samples seen
        ("second", np.int64),  # event time of the end of the last block, s since the epoch
        ("paced", np.int8),  # 1: has a pacemaker
        ("tail", np.float32, (TAIL,)),  # the last samples that came
        ("zi", np.float64, (SECTIONS, 2)),
        ("lethal", np.float32, (RING,)),
        ("slow", np.float32, (RING // 2,)),
        ("shape", np.float32, (RING,)),
        # per second
        ("hole", np.float32, (SECONDS,)),  # share of missing samples
        ("pp_raw", np.float32, (SECONDS,)),
        ("equal", np.float32, (SECONDS,)),  # share of neighbours within 1 LSB
        ("pp", np.float32, (SECONDS,)),  # lethal band
        ("complex", np.float32, (SECONDS,)),  # share of |complex| above its mean
        ("wander", np.float32, (SECONDS,)),  # peak to peak
        ("wander_sum", np.float32, (SECONDS,)),
        ("wander_sq", np.float32, (SECONDS,)),
        ("high_sq", np.float32, (SECONDS,)),
        ("lethal_sq", np.float32, (SECONDS,)),
        ("ncc", np.float32, (SECONDS,)),  # `step.template_correlation`
        ("noise", np.float32, (5 * SECONDS,)),  # 0.2 s RMS
        ("moved", np.float32, (SECONDS,)),  # largest `motion` of its beats
        ("lead_off", np.int8, (SECONDS,)),
        # beat detector
        ("env", np.float32, (30,)),
        ("env_sum", np.float64),
        ("peaks", np.float32, (8,)),
        ("peak_n", np.int64),
        ("peak_max", np.float32),
        ("cand_h", np.float32),
        ("cand_i", np.int64),
        ("last_h", np.float32),
        ("last_s", np.float32),  # steepest change, mV in 12 ms
        ("last_i", np.int64),
        ("back_h", np.float32),
        ("back_i", np.int64),
        ("env_1", np.float32),
        ("env_2", np.float32),
        ("mean_rr", np.float32),  # s
        ("pend_i", np.int64, (4,)),
        ("pend_h", np.float32, (4,)),
        ("pend_n", np.int64),
        ("muscle", np.float32),  # noise of 4 s over what can be judged: above 1 what is doubtful is no beat
        # beats
        ("beats", BEAT, (BEATS,)),
        ("beat_n", np.int64),
        ("own_last", np.int64),  # R of the last one that `fast` says is own
        ("rr2", np.float32, (31,)),  # two-beat means
        ("rr2_n", np.int64),
        ("rr_med", np.float32),
        ("irr", np.float32, (64,)),
        ("irr_n", np.int64),
        ("own_noise", np.float32, (4, 24)),  # residual and 1 - corr, then the same in the slow band
        ("own_n", np.int64),
        ("skipped", np.int64),
        # templates
        ("bank", np.float32, (CLUSTERS, TEMPLATE)),
        ("bank_norm", np.float32, (CLUSTERS,)),
        ("slow_bank", np.float32, (CLUSTERS, SLOW_TEMPLATE)),  # the same beats in the slow band
        ("slow_norm", np.float32, (CLUSTERS,)),
        ("bank_count", np.float32, (CLUSTERS,)),  # decayed
        ("bank_seen", np.int64, (CLUSTERS,)),
        ("bank_prem", np.float32, (CLUSTERS,)),
        ("bank_width", np.float32, (CLUSTERS,)),  # samples
        ("dominant", np.int64),
        ("amp", np.float32),  # mV, own QRS amplitude
        # own means of the life-threatening measures
        ("learn_n", np.float32),  # seconds they are of, the population's 10 among them
        ("base", np.float32, (LEARNED,)),
        ("hold", np.int8),  # 1: do not learn now
    ],
    align=True,
)

BASELINE = (
    "rr2", "rr2_n", "rr_med", "irr", "irr_n", "own_noise", "own_n", "bank", "bank_norm", "slow_bank", "slow_norm",
    "bank_count", "bank_seen", "bank_prem", "bank_width", "dominant", "amp", "learn_n", "base", "peaks", "peak_n",
)  # fmt: skip
"""What another worker needs to go on from here; the rest fills itself within seconds."""

_CHECKPOINT = np.dtype([(name, *PATIENT.fields[name][:1]) for name in BASELINE])  # type: ignore[index]


def allocate(capacity: int) -> NDArray[np.void]:
    """Records of patients not seen yet, shape (capacity,), dtype PATIENT."""
    return np.zeros(capacity, PATIENT)


def checkpoint(record: np.void) -> bytes:
    """A patient's templates and baselines as bytes (about 3 kB)."""
    packed = np.zeros((), _CHECKPOINT)
    for name in BASELINE:
        packed[name] = record[name]
    return packed.tobytes()


def checkpoints(state: NDArray[np.void], slots: NDArray[np.int64]) -> list[bytes]:
    """The same of many patients, shape (n,) of `state`."""
    packed = np.zeros(len(slots), _CHECKPOINT)
    for name in BASELINE:
        packed[name] = state[name][slots]
    return [one.tobytes() for one in packed]


def restore(record: np.void, payload: bytes) -> bool:
    """Put a checkpoint back; False, and nothing done, when it is of another layout or holds a number that is none."""
    if len(payload) != _CHECKPOINT.itemsize:
        return False
    packed = np.frombuffer(payload, _CHECKPOINT)[0]
    if not all(np.isfinite(packed[name]).all() for name in BASELINE):
        return False
    if not (0 <= packed["dominant"] < CLUSTERS and packed["learn_n"] >= 0 and packed["rr2_n"] >= 0):
        return False
    for name in BASELINE:
        record[name] = packed[name]
    return True
