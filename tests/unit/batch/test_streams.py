"""Chunks of any order, rate and phase become the same gapless seconds."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holter.batch.chunks import Chunks
from holter.batch.streams import Streams
from holter.chunk import LEAD_OFF, MICROSECONDS, Chunk

BASE = 1_790_000_000


ROW = np.zeros(1, np.int64)


class Stream:
    """One row of `Streams`, chunk by chunk."""

    def __init__(self):
        self.streams = Streams(1)

    def push(self, chunk):
        return self.streams.push(ROW, Chunks.of([chunk]), 0) == 1

    def take(self):
        taken = self.streams.take(ROW)
        if taken is None:
            return None
        return SimpleNamespace(
            end=int(taken.seconds[0]),
            samples=taken.samples[0],
            hole=float(taken.holes[0]),
            lead_off=bool(taken.lead_off[0]),
        )

    @property
    def late_chunks(self):
        return self.streams.late_chunks


def chunks(seconds, fs=250.0, t0=BASE * MICROSECONDS, flags=0):
    n = int(fs)
    x = (1000 * np.sin(2 * np.pi * 2.0 * np.arange(seconds * n) / fs)).astype(np.int16)
    return [
        Chunk("d", t0 + round(k * n * MICROSECONDS / fs), fs, x[k * n : (k + 1) * n], k, flags) for k in range(seconds)
    ]


def drain(stream, arriving):
    taken = []
    for chunk in arriving:
        while not stream.push(chunk):
            taken.append(stream.take())
        while (second := stream.take()) is not None:
            taken.append(second)
    return taken


def test_whole_seconds_pass_unchanged():
    sent = chunks(5)
    taken = drain(Stream(), sent)
    assert [s.end for s in taken] == [BASE + k + 1 for k in range(5)]
    got, want = np.concatenate([s.samples for s in taken]), np.concatenate([c.samples for c in sent])
    np.testing.assert_allclose(got, want / 1000, atol=1e-6)
    assert all(s.hole == 0 for s in taken)


def test_a_phase_off_the_grid_begins_with_the_first_whole_second():
    taken = drain(Stream(), chunks(5, t0=BASE * MICROSECONDS + 400_000))
    assert [s.end for s in taken] == [BASE + 2 + k for k in range(4)]
    assert all(s.hole == 0 for s in taken)


@pytest.mark.parametrize("fs", [100.0, 130.061, 360.0, 500.0, 1000.0])
def test_other_rates_arrive_at_250_hz(fs):
    taken = drain(Stream(), chunks(8, fs=fs))
    assert len(taken) >= 6
    x = np.concatenate([s.samples for s in taken[1:]])
    peaks = np.fft.rfft(x * np.hanning(len(x)))
    assert np.argmax(np.abs(peaks)) * 250 / len(x) == pytest.approx(2.0, abs=0.2)
    assert np.abs(x).max() == pytest.approx(1.0, abs=0.02)
    assert np.abs(np.diff(x)).max() < 0.06


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from([250.0, 360.0]))
def test_order_within_the_lateness_does_not_matter(random, fs):
    sent = chunks(12, fs=fs)
    shuffled = sorted(sent, key=lambda c: c.t0 + random.uniform(0, 1.9) * MICROSECONDS)
    if shuffled[0] is not sent[0]:  # what precedes the first chunk is before the stream began
        shuffled.remove(sent[0])
        shuffled.insert(0, sent[0])
    want, got = drain(Stream(), sent), drain(Stream(), shuffled)
    assert [s.end for s in got] == [s.end for s in want]
    for a, b in zip(want, got, strict=True):
        np.testing.assert_array_equal(a.samples, b.samples)


def test_a_missing_chunk_is_waited_for_and_then_a_hole():
    sent = chunks(8)
    stream = Stream()
    taken = drain(stream, [*sent[:3], *sent[4:5]])
    assert len(taken) == 3
    taken += drain(stream, sent[5:])
    assert [s.hole for s in taken] == [0, 0, 0, 1.0, 0, 0, 0, 0]
    late = drain(stream, [sent[3]])
    assert late == []
    assert stream.late_chunks == 1


def test_repeated_chunks_change_nothing():
    sent = chunks(5)
    taken = drain(Stream(), [c for c in sent for _ in range(3)])
    assert [s.end for s in taken] == [BASE + k + 1 for k in range(5)]


def test_a_drifting_clock_makes_no_hole():
    drifting = [Chunk("d", c.t0 + k * 300, c.fs, c.samples, k) for k, c in enumerate(chunks(60))]
    taken = drain(Stream(), drifting)
    assert len(taken) >= 59
    assert all(s.hole == 0 for s in taken)


def test_a_long_gap_restarts_on_the_same_grid():
    taken = drain(Stream(), [*chunks(3), *chunks(3, t0=(BASE + 3600) * MICROSECONDS)])
    assert [s.end for s in taken] == [BASE + 1, BASE + 2, BASE + 3, BASE + 3601, BASE + 3602, BASE + 3603]


def test_a_clock_that_was_set_back_is_followed_after_a_while():
    stream = Stream()
    drain(stream, chunks(3, t0=(BASE + 3600) * MICROSECONDS))
    taken = drain(stream, chunks(30))
    assert taken
    assert taken[0].end < BASE + 20
    assert [b.end - a.end for a, b in pairwise(taken)] == [1] * (len(taken) - 1)


def test_lead_off_marks_the_seconds_it_covers():
    sent = chunks(4)
    sent[2] = Chunk("d", sent[2].t0, 250.0, sent[2].samples, 2, LEAD_OFF)
    assert [s.lead_off for s in drain(Stream(), sent)] == [False, False, True, False]


def test_a_change_of_rate_goes_on():
    taken = drain(Stream(), [*chunks(4), *chunks(4, fs=500.0, t0=(BASE + 4) * MICROSECONDS)])
    assert [s.end for s in taken][:4] == [BASE + 1, BASE + 2, BASE + 3, BASE + 4]
    assert taken[-1].end == BASE + 8


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(-90, 90),
            st.integers(1, 400),
            st.sampled_from([100.0, 250.0, 333.3, 1000.0]),
            st.integers(0, 999_999),
        ),
        max_size=30,
    )
)
def test_any_chunks_give_whole_increasing_seconds(pieces):
    stream, second = Stream(), 0.0
    for offset, n, fs, phase in pieces:
        chunk = Chunk("d", (BASE + offset) * MICROSECONDS + phase, fs, np.ones(n, np.int16))
        for taken in drain(stream, [chunk]):
            assert taken.samples.shape == (250,)
            assert np.isfinite(taken.samples).all()
            assert 0 <= taken.hole <= 1
            second = taken.end
    assert second == 0 or abs(second - BASE) < 200
