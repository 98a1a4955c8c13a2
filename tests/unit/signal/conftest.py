"""Made-up signals whose truth is known, and a runner that steps them through the signal path."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from holter.signal.filters import BLOCK, FS
from holter.signal.measures import EXTRA, N, learn, measure
from holter.signal.patient import allocate
from holter.signal.rhythm import RHYTHM, describe
from holter.signal.step import advance


def beat(width: float, amplitude: float) -> np.ndarray:
    """One QRS-like complex, mV, 0.4 s long: a main deflection of a width (s, at half height) and a small T wave."""
    t = np.arange(-0.15, 0.25, 1 / FS)
    sigma = width / 2.355
    return amplitude * np.exp(-0.5 * (t / sigma) ** 2) + 0.15 * np.exp(-0.5 * ((t - 0.2) / 0.03) ** 2)


def train(times: list[float], seconds: int, shapes: dict[float, np.ndarray] | None = None) -> np.ndarray:
    """Beats with R at `times` (s); `shapes` overrides the shape at a time."""
    x = np.zeros(seconds * FS)
    for time in times:
        shape = (shapes or {}).get(time, beat(0.04, 1.0))
        at = round((time - 0.15) * FS)
        if at >= 0 and at + len(shape) <= len(x):
            x[at : at + len(shape)] += shape
    return x.astype(np.float32)


def noise(seconds: int, rms: float, seed: int = 0) -> np.ndarray:
    """White noise, mV."""
    return np.random.default_rng(seed).normal(0, rms, seconds * FS).astype(np.float32)


@dataclass
class Run:
    """Everything that was seen of each patient."""

    state: np.ndarray
    measures: np.ndarray  # (seconds, patients, N)
    extra: np.ndarray  # (seconds, patients, EXTRA)
    beats: list[list[np.void]]


def run(signals: list[np.ndarray], hole: Callable[[int], float] = lambda _: 0.0) -> Run:
    """Step signals of one length through `advance` and `measure`, learning all the while."""
    patients, seconds = len(signals), len(signals[0]) // BLOCK
    state, slots = allocate(patients), np.arange(patients)
    out, extra = np.zeros((patients, N), np.float32), np.zeros((patients, EXTRA), np.float32)
    rhythm, good = np.zeros(patients, RHYTHM), np.ones(patients, np.float32)
    seen = np.zeros(patients, int)
    measures, extras, beats = [], [], [[] for _ in signals]
    for s in range(seconds):
        blocks = np.stack([x[s * BLOCK : (s + 1) * BLOCK] for x in signals])
        holes = np.full(patients, hole(s), np.float32)
        advance(state, slots, blocks, holes, np.zeros(patients, bool), np.full(patients, 1000 + s))
        describe(state, slots, rhythm)
        measure(state, slots, rhythm, good, out, extra)
        learn(state, slots, extra, np.full(patients, s >= 15, np.float32))
        measures.append(out.copy())
        extras.append(extra.copy())
        for p in slots:
            while seen[p] < state[p]["beat_n"]:
                beats[p].append(state[p]["beats"][seen[p] % 64].copy())
                seen[p] += 1
    return Run(state, np.array(measures), np.array(extras), beats)


class Signals:
    """The helpers above, as one fixture."""

    beat = staticmethod(beat)
    train = staticmethod(train)
    noise = staticmethod(noise)
    run = staticmethod(run)


@pytest.fixture(scope="session")
def signals() -> type[Signals]:
    return Signals
