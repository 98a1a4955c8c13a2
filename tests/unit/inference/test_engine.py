"""Chunks in, ticks out: each device by itself, each second once, at any pace."""

import numpy as np

from holter.chunk import MICROSECONDS, Chunk
from holter.inference.engine import Engine

BASE = 1_790_000_000


def ecg(device_id, seconds, rr=0.8, seed=0, fs=250):
    rng = np.random.default_rng(seed)
    t = np.arange(seconds * fs) / fs
    phase = (t % rr) - 0.3
    x = np.exp(-0.5 * (phase / 0.017) ** 2) + 0.2 * np.exp(-0.5 * ((phase - 0.25) / 0.03) ** 2)
    microvolts = (1000 * x + rng.normal(0, 12, len(x))).astype(np.int16)
    parts = np.split(microvolts, seconds)
    return [Chunk(device_id, (BASE + k) * MICROSECONDS, float(fs), part, k) for k, part in enumerate(parts)]


def ticks(engine, batches):
    return [tick for batch in batches for tick in engine.push(batch)]


def test_each_second_of_each_device_is_judged_once():
    engine = Engine(capacity=2)
    sent = [ecg(f"d{k}", 12, seed=k) for k in range(5)]  # grows beyond its capacity
    got = ticks(engine, zip(*sent, strict=True))
    seen = [(engine.device_ids[s], int(e)) for tick in got for s, e in zip(tick.slots, tick.seconds, strict=True)]
    assert len(seen) == len(set(seen)) == 60


def test_windows_are_on_the_grid_each_once_and_named():
    engine = Engine(window=10, interval=5)
    got = ticks(engine, ([c] for c in ecg("d", 40)))
    windows = [int(end) for tick in got if tick.scores for end in tick.scores.ends]
    assert [end // MICROSECONDS for end in windows] == [
        BASE + k for k in (10, 15, 20, 25, 30, 35)
    ]  # 40 is judged at 42
    scores = [tick.scores for tick in got if tick.scores]
    assert all(np.isnan(s.forest).all() and (s.revision == 0).all() for s in scores)
    assert np.isfinite(scores[-1].ordered).all()


def test_the_pace_of_arrival_does_not_matter():
    a, b = ecg("a", 40, seed=1), ecg("b", 40, rr=0.6, seed=2)
    steady, burst = Engine(), Engine()
    one = ticks(steady, zip(a, b, strict=True))
    two = ticks(burst, [a[:7], b[:31], [*a[7:], *b[31:]]])

    def figures(engine, got, device):
        slot = engine.slot(device)
        rows = [(t, int(np.flatnonzero(t.slots == slot)[0])) for t in got if slot in t.slots]
        return np.array([np.r_[t.seconds[i], t.probability[i], t.measures[i], t.quality[i]] for t, i in rows])

    for device in ("a", "b"):
        np.testing.assert_array_equal(figures(steady, one, device), figures(burst, two, device))


def test_a_backlog_larger_than_a_stream_loses_no_second():
    engine = Engine()
    got = ticks(engine, [ecg("d", 90)])
    assert sum(len(tick.slots) for tick in got) == 90


def test_restored_baselines_make_the_first_window_known():
    first = Engine()
    ticks(first, ([c] for c in ecg("d", 60)))
    second = Engine()
    assert second.restore("d", first.checkpoint("d"))
    later = [Chunk(c.device_id, c.t0 + 60 * MICROSECONDS, c.fs, c.samples) for c in ecg("d", 12)]
    scores = [t.scores for t in ticks(second, ([c] for c in later)) if t.scores]
    assert np.isfinite(scores[0].ordered).all()


def test_a_forgotten_device_leaves_its_place_clean():
    engine = Engine(capacity=1)
    ticks(engine, ([c] for c in ecg("old", 20)))
    engine.forget("old")
    assert len(engine) == 0
    got = ticks(engine, ([c] for c in ecg("new", 3)))
    assert int(engine.state[got[0].slots[0]]["n"]) == 3 * 250
    assert engine.device_ids.count("new") == 1
    assert "old" not in engine.device_ids
