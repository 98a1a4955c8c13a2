"""Stored windows → a model and the numbers the gate judges it by. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from holter.config import RefitConfig
from holter.model.calibrate import calibrate
from holter.model.fit import MIN_ROWS, FitSettings, fit
from holter.model.fusion import fuse
from holter.model.pipeline import Model, select
from holter.model.spec import FeatureSpec, standardise
from holter.signal.quality import GOOD
from holter.window import WindowScores


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What a refit found.

    Attributes:
        model: None where there were too few usable windows.
        numbers: keys of `model.json` (docs/architecture.md).
    """

    model: Model | None
    numbers: Mapping[str, object]


def train(
    windows: WindowScores,
    specs: Sequence[FeatureSpec],
    config: RefitConfig,
    current: Model | None,
    seed: int,
) -> Trained:
    """Fit on windows that are clean and outside alerts; compare with the model in use on all clean ones.

    Args:
        windows: of the look-back, an equal share per device.
        specs: the features a worker of this release stores.
        config: the cohort's.
        current: the model in use.
        seed: the same windows, configuration and seed give the same model.
    """
    # A window below GOOD raises no physiological alert, and has no say here either.
    # An ordered score is missing while a patient's own normal is not known, and the features with it.
    clean = (windows.quality >= GOOD) & np.isfinite(windows.ordered)
    features, ordered = windows.features[clean], windows.ordered[clean]
    usable = ~windows.alerted[clean]
    numbers: dict[str, object] = {
        "windows": len(windows),
        "usable": int(usable.sum()),
        "devices": len(set(windows.device_ids)),
        "seed": seed,
        "contamination": config.contamination,
        "currentRevision": current.revision if current else None,
        "versions": {name: version(name) for name in ("holter", "numpy", "scikit-learn")},
    }
    if usable.sum() < max(config.min_windows, MIN_ROWS):
        return Trained(None, numbers)

    columns = select(windows.names, features, [spec.name for spec in specs])
    settings = FitSettings(config.estimators, config.max_samples, config.components, config.contamination, seed)
    fitted = fit(specs, columns[usable], ordered[usable], settings)
    kept = np.zeros(len(ordered), np.bool_)
    kept[usable] = fitted.kept
    score = fuse(fitted.model.score(columns), ordered)
    devices = np.unique(np.array(windows.device_ids)[clean], return_inverse=True)[1]
    found = calibrate(score, devices, kept, config.false_alerts_per_patient_day)
    model = replace(fitted.model, threshold=found.threshold)
    numbers |= {
        "kept": int(kept.sum()),
        "estimators": model.forest.trees,
        "maxSamples": model.forest.samples,
        "components": len(model.projection.bias),
        "calibration": {
            "rule": found.rule,
            "falseAlertsPerPatientDay": config.false_alerts_per_patient_day,
            "windowRate": found.window_rate,
            "quietDevices": found.quiet_devices,
            "quietWindows": found.quiet_windows,
        },
        **_described(score, model.threshold, "flagRate", "scoreQuantiles"),
    }
    if current:
        then = fuse(current.score(select(windows.names, features, current.names)), ordered)
        numbers |= _described(then, current.threshold, "currentFlagRate", "currentScoreQuantiles")
        numbers["populationShift"] = population_shift(model, current)
    else:
        numbers |= {"currentFlagRate": None, "currentScoreQuantiles": None, "populationShift": None}
    return Trained(model, numbers)


def population_shift(model: Model, current: Model) -> dict[str, float]:
    """How far the median of each feature has moved since the model in use was trained, in z: patients, not the model.

    The gate does not see it: it compares two models on the same windows. Features that only one has are left out.
    """
    then = dict(zip(current.names, standardise(current.projection.fill[None, :], current.specs)[0], strict=True))
    now = standardise(model.projection.fill[None, :], model.specs)[0]
    return {name: round(float(z - then[name]), 3) for name, z in zip(model.names, now, strict=True) if name in then}


def _described(score: NDArray[np.float32], threshold: float, rate: str, quantiles: str) -> dict[str, object]:
    p50, p90, p99 = np.quantile(score.astype(np.float64), [0.5, 0.9, 0.99]).tolist()
    return {rate: float((score > threshold).mean()), quantiles: {"p50": p50, "p90": p90, "p99": p99}}
