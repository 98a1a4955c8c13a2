"""Line protocol, read back with an independent parser."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from line_protocol_parser import parse_line

from holter.alert import Acknowledgement, AlertEvent, Kind, Priority, Transition
from holter.chunk import Chunk, shard_of
from holter.store import lines
from holter.store.protocol import Baseline, StoreRefusedError, Strip
from holter.window import WindowScores

T = 1_700_000_000_000_000

keys = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12).filter(
    # The other reader knows neither backslashes in keys nor an equals sign in a measurement's name.
    lambda text: "\\" not in text and text.strip() and not text.startswith(("#", "_"))
)
measurements = keys.filter(lambda text: "=" not in text)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=40)
values = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False),
    texts,
)
samples = st.lists(st.integers(-32767, 32767), min_size=1, max_size=40).map(lambda some: np.array(some, np.int16))
chunks = st.builds(
    Chunk,
    st.from_regex(r"[A-Za-z0-9._-]{1,32}", fullmatch=True),
    st.integers(0, 4_000_000_000_000_000),
    st.integers(100_000, 1_000_000).map(lambda millihertz: millihertz / 1000),
    samples,
    st.integers(0, 2**32 - 1),
    st.integers(0, 3),
    st.integers(0, 2**62),
)


def parsed(data: bytes) -> list[dict]:
    assert data.endswith(b"\n")
    return [parse_line(line) for line in data.decode().removesuffix("\n").split("\n")]


@given(
    measurements,
    st.dictionaries(keys, keys, max_size=3),
    st.dictionaries(keys, values, min_size=1, max_size=4),
    st.integers(0, 2**62),
)
@settings(max_examples=100, deadline=None)
def test_any_point_is_read_back_by_another_reader(measurement, tags, fields, time):
    (point,) = parsed(lines.line(measurement, tags, fields, time))
    assert point == {"measurement": measurement, "tags": tags, "fields": fields, "time": time}
    assert {key: type(value) for key, value in point["fields"].items()} == {k: type(v) for k, v in fields.items()}


@given(chunks)
@settings(max_examples=40, deadline=None)
def test_samples_are_points_in_millivolts_at_their_exact_times(chunk):
    points = parsed(lines.sample_lines(chunk))
    assert [point["fields"]["voltage"] for point in points] == [v / 1000 for v in chunk.samples.tolist()]
    assert [point["time"] for point in points] == lines.sample_times(chunk.t0, chunk.fs, len(chunk.samples))
    assert ["chunk" in point["fields"] for point in points] == [True] + [False] * (len(points) - 1)
    about = (len(chunk.samples), round(chunk.fs * 1000), chunk.seq, chunk.flags, chunk.arrived)
    assert points[0]["fields"]["chunk"] == " ".join(map(str, about))
    assert all(point["tags"] == {"device_id": chunk.device_id, "shard": str(chunk.shard)} for point in points)


def test_times_do_not_drift():
    assert lines.sample_times(T, 250.0, 250) == [T * 1000 + i * 4_000_000 for i in range(250)]
    for fs in (360.0, 333.333, 128.0, 999.999):
        times = np.array(lines.sample_times(0, fs, 100_000), dtype=np.float64)
        assert np.abs(times - np.arange(100_000) / fs * 1e9).max() <= 0.51


@pytest.mark.parametrize("wrong", ["", "a\nb", "a\rb", "a\\"])
def test_a_tag_that_cannot_be_written_is_refused(wrong):
    with pytest.raises(StoreRefusedError, match="tag or key"):
        lines.line("m", {"t": wrong}, {"f": 1}, 0)
    with pytest.raises(StoreRefusedError, match="tag or key"):
        lines.line("m", {}, {wrong: 1}, 0)


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_what_is_not_finite_has_no_field(value):
    assert lines.line("m", {}, {"f": value}, 1) == b""
    assert lines.line("m", {}, {"f": value, "g": 1.0}, 1) == b"m g=1.0 1\n"


def test_a_point_without_a_time_is_dated_by_the_server():
    assert lines.line("m", {"a": "b"}, {"f": True}, None) == b"m,a=b f=true\n"


def test_alerts_acknowledgements_strips_and_baselines_have_the_documented_tags():
    event = AlertEvent(
        "x-0", "x", Transition.RAISED, "a", Kind.ANOMALY, Priority.LOW, T - 1, T, 'a "reason"', 0.5, None, 3
    )
    (point,) = parsed(lines.alert_line(event))
    assert point["tags"] == {"device_id": "a", "alert": "x", "kind": "anomaly", "event": "raised"}
    assert point["fields"] == {
        "id": "x-0",
        "priority": "low",
        "category": "physiological",
        "onset": T - 1,
        "reason": 'a "reason"',
        "score": 0.5,
        "model_revision": 3,
    }
    (point,) = parsed(lines.ack_line(Acknowledgement("x", "a", "me", "", T)))
    assert (point["measurement"], point["tags"], point["fields"]) == (
        "ecg_ack",
        {"device_id": "a", "alert": "x"},
        {"by": "me", "reason": ""},
    )
    chunk = Chunk("a", T, 250.0, np.zeros(3, np.int16))
    points = parsed(lines.strip_lines(Strip("x", chunk)))
    assert {(p["measurement"], p["tags"]["alert"], p["tags"]["device_id"]) for p in points} == {("ecg_strip", "x", "a")}
    (point,) = parsed(lines.baseline_line(Baseline("a", T, b"\x00\xff")))
    assert (point["measurement"], point["fields"], point["time"]) == ("ecg_baseline", {"payload": "AP8="}, T * 1000)


def test_scores_are_read_back_as_the_same_float32_and_what_is_not_finite_has_no_field():
    rng, n, names = np.random.default_rng(2), 50, ("a", "b,c", "d e")
    features = (rng.normal(size=(n, 3)) * 10.0 ** rng.integers(-30, 30, (n, 3))).astype(np.float32)
    features[::3, 1], features[::5, 2] = np.nan, np.inf
    ordered = rng.normal(size=n).astype(np.float32)
    scores = WindowScores(
        tuple(f"bed-{i}" for i in range(n)), T + np.arange(n), names, features, ordered, np.full(n, np.nan, np.float32),
        ordered * 2, np.ones(n, np.float32), np.arange(n) % 2 == 0, np.arange(n) % 3 == 0, np.arange(n, dtype=np.int32),
    )  # fmt: skip
    points = parsed(b"".join(lines.score_lines(scores)))
    assert len(points) == n
    for i, point in enumerate(points):
        assert point["tags"] == {"device_id": f"bed-{i}", "shard": str(shard_of(f"bed-{i}"))}
        assert point["time"] == (T + i) * lines.NANOSECONDS
        want = {
            "ordered": ordered[i],
            "score": ordered[i] * 2,
            "quality": 1.0,
            **dict(zip(names, features[i], strict=True)),
        }
        got = dict(point["fields"])
        states = got.pop("flagged"), got.pop("alerted"), got.pop("revision")
        assert states == (i % 2 == 0, i % 3 == 0, i)
        assert all(isinstance(value, float) for value in got.values())
        assert {k: np.float32(v) for k, v in got.items()} == {k: v for k, v in want.items() if np.isfinite(v)}
