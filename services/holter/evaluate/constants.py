"""The fitted constants of `signal.features.ventricular`, from named records: `python -m holter.evaluate.constants DIR`.

Logistic regression (C = 0.1) of "V or E" on the z of a beat's features, without compensation, which is not known yet
when a beat is marked. Beats as EC57 compares them, after the learning period; fusion and unknown beats are left out,
extra ones count as not ventricular. Printed are the constants from all records, and how well records are marked that
had no part in theirs.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from holter.evaluate.beats import paired, ratio
from holter.evaluate.folder import FOLDER, record_paths
from holter.evaluate.playing import Outcome, Setup
from holter.evaluate.reference import FUSION, UNKNOWN
from holter.evaluate.running import run
from holter.model.spec import standardise
from holter.signal.features import FEATURES, NAMES

_USED = np.array([name != "compensation" for name in NAMES])
_VENTRICULAR = "VE"


@dataclass(frozen=True, slots=True, eq=False)
class Beats:
    """Beats to fit on.

    Attributes:
        z: shape (n, 7), float64.
        ventricular: shape (n,), bool, by annotation.
        record: shape (n,), names.
    """

    z: NDArray[np.float64]
    ventricular: NDArray[np.bool_]
    record: NDArray[np.str_]


def collect(outcomes: Sequence[Outcome]) -> Beats:
    """Detected beats of records whose beats are annotated."""
    parts = []
    for outcome in outcomes:
        if not outcome.reference.has_beats:
            continue
        found, codes, extra = paired(outcome)
        clear = ~np.isin(codes, list(FUSION + UNKNOWN))
        rows = np.concatenate([found[clear], extra])
        truth = np.concatenate([np.isin(codes[clear], list(_VENTRICULAR)), np.zeros(len(extra), np.bool_)])
        z = standardise(outcome.features[rows], FEATURES)[:, _USED]
        parts.append((z, truth, np.full(len(rows), outcome.name)))
    z, truth, record = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Beats(z, truth, record)


def fit(beats: Beats, rows: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
    """Weights, shape (7,), and bias of the log odds, from some of the beats."""
    fitted = LogisticRegression(C=0.1).fit(beats.z[rows], beats.ventricular[rows])
    return fitted.coef_[0], float(fitted.intercept_[0])


def left_out(beats: Beats) -> tuple[float | None, float | None]:
    """Sensitivity and PPV of the mark, each record by the constants of the others."""
    marked = np.zeros(len(beats.record), np.bool_)
    for name in np.unique(beats.record):
        own = beats.record == name
        weights, bias = fit(beats, ~own)
        marked[own] = beats.z[own] @ weights + bias > 0
    hits = int((marked & beats.ventricular).sum())
    return ratio(hits, int(beats.ventricular.sum())), ratio(hits, int(marked.sum()))


@click.command()
@click.argument("folder", type=FOLDER, metavar="DIR")
def command(folder: Path) -> None:
    """Print the constants that `signal.features.ventricular` has from the records of DIR."""
    paths = record_paths(folder)
    done = run(paths, Setup(), seed=0, jobs=min(os.cpu_count() or 1, len(paths)), step=lambda _: None)
    if not any(outcome.reference.has_beats for outcome in done.outcomes):
        raise click.ClickException(f"{folder}: no record has beats annotated")
    beats = collect(done.outcomes)
    weights, bias = fit(beats, np.ones(len(beats.record), np.bool_))
    names = [name for name, used in zip(NAMES, _USED, strict=True) if used]
    click.echo(f"records: {', '.join(np.unique(beats.record))}")
    for name, weight in zip(names, weights, strict=True):
        click.echo(f"{name:20} {weight:7.3f}")
    click.echo(f"{'bias':20} {bias:7.3f}")
    sensitivity, ppv = left_out(beats)
    click.echo(
        f"leave one record out: sensitivity {sensitivity or 0:.3f}, PPV {ppv or 0:.3f}, {len(beats.record)} beats"
    )


if __name__ == "__main__":
    command()
