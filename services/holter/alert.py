"""What an alert is: terms after IEC 60601-1-8, kinds in the field's words."""

from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256


class Category(StrEnum):
    """Of the patient, or of the equipment (IEC 60601-1-8, 3.36 and 3.31)."""

    PHYSIOLOGICAL = "physiological"
    TECHNICAL = "technical"


class Priority(StrEnum):
    """How soon somebody has to come (IEC 60601-1-8, table 1)."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Kind(StrEnum):
    """What was found."""

    ASYSTOLE = "asystole"
    VENTRICULAR_FIBRILLATION = "ventricular_fibrillation"
    VENTRICULAR_TACHYCARDIA = "ventricular_tachycardia"
    EXTREME_BRADYCARDIA = "extreme_bradycardia"
    EXTREME_TACHYCARDIA = "extreme_tachycardia"
    TACHYCARDIA = "tachycardia"
    BRADYCARDIA = "bradycardia"
    VENTRICULAR_RUN = "ventricular_run"
    ECTOPY = "ectopy"
    IRREGULAR_RHYTHM = "irregular_rhythm"
    ANOMALY = "anomaly"
    LEAD_OFF = "lead_off"
    ECG_LOST = "ecg_lost"
    POOR_SIGNAL = "poor_signal"
    NO_DATA = "no_data"


TECHNICAL = frozenset({Kind.LEAD_OFF, Kind.ECG_LOST, Kind.POOR_SIGNAL, Kind.NO_DATA})


class Transition(StrEnum):
    """The events of an alert's life."""

    RAISED = "raised"
    UPDATED = "updated"
    CLEARED = "cleared"


@dataclass(frozen=True, slots=True)
class AlertEvent:
    """One event in the life of one alert. The same `id` always has the same content.

    Times are event times (the device's clock), microseconds since the epoch, so a replay makes the same events.

    Attributes:
        id: of this event: `<alert_id>-<ordinal>`.
        alert_id: of the alert: see `alert_id`.
        event: raised, updated or cleared.
        device_id: whose.
        kind: what was found.
        priority: at this event; an update may raise it.
        onset: when the condition began; an update may carry a newer one.
        decided_at: the last sample that was seen when it was decided.
        reason: in words.
        score: the number that crossed `threshold`, where there is one.
        threshold: see score.
        model_revision: 0 while no model is at work.
    """

    id: str
    alert_id: str
    event: Transition
    device_id: str
    kind: Kind
    priority: Priority
    onset: int
    decided_at: int
    reason: str
    score: float | None = None
    threshold: float | None = None
    model_revision: int = 0

    @property
    def category(self) -> Category:
        """Physiological or technical, by kind."""
        return Category.TECHNICAL if self.kind in TECHNICAL else Category.PHYSIOLOGICAL


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """A person has seen an alert.

    Attributes:
        alert_id: which alert.
        device_id: whose.
        by: who says so.
        reason: why, may be empty.
        at: wall clock, microseconds since the epoch.
    """

    alert_id: str
    device_id: str
    by: str
    reason: str
    at: int


def alert_id(namespace: str, cohort: str, device_id: str, kind: Kind, onset: int) -> str:
    """A function of device, kind and onset (µs): two workers that find the same condition name the same alert."""
    return sha256(f"{namespace}/{cohort}/{device_id}/{kind}/{onset}".encode()).hexdigest()[:24]
