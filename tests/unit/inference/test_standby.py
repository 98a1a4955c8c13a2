"""What a standby keeps."""

import numpy as np

from holter.batch.chunks import Chunks
from holter.chunk import MICROSECONDS, Chunk, shard_of
from holter.inference.standby import Standby

ONE, OTHER = (next(n for n in map(str, range(1000)) if (shard_of(n) < 32) == low) for low in (True, False))


def batch(second, *devices):
    return Chunks.of(
        Chunk(d, second * MICROSECONDS, 250.0, np.full(200 + i, second, np.int16), second, 0, second * MICROSECONDS)
        for i, d in enumerate(devices)
    )


def test_the_last_seconds_of_one_shard_are_given_in_order_and_older_ones_are_gone():
    standby = Standby(keep=20)
    standby.stand_by([shard_of(ONE), shard_of(OTHER)], 0)
    for second in range(100, 160):
        standby.keep(batch(second, ONE, OTHER), second)
    found = list(standby.take([shard_of(OTHER)]).each())
    assert [(c.device_id, c.seq, len(c.samples), c.samples[0]) for c in found] == [
        (OTHER, second, 201, second) for second in range(139, 160)
    ]


def test_warm_is_what_has_been_kept_for_long_enough_without_a_loss():
    standby = Standby(keep=20)
    standby.stand_by([1, 2], 100.0)
    standby.stand_by([1, 2, 3], 110.0)
    assert standby.warm([1, 2, 3, 4], 125.0) == {1, 2}
    standby.lost(124.0)
    assert standby.warm([1], 125.0) == frozenset()
    assert standby.warm([1], 144.0) == {1}


def test_who_stands_by_for_nobody_keeps_nothing():
    standby = Standby(keep=20)
    standby.stand_by([shard_of(ONE)], 0)
    standby.keep(batch(100, ONE), 100)
    standby.stand_by([], 1)
    assert len(standby.take([shard_of(ONE)])) == 0


def test_samples_of_others_are_not_held_on_to():
    chunks = batch(100, ONE, OTHER)
    mine = chunks.where(chunks.of_shards([shard_of(OTHER)])).apart()
    assert len(mine.samples) == 201
    assert next(iter(mine.each())).samples.tolist() == [100] * 201
