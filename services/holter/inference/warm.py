"""Compile before the first patient comes: numba's first call takes seconds, the second none (cache on disk)."""

import numpy as np

from holter.chunk import MICROSECONDS, Chunk
from holter.inference.decision import Decision, Limits
from holter.inference.decision.life import Life
from holter.inference.engine import Engine
from holter.store import open as store


def warm() -> None:
    """Run two made-up devices, one at 250 Hz and one not, for half a minute of event time; and the store's codec."""
    store.warm()
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
