"""What a store remembers of what it wrote."""

import numpy as np
import pytest

from holter.chunk import MICROSECONDS, Chunk
from holter.packed import of
from holter.store.recent import Recent

T0 = 1_750_000_000 * MICROSECONDS


def batch(*seconds, value=1):
    samples = np.full(250, value, np.int16)
    return of([Chunk("d", T0 + s * MICROSECONDS, 250.0, samples, s) for s in seconds])


def test_new_repeated_and_conflicting_chunks_are_told_apart():
    recent = Recent()
    recent.add(recent.sift(batch(0, 1)).rows)
    sifted = recent.sift(batch(1, 2, 2))
    assert (sifted.new, sifted.repeated, sifted.conflicts) == ([1], [0, 2], [])
    sifted = recent.sift(batch(1, 3, value=2))
    assert (sifted.new, sifted.repeated, sifted.conflicts) == ([1], [], [0])


@pytest.mark.parametrize("values", [(1, 1, 2), (2, 1, 1)])
def test_within_a_batch_too(values):
    sifted = Recent().sift(of([next(iter(batch(0, value=value))) for value in values]))
    assert (len(sifted.new), len(sifted.repeated) + len(sifted.conflicts)) == (1, 2)


def test_nothing_is_remembered_before_it_is_added():
    recent = Recent()
    recent.sift(batch(0))
    assert recent.sift(batch(0)).new == [0]


def test_the_last_are_remembered_and_no_more_than_twice_as_many():
    recent = Recent(size=100)
    for first in range(0, 1000, 10):
        recent.add(recent.sift(batch(*range(first, first + 10))).rows)
        assert len(recent) <= 200
    assert recent.sift(batch(*range(900, 1000))).new == []
    assert recent.sift(batch(*range(800))).new == list(range(800))
