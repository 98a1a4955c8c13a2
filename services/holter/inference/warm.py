"""Compile before the first patient comes: numba's first call takes seconds, the second none (cache on disk)."""

import zlib

import numpy as np

from holter.batch.records import read_records
from holter.chunk import MICROSECONDS, Chunk
from holter.frame import pack
from holter.inference.decision import Decision, Limits
from holter.inference.decision.life import Life
from holter.inference.engine import Engine
from holter.store import open as store


def warm() -> None:
    """Run two made-up devices, one at 250 Hz and one not, for half a minute of event time; codecs of feed and store."""
    store.warm()
    read_records(_record(Chunk("a", 0, 250.0, np.zeros(1, np.int16))), 0)
    rng = np.random.default_rng(0)
    engine = Engine(capacity=2)
    decision = Decision(engine, Life("", "", 60), Limits())
    for second in range(30):
        for device_id, fs in (("a", 250), ("b", 360)):
            spikes = np.zeros(fs)
            spikes[:: fs // 2] = 1000
            samples = (spikes + rng.normal(0, 20, fs)).astype(np.int16)
            for tick in engine.push([Chunk(device_id, second * MICROSECONDS, float(fs), samples)]):
                decision.step(tick)


def _record(chunk: Chunk) -> bytes:
    """As the feed brings it (docs/feed.md)."""
    packed = pack(chunk) + chunk.arrived.to_bytes(8, "little")
    return packed + zlib.crc32(packed).to_bytes(4, "little")
