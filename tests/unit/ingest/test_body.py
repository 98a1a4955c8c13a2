"""JSON bodies: every wrong field is named with its fault, and no bytes raise anything else."""

import json

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holter.chunk import LEAD_OFF
from holter.ingest.body import MAX_LINES, Post, parse, parse_lines
from holter.ingest.refusal import RefusalError

GOOD = {"device_id": "a", "samples": [0.1, -32.767, 32.767, 1]}


def test_everything_that_can_be_said():
    said = GOOD | {"t0": "2026-05-01T12:00:00.123456+02:00", "fs": 500, "seq": 9, "lead_off": True}
    post = parse(orjson.dumps(said), 250.0)
    assert post.timed
    assert post.chunk.t0 == 1_777_629_600_123_456
    assert (post.chunk.device_id, post.chunk.fs, post.chunk.seq, post.chunk.flags) == ("a", 500.0, 9, LEAD_OFF)
    assert post.chunk.samples.tolist() == [100, -32767, 32767, 1000]
    assert post.chunk.samples.dtype == np.int16


def test_what_is_not_said():
    post = parse(orjson.dumps(GOOD), 360.0)
    assert (post.timed, post.chunk.t0, post.chunk.fs, post.chunk.seq, post.chunk.flags) == (False, 0, 360.0, 0, 0)


@pytest.mark.parametrize(
    ("t0", "expected"),
    [
        ("2026-05-01T10:00:00Z", 1_777_629_600_000_000),
        ("2026-05-01t10:00:00.5z", 1_777_629_600_500_000),
        (1_777_629_600_000, 1_777_629_600_000_000),
        (1_777_629_600_000.25, 1_777_629_600_000_250),
    ],
)
def test_times(t0, expected):
    assert parse(orjson.dumps(GOOD | {"t0": t0}), 250.0).chunk.t0 == expected


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        (b"", "body", "not JSON"),
        (b"{", "body", "not JSON"),
        (b"[]", "body", "JSON object"),
        (b"\xff", "body", "not JSON"),
        (b"[" * 100_000, "body", "not JSON"),
        (b"NaN" + b"[" * 100_000, "body", "not JSON"),
        ({"samples": [1]}, "device_id", "missing"),
        ({"device_id": "a"}, "samples", "missing"),
        (GOOD | {"device_id": 7}, "device_id", "string"),
        (GOOD | {"device_id": ""}, "device_id", "match"),
        (GOOD | {"device_id": "a" * 33}, "device_id", "match"),
        (GOOD | {"device_id": "a\n"}, "device_id", "match"),
        (GOOD | {"device_id": "ä"}, "device_id", "match"),
        (GOOD | {"samples": "1,2"}, "samples", "list"),
        (GOOD | {"samples": {}}, "samples", "list"),
        (GOOD | {"samples": []}, "samples", "empty"),
        (GOOD | {"samples": [0.1] * 2501}, "samples", "10 s"),
        (GOOD | {"samples": [0.1, None]}, "samples[1]", "number"),
        (GOOD | {"samples": ["0.1"]}, "samples[0]", "number"),
        (GOOD | {"samples": [True]}, "samples[0]", "number"),
        (GOOD | {"samples": [[0.1]]}, "samples[0]", "number"),
        (GOOD | {"samples": [0, 32.768]}, "samples[1]", "finite number"),
        (GOOD | {"samples": [-33]}, "samples[0]", "finite number"),
        (b'{"device_id":"a","samples":[0,NaN]}', "samples[1]", "finite number"),
        (b'{"device_id":"\\ud800","samples":[NaN]}', "device_id", "match"),
        (b'{"\\ud800":1,"samples":[NaN]}', "?", "not a field"),
        (b'{"device_id":"a","samples":[-Infinity]}', "samples[0]", "finite number"),
        (b'{"device_id":"a","samples":[1e999]}', None, None),
        (b'{"device_id":"a","samples":[NaN,1' + b"0" * 400 + b"]}", "samples", "beyond"),
        (GOOD | {"fs": 99.9}, "fs", "100..1000"),
        (GOOD | {"fs": 1001}, "fs", "100..1000"),
        (GOOD | {"fs": "250"}, "fs", "100..1000"),
        (b'{"device_id":"a","samples":[0],"fs":NaN}', "fs", "100..1000"),
        (GOOD | {"seq": -1}, "seq", "integer"),
        (GOOD | {"seq": 1 << 32}, "seq", "integer"),
        (GOOD | {"seq": 1.0}, "seq", "integer"),
        (GOOD | {"seq": True}, "seq", "integer"),
        (GOOD | {"lead_off": 1}, "lead_off", "true or false"),
        (GOOD | {"t0": "2026-05-01T10:00:00"}, "t0", "zone"),
        (GOOD | {"t0": "2026-02-30T10:00:00Z"}, "t0", "RFC 3339"),
        (GOOD | {"t0": "yesterday"}, "t0", "RFC 3339"),
        (GOOD | {"t0": True}, "t0", "RFC 3339"),
        (GOOD | {"t0": -1}, "t0", "range"),
        (GOOD | {"t0": 1e300}, "t0", "range"),
        (GOOD | {"sampels": []}, "sampels", "not a field"),
        (GOOD | {"token": "x"}, "token", "not a field"),
    ],
)
def test_a_wrong_field_is_named_with_its_fault(body, field, reason):
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    with pytest.raises(RefusalError) as refused:
        parse(raw, 250.0)
    assert refused.value.code == 400
    if field is not None:
        assert refused.value.field == field
        assert reason in refused.value.reason
    assert orjson.dumps(refused.value.as_json())


def test_an_answer_never_echoes_more_than_a_few_characters():
    with pytest.raises(RefusalError) as refused:
        parse(orjson.dumps(GOOD | {"device_id": "x" * 100_000}), 250.0)
    assert len(orjson.dumps(refused.value.as_json())) < 300


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
documents = st.fixed_dictionaries(
    {},
    optional={
        name: json_values | good
        for name, good in {
            "device_id": st.just("a"),
            "samples": st.lists(st.floats(-40, 40), max_size=5),
            "t0": st.just("2026-05-01T10:00:00Z"),
            "fs": st.just(250),
            "seq": st.just(1),
            "lead_off": st.just(False),
            "token": st.text(max_size=5),
        }.items()
    },
)


@given(documents | st.binary(max_size=200))
def test_no_body_raises_anything_but_a_refusal(document):
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    try:
        outcome = parse(raw, 250.0)
    except RefusalError as e:
        outcome = e
    for item in (outcome, *parse_lines(raw, 250.0)):
        assert isinstance(item, Post) or (item.code in (400, 401) and orjson.dumps(item.as_json()))


def test_too_many_lines_are_refused_whole():
    with pytest.raises(RefusalError, match="more than"):
        list(parse_lines(b"1\n" * (MAX_LINES + 1), 250.0))
    assert len(list(parse_lines(b"1\n" * MAX_LINES, 250.0))) == MAX_LINES
