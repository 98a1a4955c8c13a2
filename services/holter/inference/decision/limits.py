"""What each patient is alerted on, as columns beside the engine's slots."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holter.config import PatientProfile
from holter.model.fusion import THRESHOLD

ORDERED_THRESHOLD = 0.75
"""Of the ordered score alone, while there is no model: 97 % of MIT-BIH windows without a ventricular beat are below."""

LIMITS = np.dtype(
    [
        ("low", np.float32),
        ("high", np.float32),
        ("known_af", np.bool_),
        ("paced", np.bool_),
        ("muted_until", np.float64),
    ]
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits that hold for a whole cohort.

    Attributes:
        threshold: of the fused score while a model is at work.
        revision: the model's, 0 without: then the ordered score alone decides.
        cooldown: seconds a condition has to be off before its alert is cleared.
    """

    threshold: float = THRESHOLD
    revision: int = 0
    cooldown: int = 60


def row(profile: PatientProfile) -> NDArray[np.void]:
    """A profile as a record, dtype LIMITS."""
    record = np.zeros((), LIMITS)
    record["low"], record["high"] = profile.hr_low, profile.hr_high
    record["known_af"], record["paced"] = profile.known_af, profile.paced
    record["muted_until"] = profile.muted_until or 0.0
    return record
