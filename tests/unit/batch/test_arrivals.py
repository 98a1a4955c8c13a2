"""Which arrival belongs to which second."""

import numpy as np
import pytest

from holter.chunk import MICROSECONDS, Chunk
from holter.inference.engine import Engine

BASE = 1_790_000_000
LAG = 700_000


def chunk(second, arrived=None, device_id="d", fs=250.0, n=None, offset=0):
    """Samples from `offset` µs into a second on; they arrive LAG after the last of them unless said otherwise."""
    t0 = (BASE + second) * MICROSECONDS + offset
    n = int(fs) if n is None else n
    samples = np.random.default_rng(second).integers(-500, 500, n).astype(np.int16)
    made = Chunk(device_id, t0, fs, samples, second)
    return Chunk(device_id, t0, fs, samples, second, 0, made.end + LAG if arrived is None else arrived)


class Reader:
    """Judges chunks page by page."""

    def __init__(self):
        self.engine = Engine()

    def judge(self, *chunks):
        """By device and end of second, what was found, in µs since BASE; 0 when not known."""
        found = {}
        for tick in self.engine.push(chunks):
            arrived = tick.arrived
            assert arrived.shape == tick.slots.shape
            for slot, second, time in zip(tick.slots, tick.seconds, arrived.tolist(), strict=True):
                key = (self.engine.device_ids[slot], int(second) - BASE)
                assert key not in found
                found[key] = time and time - BASE * MICROSECONDS
        return found


@pytest.fixture
def reader():
    return Reader()


def us(seconds):
    return round(seconds * MICROSECONDS)


@pytest.mark.parametrize(("size", "fs"), [(1, 250.0), (7, 250.0), (200, 250.0), (1, 360.0), (200, 128.0)])
def test_each_second_is_known_whatever_the_pages(reader, size, fs):
    """200 s at once is more than an engine's stream holds."""
    sent, found = [chunk(k, fs=fs) for k in range(200)], {}
    for i in range(0, 200, size):
        found |= reader.judge(*sent[i : i + size])
    assert found == {("d", k + 1): us(k + 1) + LAG for k in range(200)}


def test_devices_are_told_apart(reader):
    found = reader.judge(
        *(chunk(k, BASE * MICROSECONDS + i * 1000 + k + 1, f"d{i}") for k in range(3) for i in range(9))
    )
    assert found == {(f"d{i}", k + 1): i * 1000 + k + 1 for k in range(3) for i in range(9)}


def test_a_second_made_of_two_chunks_is_complete_with_the_second_one(reader):
    found = reader.judge(*(chunk(k, offset=300_000) for k in range(5)))
    # The second that ends at 2 s has its last sample in the chunk that lasts from 1.3 s to 2.3 s.
    assert found == {("d", k): us(k + 0.3) + LAG for k in range(2, 6)}


def test_a_chunk_that_comes_late_completes_its_own_second_only(reader):
    assert reader.judge(chunk(0), chunk(2)) == {("d", 1): us(1) + LAG}
    late = (BASE + 3) * MICROSECONDS + LAG + 5
    assert reader.judge(chunk(1, late)) == {("d", 2): us(3) + LAG + 5, ("d", 3): us(3) + LAG}


@pytest.mark.parametrize("fs", [250.0, 360.0])
def test_a_second_that_never_came_is_complete_when_it_is_no_longer_waited_for(reader, fs):
    found = {}
    for k in (0, 1, 3, 4, 5, 6):
        found |= reader.judge(chunk(k, fs=fs))
    assert found["d", 3] == us(5) + LAG  # it would have ended at 3 s, and 2 s are waited
    assert found["d", 4] == us(4) + LAG


def test_what_is_not_known_is_not_guessed(reader):
    found = reader.judge(*(chunk(k, 0 if k < 3 else None) for k in range(6)))
    assert found == {("d", k + 1): us(k + 1) + LAG if k >= 3 else 0 for k in range(6)}


def test_what_was_judged_before_is_not_known(reader):
    reader.engine.streams.since = us(BASE + 3) + LAG
    found = reader.judge(*(chunk(k) for k in range(6)))
    assert found == {("d", k + 1): us(k + 1) + LAG if k >= 3 else 0 for k in range(6)}


def test_chunks_that_come_again_too_late_are_nobodys_arrival(reader):
    for k in range(300, 600):
        reader.judge(chunk(k), *(chunk(j) for j in range(k - 5, k)))  # all but one come again, too late
    assert reader.judge(chunk(600)) == {("d", 601): us(601) + LAG}
