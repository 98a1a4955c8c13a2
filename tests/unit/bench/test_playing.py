"""The benchmark's patients speak the protocol; its figures are read right."""

import numpy as np
import orjson
import pytest

from holter.bench.end_to_end import Look, Span, broken, quantile
from holter.bench.playing import Patients, record
from holter.chunk import MICROSECONDS
from holter.frame import decode_one
from holter.keys import DeviceKeys, mac_key

KEY = bytes(range(32))
BASE = 1_790_000_000 * MICROSECONDS


@pytest.fixture(scope="module")
def tape():
    return record(templates=3, seconds=4)


def test_a_frame_is_genuine_and_holds_the_second_that_it_says(tape):
    patients = Patients(tape, 10, KEY, BASE)
    for patient, second in ((0, 0), (7, 5), (9, 3)):
        frame = decode_one(patients.frame(patient, second))
        assert frame.is_signed_by(mac_key(KEY, patients.ids[patient]))
        assert frame.timed
        assert (frame.chunk.t0, frame.chunk.seq, frame.chunk.fs) == (patients.t0(patient, second), second, 250.0)
        np.testing.assert_array_equal(frame.chunk.samples, tape.second(patient, second))


def test_a_body_is_what_ingest_and_the_tutorial_expect(tape):
    patients = Patients(tape, 10, KEY, BASE)
    body = orjson.loads(patients.body(4, 2, 5))
    assert body["t0"] * 1000 == patients.t0(4, 2)
    want = np.concatenate([tape.second(4, second) for second in range(2, 7)]) / 1000
    np.testing.assert_allclose(body["samples"], want, atol=1e-9)
    assert DeviceKeys(KEY).allows_bearer(patients.ids[4], patients.bearer(4))
    assert "t0" not in orjson.loads(patients.body(4, 2, timed=False))


def looks(counts_before, counts_after):
    def look(counts):
        name = "holter_sample_to_decision_seconds_bucket"
        return Look(0.0, {(name, f'cohort="c",path="window",le="{le}"'): float(n) for le, n in counts.items()})

    return Span({"infer-0": look(counts_before)}, {"infer-0": look(counts_after)}, 1.0)


def test_quantiles_are_of_what_came_between_the_looks():
    span = looks({"0.5": 100, "1.0": 100, "+Inf": 100}, {"0.5": 100, "1.0": 200, "+Inf": 200})
    assert quantile(span, ("infer-0",), "window", 0.5) == pytest.approx(0.75)
    assert quantile(span, ("infer-0",), "window", 0.99) == pytest.approx(0.995)
    assert quantile(looks({"+Inf": 5}, {"+Inf": 5}), ("infer-0",), "window", 0.5) is None


def test_a_run_that_loses_a_chunk_or_is_late_is_broken():
    good = {
        "p99_sample_to_decision_s": 1.0, "p99_window_s": 1.0, "transport": "websocket", "source": "Feed",
        "patients": 2000, "sent": 5, "acknowledged": 5, "stored": 5, "errors_5xx": 0, "behind_s": 0.1,
    }  # fmt: skip
    assert broken(good) == []
    for change in ({"stored": 4}, {"p99_window_s": 7.5}, {"p99_sample_to_decision_s": None}, {"errors_5xx": 1}):
        assert broken({**good, **change})
