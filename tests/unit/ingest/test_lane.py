"""The fast lane does what the general way does, only sooner; garbage costs itself alone on either."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holter.chunk import Chunk
from holter.config import IngestConfig
from holter.frame import MAGIC, encode
from holter.ingest.intake import Intake
from holter.ingest.measures import Measures
from holter.ingest.records import scan
from holter.ingest.refusal import RefusalError
from holter.keys import DeviceKeys, mac_key

NOW = 1_760_000_000_000_000
S = 1_000_000
KEY, OLD = bytes(range(32)), b"o" * 32
KEYS = DeviceKeys(KEY, OLD)


class Commits:
    """Keeps what it is given."""

    def __init__(self):
        self.records = []

    def check_room(self, size):
        pass

    def append(self, record, *, awaited=True):
        self.records.append(record)


class Way:
    """An intake whose clock stands still; `slow` closes its lane."""

    def __init__(self, *, slow=False, access="Token"):
        self.commits, self.measures = Commits(), Measures("ward")
        config = IngestConfig(cohort="ward", namespace="test", max_patients=3, access=access)
        self.intake = Intake(config, lambda: KEYS, self.commits, self.measures, lambda: NOW)
        if slow:
            self.intake._lane_is_clear = lambda *_: False

    def take(self, message):
        rows = []
        for taken in self.intake.take_frames(message):
            refusal = taken.refusal
            rows.append(taken._replace(refusal=refusal and (refusal.code, refusal.field, refusal.wait)))
        return rows

    def told(self):
        devices = {raw: (d.starts, d.ends, d.sums, d.end, d.seen) for raw, d in self.intake.timeline._devices.items()}
        counts = {
            (s.name, *s.labels.values()): s.value
            for metric in self.measures.metrics.registry.collect()
            for s in metric.samples
            if s.name.startswith("holter_")
        }
        return self.commits.records, devices, list(devices), counts


def frame(device="a", second=0.0, n=250, fs=250.0, value=0, flags=0, key=KEY, timed=True, seq=0):
    samples = np.full(n, value, np.int16)
    t0 = NOW - 60 * S + round(second * S)
    return encode(Chunk(device, t0, fs, samples, seq, flags), mac_key(key, device), timed=timed)


frames = st.builds(
    frame,
    device=st.sampled_from("abcd"),
    # Whole seconds follow each other; others are late, overlap by little or much, leave gaps, or lie far ahead.
    second=st.integers(0, 6) | st.sampled_from([0.001, 0.9981, 0.998, 0.5, 30.0, 1000.0, 2.0021]),
    n=st.sampled_from([250, 250, 250, 125, 1]),
    fs=st.sampled_from([250.0, 250.0, 257.3]),
    value=st.integers(0, 1),
    flags=st.integers(0, 3),
    key=st.sampled_from([KEY, KEY, KEY, OLD, b"x" * 32]),
    timed=st.sampled_from([True, True, True, False]),
)
parts = frames | st.binary(max_size=70) | st.binary(max_size=70).map(lambda tail: MAGIC + tail)
messages = st.lists(st.lists(parts, max_size=6).map(b"".join), max_size=5)


@settings(deadline=None, max_examples=300)
@given(messages, st.sampled_from(["Token", "Open"]))
def test_the_lane_and_the_general_way_are_one(messages, access):
    quick, slow = Way(access=access), Way(slow=True, access=access)
    for message in messages:
        assert quick.take(message) == slow.take(message)
    assert quick.told() == slow.told()


@settings(deadline=None, max_examples=200)
@given(st.lists(st.lists(parts, max_size=6), max_size=4))
def test_datagrams_too(rounds):
    quick, slow = Way(), Way(slow=True)
    for datagrams in rounds:
        found = [[(r.code, r.field) for r in way.intake.take_datagrams(datagrams)] for way in (quick, slow)]
        assert found[0] == found[1]
    assert quick.told() == slow.told()


posts = st.tuples(
    st.sampled_from("ab"),
    st.integers(0, 6) | st.sampled_from([0.001, 0.9981, 0.5, 30.0, 55.0, 355.0, 359.5, 1000.0]),
    st.sampled_from([1, 250, 251, 625, 2500]),
    st.sampled_from([250.0, 257.3]),
    st.integers(0, 1),
)


@settings(deadline=None, max_examples=200)
@given(st.lists(posts, max_size=6))
def test_posts_of_up_to_ten_seconds_too(rows):
    quick, slow = Way(), Way(slow=True)
    for device, second, n, fs, value in rows:
        chunk = Chunk(device, NOW - 60 * S + round(second * S), fs, np.full(n, value, np.int16))
        found = []
        for way in (quick, slow):
            try:
                placed = way.intake.offer(chunk, timed=True)
            except RefusalError as refusal:
                found.append((refusal.code, refusal.field))
            else:
                found.append((placed.t0, placed.accepted, placed.conflicting))
        assert found[0] == found[1]
    assert quick.told() == slow.told()


def test_what_goes_on_takes_the_lane(monkeypatch):
    way = Way()
    way.take(frame(second=0))
    monkeypatch.setattr(way.intake, "_place", None)  # whoever goes the general way now fails
    assert [t.accepted for t in way.take(frame(second=1) + frame(second=2) + frame(second=9))] == [250] * 3
    assert way.intake.take_datagrams([frame(second=10)]) == []
    (found,) = scan(way.commits.records[-1], final=True).chunks
    assert (found.t0, found.arrived) == (NOW - 50 * S, NOW)


def test_a_new_key_is_taken_up_by_devices_that_send_already():
    way = Way()
    way.take(frame(second=0))
    way.intake._keys = lambda: DeviceKeys(b"n" * 32, KEY)
    assert [t.refusal for t in way.take(frame(second=1) + frame(second=2, key=b"n" * 32))] == [None, None]
    way.intake._keys = lambda: DeviceKeys(b"n" * 32)
    assert [t.refusal for t in way.take(frame(second=3))] == [(403, "mac", None)]


@given(st.lists(st.none() | st.binary(min_size=1, max_size=80), max_size=6))
@settings(deadline=None)
def test_garbage_between_frames_costs_no_frame(row):
    way = Way()
    taken = way.take(b"".join(frame(second=i) if part is None else part for i, part in enumerate(row)))
    assert sum(t.accepted > 0 for t in taken) == row.count(None)


def test_a_frame_with_a_forged_length_does_not_swallow_the_next():
    for second in (0, 1):  # by the general way, and by the lane
        way = Way()
        if second:
            way.take(frame(second=0))
        forged = bytearray(frame(second=second, n=100))
        forged[6] = 250
        first, second_ = way.take(bytes(forged) + frame(second=second))
        assert first.refusal == (403, "mac", None)
        assert second_.accepted == 250


@pytest.mark.parametrize("timed", [True, False])
def test_what_could_not_be_kept_is_new_when_it_comes_again(timed):
    way = Way()
    way.take(frame(second=0, timed=timed))
    way.intake.could_not_keep(way.commits.records)
    way.commits.records.clear()
    assert way.take(frame(second=0))[0].accepted == 250
    assert len(way.commits.records) == 1
