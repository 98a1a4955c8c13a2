"""A ward of simulated patients, and the truth about each: what has to be found, how soon, and what must not be."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import orjson

from holter.alert import TECHNICAL, Kind, Priority
from holter.chunk import MICROSECONDS
from holter.sim.patient import Patient
from holter.sim.scenario import SCENARIOS, Person

DEMO = ("resting", "resting", "running", "pvcs", "vt", "vf", "asystole", "loose-lead")
"""Who lies in the demo's ward."""

MIX = (
    *("resting",) * 5, "running", "pvcs", "af", "loose-lead", "loose-lead-flag",
    *("resting",) * 5, "running", "pvcs", "bigeminy", "noise", "vt",
)  # fmt: skip
"""What a load of many patients cycles through: half of them well."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What Holter should make of a rhythm.

    Attributes:
        kinds: an alert of one of these has to come; empty: none has to.
        priorities: of that alert; empty: any.
        within: seconds from the onset to that alert's decision; None: by the end of the run.
        tolerated: further kinds that are no fault once the onset is past.
    """

    kinds: tuple[Kind, ...] = ()
    priorities: tuple[Priority, ...] = ()
    within: float | None = None
    tolerated: tuple[Kind, ...] = ()


@dataclass(frozen=True, slots=True)
class Truth:
    """What is true of one simulated device, and what Holter should make of it.

    A physiological alert that is neither expected nor tolerated is a fault, and so is any that was decided before
    `onset`. Technical alerts are never a fault.

    Attributes:
        device_id: whose.
        rhythm: a key of `SCENARIOS`.
        onset: event time (µs since the epoch) at which the rhythm changes; None: it is so from the beginning.
        expected: kinds, of which one has to be raised; empty: nobody is to be called.
        priorities: that this alert may have; empty: any.
        latest: seconds after the onset by which it has to be decided; None: by the end of the run.
        tolerated: further physiological kinds that are no fault after the onset.
    """

    device_id: str
    rhythm: str
    onset: int | None
    expected: tuple[Kind, ...]
    priorities: tuple[Priority, ...]
    latest: float | None
    tolerated: tuple[Kind, ...]


@dataclass(frozen=True, slots=True)
class Bed:
    """A simulated patient and the truth about them."""

    patient: Patient
    truth: Truth
    base: int
    """Event time of the first sample, µs since the epoch."""


_LATE_SIGNS = (
    Kind.VENTRICULAR_RUN,
    Kind.TACHYCARDIA,
    Kind.EXTREME_TACHYCARDIA,
    Kind.ECTOPY,
    Kind.ANOMALY,
    Kind.IRREGULAR_RHYTHM,
)
_PAUSE_SIGNS = (Kind.EXTREME_BRADYCARDIA, Kind.BRADYCARDIA, Kind.ANOMALY, Kind.IRREGULAR_RHYTHM)
_SHOCKABLE = (Kind.VENTRICULAR_TACHYCARDIA, Kind.VENTRICULAR_FIBRILLATION)
_NOT_HIGH = (Priority.MEDIUM, Priority.LOW)
_ELECTRODE = (Kind.LEAD_OFF, Kind.ECG_LOST, Kind.POOR_SIGNAL)

EXPECTATIONS: dict[str, Expectation] = {
    "resting": Expectation(),
    "running": Expectation(),
    "active": Expectation(),
    "pvcs": Expectation((Kind.ECTOPY,), _NOT_HIGH, None, (Kind.ANOMALY, Kind.IRREGULAR_RHYTHM)),
    "bigeminy": Expectation(
        (Kind.ECTOPY, Kind.IRREGULAR_RHYTHM), _NOT_HIGH, None, (Kind.ANOMALY, Kind.IRREGULAR_RHYTHM, Kind.ECTOPY)
    ),
    "af": Expectation((Kind.IRREGULAR_RHYTHM,), _NOT_HIGH, None, (Kind.ANOMALY,)),
    # From one lead a monitor may call the one the other; both bring the same people.
    "vt": Expectation(_SHOCKABLE, (Priority.HIGH,), 10.0, _LATE_SIGNS),
    "vf": Expectation(_SHOCKABLE, (Priority.HIGH,), 10.0, _LATE_SIGNS),
    "asystole": Expectation((Kind.ASYSTOLE,), (Priority.HIGH,), 10.0, _PAUSE_SIGNS),
    # Of who is known to be paced: `paced: true` in the patients' profiles.
    "paced": Expectation(),
    "capture-loss": Expectation((Kind.ASYSTOLE,), (Priority.HIGH,), 10.0, _PAUSE_SIGNS),
    "loose-lead": Expectation(_ELECTRODE, (), 10.0),
    "loose-lead-flag": Expectation(_ELECTRODE, (), 10.0),
    "noise": Expectation(),
    "mains": Expectation(_ELECTRODE, (), 30.0),
}

_CHRONIC = frozenset({"resting", "pvcs", "bigeminy", "af", "paced"})


def ward(rhythms: Sequence[str], *, base: int, onset: float, seed: int = 1, fs: int = 250) -> list[Bed]:
    """Make a ward.

    Args:
        rhythms: keys of `SCENARIOS`, one a patient.
        base: event time at which the recordings begin, µs since the epoch; each device is up to a second off it.
        onset: seconds after `base` at which rhythms change; each patient is up to three seconds later.
        seed: the same seed, the same samples, patient by patient.
        fs: sample rate of the devices, Hz.

    Raises:
        ValueError: an unknown rhythm.
    """
    beds = []
    for number, rhythm in enumerate(rhythms, start=1):
        if rhythm not in SCENARIOS:
            raise ValueError(f"rhythm: {rhythm!r} is unknown; one of {', '.join(SCENARIOS)} is expected")
        rng = np.random.default_rng([seed, number])
        begin = base + int(rng.integers(MICROSECONDS))
        changes = onset + float(rng.uniform(0, 3))
        device_id = f"bed{number:02d}-{rhythm}"
        person = Person.draw(rng, fs, changes)
        patient = Patient(device_id, SCENARIOS[rhythm](person), fs)
        expected = EXPECTATIONS[rhythm]
        truth = Truth(
            device_id=device_id,
            rhythm=rhythm,
            onset=None if rhythm in _CHRONIC else begin + round(changes * MICROSECONDS),
            expected=expected.kinds,
            priorities=expected.priorities,
            latest=expected.within,
            tolerated=tuple(k for k in expected.tolerated if k not in TECHNICAL),
        )
        beds.append(Bed(patient, truth, begin))
    return beds


def mix(patients: int) -> list[str]:
    """Rhythms of a ward of this many patients: the demo's ward up to its size, beyond it `MIX` over and over."""
    return list(islice(DEMO, patients) if patients <= len(DEMO) else islice(cycle(MIX), patients))


def write_truths(path: Path, beds: Sequence[Bed], live: int) -> None:
    """Write the truths as JSON: `{"live": event time at which history ends, "truths": [Truth, …]}`.

    The file appears whole or not at all.
    """
    document = orjson.dumps({"live": live, "truths": [asdict(bed.truth) for bed in beds]}, option=orjson.OPT_INDENT_2)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(document)
    partial.replace(path)
