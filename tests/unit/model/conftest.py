"""Synthetic windows: log-normal features around the specs' constants, of which some are abnormal."""

from dataclasses import dataclass

import numpy as np
import pytest

from holter.model.spec import FeatureSpec

SPECS = (
    FeatureSpec("resx", "shape", 0.01, -2.12, 1.69),
    FeatureSpec("cnx", "shape", 0.005, -3.20, 1.44),
    FeatureSpec("wid", "shape", 0.1, -0.82, 1.22),
    FeatureSpec("res", "shape", 0.05, -1.36, 1.51),
    FeatureSpec("comp", "rhythm", 0.01, -3.73, 1.15),
    FeatureSpec("pm_x", "rhythm", 0.05, -2.36, 0.82),
    FeatureSpec("drr", "rhythm", 0.05, -1.41, 0.92),
    FeatureSpec("j_prem_res", "joint", 0.02, -2.69, 1.31),
)


@dataclass(frozen=True)
class Windows:
    features: np.ndarray
    ordered: np.ndarray
    abnormal: np.ndarray
    devices: np.ndarray


def make(n=3000, share=0.33, seed=0, devices=10):
    """`share` of n windows is abnormal; two in three of those alike (one device's bigeminy), the rest spread widely."""
    rng = np.random.default_rng(seed)
    abnormal = np.arange(n) < round(share * n)
    level = np.where(abnormal, np.where(rng.random(n) < 0.67, 1.6, rng.uniform(0.6, 2.6, n)), -0.6)
    width = np.where(abnormal, 0.25, 0.6)
    z = level[:, None] + width[:, None] * (0.5 * rng.normal(size=(n, 1)) + rng.normal(size=(n, len(SPECS))))
    scale, centre, eps = (np.array([getattr(s, field) for s in SPECS]) for field in ("scale", "centre", "eps"))
    features = np.maximum(np.exp(z * scale + centre) - eps, 0).astype(np.float32)
    seen = (np.log(features + eps) - centre) / scale
    return Windows(features, seen.mean(axis=1).astype(np.float32), abnormal, np.arange(n) * devices // n)


@pytest.fixture(scope="session")
def specs():
    return SPECS


@pytest.fixture(scope="session")
def make_windows():
    return make


@pytest.fixture(scope="session")
def windows():
    return make()
