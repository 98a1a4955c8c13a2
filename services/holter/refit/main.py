"""`holter refit`: reads windows, trains, leaves a candidate, ends."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path

import click
import numpy as np
import structlog
from pydantic import ValidationError

from holter import config, logs, settings
from holter.chunk import MICROSECONDS
from holter.config import RefitConfig
from holter.model import artifact
from holter.model.npz import ArtifactError
from holter.model.pipeline import Model
from holter.model.spec import FeatureSpec
from holter.refit.candidate import Candidate, CandidateError, write
from holter.refit.train import train
from holter.settings import SettingError, Settings
from holter.signal.features import FEATURES
from holter.store.open import open_store
from holter.store.protocol import Store, StoreRefusedError, StoreUnavailableError
from holter.window import WindowScores

log = structlog.get_logger()

MOVED = 1.0
"""Shift of a feature's median that is told, in z: as much as lies between two windows of one population."""
Clock = Callable[[], datetime]


def refit(
    store: Store,
    options: RefitConfig,
    current: Model | None,
    seed: int,
    specs: Sequence[FeatureSpec] = FEATURES,
    clock: Clock = lambda: datetime.now(UTC),
) -> Candidate:
    """Read the look-back, train, and describe what came of it.

    The look-back is event time from the wall clock backwards. Windows that end later than now (a replay faster than
    life) are in it; and one device whose clock runs ahead takes no other device's windows out of it.

    Args:
        store: where windows are.
        options: the cohort's.
        current: the model in use, to compare with.
        seed: of the choice of windows and of the forest.
        specs: the features of this release.
        clock: the time, aware.

    Raises:
        StoreUnavailableError, StoreRefusedError: the store did not give the windows.
        ArtifactError: the model is too large.
    """
    began, started = clock(), time.perf_counter()
    since = round((began.timestamp() - options.lookback) * MICROSECONDS)
    windows = read_windows(store, since, options.max_training_windows, seed)
    trained = train(windows, specs, options, current, seed)
    ends = windows.ends
    meta: dict[str, object] = {
        "revision": 0,
        "trainedAt": _rfc3339(began.timestamp()),
        "since": _rfc3339(since / MICROSECONDS),
        "until": _rfc3339(int(ends.max()) / MICROSECONDS if len(ends) else began.timestamp()),
        **trained.numbers,
        "refitSeconds": round(time.perf_counter() - started, 3),
    }
    if trained.model is None:
        log.warning("too few windows", windows=meta["windows"], usable=meta["usable"], needed=options.min_windows)
        return Candidate(json.dumps({**meta, "format": artifact.FORMAT, "sha256": None}, indent=1), None)
    npz, text = artifact.save(trained.model, meta)
    shift = trained.numbers["populationShift"]
    moved = {name: z for name, z in shift.items() if abs(z) > MOVED} if isinstance(shift, dict) else {}
    if moved:
        log.warning("the population has moved", features=moved, limit=MOVED, since_revision=meta["currentRevision"])
    log.info("trained", **{key: meta[key] for key in ("windows", "usable", "kept", "devices", "flagRate")})
    return Candidate(text, npz)


def read_windows(store: Store, since: int, at_most: int, seed: int) -> WindowScores:
    """At most so many windows, an equal share of every device; with more devices than that, of some of them."""
    devices = store.list_devices(since)
    windows = store.read_windows(since, max(1, at_most // max(1, len(devices))), seed)
    if len(windows) <= at_most:
        return windows
    rows = np.sort(np.random.default_rng(seed).choice(len(windows), at_most, replace=False))
    columns = {f.name: getattr(windows, f.name) for f in fields(windows) if f.name not in ("device_ids", "names")}
    return replace(
        windows,
        device_ids=tuple(windows.device_ids[row] for row in rows),
        **{name: values[rows] for name, values in columns.items()},
    )


def read_current(folder: Path | None) -> Model | None:
    """The model in use; None where there is none, or none that can be used (the gate then has its numbers still)."""
    if folder is None:
        return None
    try:
        return artifact.read(folder)
    except (ArtifactError, OSError) as error:
        log.warning("the model in use cannot be read", folder=str(folder), error=str(error))
        return None


@click.command()
@click.option("--seed", default=0, show_default=True, help="Of the choice of windows and of the forest.")
def command(seed: int) -> None:
    """Fit a model on stored feature vectors and leave it as a candidate (a job)."""
    logs.configure("refit")
    try:
        found: Settings = settings.from_environment()
        if found.candidate is None:
            raise SettingError("HOLTER_CANDIDATE is not set: file:<folder> or configmap:<namespace>/<name> is expected")
        options = config.read(RefitConfig, found.config / "refit.json")
        structlog.contextvars.bind_contextvars(cohort=options.cohort)
        store = open_store(found.store, layout=options.layout, writer=found.pod)
        try:
            candidate = refit(store, options, read_current(found.model), seed)
        finally:
            store.close()
        write(found.candidate, candidate)
    except (
        SettingError,
        ValidationError,
        OSError,
        StoreUnavailableError,
        StoreRefusedError,
        ArtifactError,
        CandidateError,
    ) as error:
        raise click.ClickException(str(error)) from error
    log.info("candidate left", target=found.candidate)


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
