"""Outcomes put together by hand, and records made from the simulator."""

import itertools
import warnings
from pathlib import Path

import numpy as np
import pytest

from holter.alert import TECHNICAL, Category, Kind, Priority
from holter.evaluate.playing import Outcome, Told, Windows
from holter.evaluate.reference import parse
from holter.signal.measures import EXTRA, NAMES
from holter.sim.patient import Patient
from holter.sim.scenario import SCENARIOS, Person


@pytest.fixture
def reference():
    """Beats by (time, code), rhythms by (time, label), brackets too."""

    def make(beats=(), rhythms=(), end=1000.0):
        marks = sorted([(t, s, "") for t, s in beats] + [(t, "+", f"({label}\x00") for t, label in rhythms])
        return parse([t for t, _, _ in marks], [s for _, s, _ in marks], [n for _, _, n in marks], end)

    return make


@pytest.fixture
def told():
    """An alert: kind, told at, onset (3 s before), end (2 s after)."""

    def make(kind, start, *, onset=None, end=None, priority=Priority.HIGH, score=0.9):
        category = Category.TECHNICAL if kind in TECHNICAL else Category.PHYSIOLOGICAL
        onset = start - 3.0 if onset is None else onset
        return Told(Kind(kind), category, priority, onset, start, start + 2 if end is None else end, score, "why")

    return make


@pytest.fixture
def outcome(reference):
    """A record's outcome; what is not given is empty."""

    def make(*, ref=None, beats=(), ventricular=None, told=(), windows=None, seconds=1000.0, name="r"):
        beats = np.asarray(beats, np.float64)
        flags = np.zeros(len(beats), bool) if ventricular is None else np.asarray(ventricular, bool)
        return Outcome(
            name=name, lead="MLII", fs=250.0, seconds=seconds, reference=ref or reference(), beats=beats,
            ventricular=flags, features=np.zeros((len(beats), 8), np.float32),
            windows=windows or make_windows([]), told=tuple(told), measured_at=np.empty(0),
            measures=np.empty((0, len(NAMES)), np.float32), extra=np.empty((0, EXTRA), np.float32),
            good=np.empty(0, bool),
        )  # fmt: skip

    return make


def make_windows(ends, score=None, quality=1.0):
    n = len(ends)
    values = np.zeros(n, np.float32) if score is None else np.asarray(score, np.float32)
    quality = np.broadcast_to(np.asarray(quality, np.float32), n).copy()
    return Windows(np.asarray(ends, np.float64), values, values, values, quality, values > 2)


@pytest.fixture(name="make_windows")
def _make_windows():
    return make_windows


def write_record(folder, name, rhythm, *, fs=250, seconds=420, onset=330.0, annotate=True, edit=None):
    """A simulated patient as a WFDB record: beats and, for VT, VF and asystole, the rhythm are annotated."""
    rng = np.random.default_rng([1, len(name)])
    person = Person.draw(rng, fs, onset)
    heart = SCENARIOS[rhythm](person)
    heart.beats, beats = itertools.tee(heart.beats)
    samples = Patient(name, heart, fs).block(seconds)
    if edit:
        edit(samples)
    marks = [(0.0, "+", "(N")]
    label = {"vt": "VT", "vf": "VF", "asystole": "ASYS"}.get(rhythm)
    if label:
        marks.append((onset, "+", f"({label}"))
    for beat in itertools.takewhile(lambda b: b.at < seconds - 0.5, beats):
        marks.append((beat.at, "V" if beat.form else "N", ""))
    marks.sort(key=lambda m: m[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import wfdb

        wfdb.wrsamp(
            name, fs=fs, units=["mV"], sig_name=["MLII"], p_signal=samples[:, None] / 1000.0, fmt=["16"],
            adc_gain=[1000.0], baseline=[0], write_dir=str(folder),
        )  # fmt: skip
        if annotate:
            at = np.round([t * fs for t, _, _ in marks]).astype(int)
            wfdb.wrann(
                name, "atr", np.maximum.accumulate(at), symbol=[s for _, s, _ in marks],
                aux_note=[n for _, _, n in marks], write_dir=str(folder),
            )  # fmt: skip
    return Path(folder) / name


@pytest.fixture(scope="session")
def ward_folder(tmp_path_factory):
    """Four records of seven minutes: PVCs at 360 Hz, VT, well without labels, and one that is damaged."""
    folder = tmp_path_factory.mktemp("ward")
    write_record(folder, "pvcs", "pvcs", fs=360)
    write_record(folder, "vt", "vt", onset=360.0)
    write_record(folder, "well", "resting", annotate=False)
    (folder / "bad.hea").write_text("bad 1 250 1000\nbad.dat 212 200 11 1024 995 0 0 ECG\n")
    return folder


@pytest.fixture(scope="session", name="write_record")
def _write_record():
    return write_record
