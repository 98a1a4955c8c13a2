"""Stored windows of a synthetic ward: a third of the devices has ectopy."""

import numpy as np
import pytest

from holter.model.spec import FeatureSpec
from holter.window import WindowScores

NOW = 1_800_000_000
SPECS = tuple(
    FeatureSpec(name, group, 0.02, -2.0, 1.0)
    for name, group in (("a", "shape"), ("b", "shape"), ("c", "rhythm"), ("d", "rhythm"), ("e", "joint"))
)


def make(devices=9, each=200, seed=0, names=tuple(s.name for s in SPECS), end=NOW):
    rng = np.random.default_rng(seed)
    n = devices * each
    device = np.repeat(np.arange(devices), each)
    abnormal = (device % 3 == 2) & (rng.random(n) < 0.6)
    z = np.where(abnormal, 2.2, -0.5)[:, None] + 0.6 * rng.normal(size=(n, 1)) + 0.5 * rng.normal(size=(n, len(names)))
    return WindowScores(
        device_ids=tuple(f"bed-{d:02d}" for d in device),
        ends=((end - 5 * (np.arange(n) % each)) * 1_000_000).astype(np.int64),
        names=names,
        features=np.maximum(np.exp(z - 2.0) - 0.02, 0).astype(np.float32),
        ordered=z.mean(axis=1).astype(np.float32),
        forest=np.full(n, np.nan, np.float32),
        score=(2 * z.mean(axis=1)).astype(np.float32),
        quality=np.ones(n, np.float32),
        flagged=np.zeros(n, np.bool_),
        alerted=np.zeros(n, np.bool_),
        revision=np.zeros(n, np.int32),
    )


@pytest.fixture(scope="session")
def specs():
    return SPECS


@pytest.fixture(scope="session")
def now():
    return NOW


@pytest.fixture(scope="session")
def make_windows():
    return make
