"""Leave patients out: `python -m holter.evaluate.folds DIR` fits the forest on other patients' windows, five times.

A share of the windows that it is fitted on holds an abnormal beat, unlabelled as ever: how much that costs is the
robustness of the refit. The ordered score needs no fit, and stands beside.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from holter.chunk import MICROSECONDS
from holter.config import RefitConfig
from holter.evaluate.folder import FOLDER, record_paths
from holter.evaluate.playing import BASE_SECOND, LEARNING_SECONDS, WINDOW, Batch, Setup, join, take
from holter.evaluate.reference import Reference
from holter.evaluate.windows import ABNORMAL, UNDEFINED, VEB, labels, ranking
from holter.model.fit import MIN_ROWS
from holter.model.fusion import fuse
from holter.model.pipeline import select
from holter.refit.train import train
from holter.signal.features import FEATURES
from holter.signal.quality import GOOD
from holter.sim.recording import device_id
from holter.window import WindowScores

FOLDS, ROWS = 5, 1500
SHARES = (0.0, 0.1, 0.2, 0.4, 0.6)
SPREAD_AT = 0.4


@dataclass(frozen=True, slots=True, eq=False)
class Patients:
    """All windows of all records after the learning period.

    Attributes:
        windows: n of them, scored without a model.
        truth: by target, shape (n,), bool.
        fold: shape (n,), of the window's patient.
    """

    windows: WindowScores
    truth: dict[str, NDArray[np.bool_]]
    fold: NDArray[np.int64]


def gather(paths: Sequence[Path]) -> tuple[WindowScores | None, dict[str, Reference]]:
    """Play records without a model: their windows, and what is annotated in those with beats, by device."""
    batch = Batch(paths, Setup())
    batch.play(0, int(batch.seconds()) + 1)
    found = [outcome for outcome in batch.outcomes() if outcome.reference.has_beats]
    known = {device_id("", outcome.name): outcome.reference for outcome in found}
    return batch.windows(int(batch.seconds())), known


def patients(windows: WindowScores, known: dict[str, Reference]) -> Patients:
    """Those of records with beats, every fifth record in order of name in one fold."""
    starts = windows.ends / MICROSECONDS - BASE_SECOND - WINDOW
    record = np.array(windows.device_ids)
    rows = np.flatnonzero(np.isin(record, list(known)) & (starts >= LEARNING_SECONDS))
    record, starts = record[rows], starts[rows]
    truth = {target: np.zeros(len(rows), np.bool_) for target in (VEB, ABNORMAL)}
    fold = np.zeros(len(rows), np.int64)
    for number, name in enumerate(sorted(known)):
        own = record == name
        fold[own] = number % FOLDS
        found = labels(known[name], starts[own])
        for target in truth:
            truth[target][own] = found[target]
    return Patients(take(windows, rows), truth, fold)


def left_out(who: Patients, share: float, seed: int) -> NDArray[np.float64]:
    """Fused scores, shape (n,): each window's by a forest of other patients' windows, `share` of them abnormal."""
    windows, abnormal = who.windows, who.truth[ABNORMAL]
    fused = np.full(len(windows), UNDEFINED)
    config = RefitConfig(cohort="evaluate", namespace="", min_windows=MIN_ROWS)
    usable = (windows.quality >= GOOD) & np.isfinite(windows.ordered)
    for fold in range(FOLDS):
        rng, others = np.random.default_rng([seed, fold]), usable & (who.fold != fold)
        some = [
            rng.choice(candidates, min(count, len(candidates)), replace=False)
            for candidates, count in (
                (np.flatnonzero(others & abnormal), round(share * ROWS)),
                (np.flatnonzero(others & ~abnormal), round((1 - share) * ROWS)),
            )
        ]
        chosen = take(windows, np.sort(np.concatenate(some)))
        model = train(replace(chosen, alerted=np.zeros(len(chosen), np.bool_)), FEATURES, config, None, seed).model
        if model is None:
            raise click.ClickException(f"fold {fold}: {len(chosen)} windows of other patients are too few")
        own = np.flatnonzero(who.fold == fold)
        forest = model.score(select(windows.names, windows.features[own], model.names))
        fused[own] = np.nan_to_num(fuse(forest, windows.ordered[own]), nan=UNDEFINED)
    return fused


def _ranked(who: Patients, scores: NDArray[np.float64], rows: NDArray[np.bool_]) -> list[str]:
    veb, abnormal = (ranking(target, "", "", who.truth[target][rows], scores[rows]) for target in (VEB, ABNORMAL))
    return [f"{veb.auroc or 0:.4f}", f"{100 * (veb.fpr_95 or 0):.1f} %", f"{abnormal.auroc or 0:.4f}"]


@click.command()
@click.argument("folder", type=FOLDER, metavar="DIR")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the windows drawn and the fit.")
def command(folder: Path, seed: int) -> None:
    """Judge each record of DIR by forests of other records: AUROC by share of abnormal windows, and by fold."""
    paths = record_paths(folder)
    jobs = min(os.cpu_count() or 1, len(paths))
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as processes:
        parts = list(processes.map(gather, [paths[i::jobs] for i in range(jobs)]))
    windows = join([part for part, _ in parts if part is not None])
    known = {name: reference for _, found in parts for name, reference in found.items()}
    if windows is None or len(known) < FOLDS:
        raise click.ClickException(f"{folder}: {len(known)} records with beats annotated, at least {FOLDS} are needed")
    who, console = patients(windows, known), Console(width=100)
    everything = np.ones(len(who.fold), np.bool_)
    ordered = np.nan_to_num(who.windows.ordered.astype(np.float64), nan=UNDEFINED)
    columns = ("V or E: AUROC", "false at 95 %", "abnormal beat: AUROC")
    table = Table("fitted on abnormal", *columns, title=f"{len(known)} records, {len(who.fold)} windows, {FOLDS} folds")
    table.add_row("ordered score alone", *_ranked(who, ordered, everything))
    by_share = {share: left_out(who, share, seed) for share in SHARES}
    for share, fused in by_share.items():
        table.add_row(f"{100 * share:.0f} %", *_ranked(who, fused, everything))
    console.print(table)
    spread = Table("fold", "score", *columns, title=f"Folds, {100 * SPREAD_AT:.0f} % abnormal")
    for fold in range(FOLDS):
        for name, scores in (("fused", by_share[SPREAD_AT]), ("ordered", ordered)):
            spread.add_row(str(fold + 1), name, *_ranked(who, scores, who.fold == fold))
    console.print(spread)


if __name__ == "__main__":
    command()
