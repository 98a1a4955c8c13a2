"""Weights for the VT/VF score, from named records: `python -m holter.evaluate.lethal MITDB VFDB NSTDB --out FILE`.

Logistic regression (C = 0.05) of "VT, VF or flutter fills at least three of the last four seconds" on the measures of
each second after the learning period. Records are played clean and with noise in ordinary and in lethal rhythms alike:
noise in ordinary ones only teaches that noise is safe, and hides fibrillation under it. Simulated patients in noise, at
rest, on their feet and running have no such rhythm. FILE holds for each record the weights from all others: `holter
evaluate DIR --left-out FILE` judges every record by weights that it had no part in. `--constants` writes
`signal/fitted.py` from all records. What is learnt of a patient depends on no weight, but begins with the population's
means: where those written are not the release's, the weights are right the second time.
"""

import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import orjson
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from holter.evaluate import noise as noises
from holter.evaluate.folder import FOLDER, record_paths
from holter.evaluate.noise import Noise
from holter.evaluate.playing import LEARNING_SECONDS, Outcome, Setup, Simulated
from holter.evaluate.reference import NOISE, TACHYARRHYTHMIA, overlapping
from holter.evaluate.running import run
from holter.signal.filters import FS
from holter.signal.lethal import Weights
from holter.signal.measures import NAMES, RELATIVE
from holter.sim.annotations import Episode
from holter.sim.background import Bursts, ColouredNoise

_SPAN = 4
_FILLED = 3
_NEAR, _FAR = 5.0, 8.0
_TYPICAL = 300
"""Lethal seconds of a record; those of one with n of them weigh sqrt(300 / n)."""
DOUBTFUL: Mapping[str, tuple[tuple[float, float], ...]] = {
    "223": ((570.0, 640.0), (1035.0, 1110.0)),  # labelled VT: bigeminy at 105/min
    "424": ((1537.0, 1593.0),),  # labelled ASYS: oscillates with 0.3-1.0 mV
}
"""Seconds that are left out: their labels contradict the signal."""
_TORSADE = "419"  # its N and NOISE hold torsade-like waves
_SEED = 99
"""Of the simulated patients: not the one that `holter evaluate --simulate` takes."""
_RUN_SECONDS, _REST_SECONDS = 900, 7200
SIMULATED = (("running", 12, _RUN_SECONDS, 0.4), ("noise", 16, _REST_SECONDS, 1.0), ("resting", 4, _REST_SECONDS, 1.0),
             ("active", 4, _REST_SECONDS, 1.0))  # fmt: skip
"""Rhythm, patients, seconds, weight of a second."""
_QUIET_SECONDS = 15


@dataclass(frozen=True, slots=True)
class Variant:
    """How the records are played once.

    Attributes:
        noise: added, or None.
        lethal: weight of lethal seconds.
        other: weight of all others.
    """

    noise: Noise | None
    lethal: float
    other: float


@dataclass(frozen=True, slots=True, eq=False)
class Seconds:
    """Seconds to fit on.

    Attributes:
        measures: shape (n, N), float32, columns `measures.NAMES`.
        lethal: shape (n,), bool.
        weight: shape (n,), float64.
        record: shape (n,), names.
    """

    measures: NDArray[np.float32]
    lethal: NDArray[np.bool_]
    weight: NDArray[np.float64]
    record: NDArray[np.str_]


def motion(snr: float, seconds: int = 1800, seed: int = 0) -> Noise:
    """An electrode that moves: bursts of 0.3-4 Hz, half of the time."""
    rng = np.random.default_rng(seed)
    layer = Bursts(ColouredNoise(rng, FS, (0.3, 4.0), 1.0), rng, FS, 0.1)
    times = np.arange(FS) / FS
    return Noise(np.concatenate([layer(times + k) for k in range(seconds)]), float(FS), snr)


def variants(nstdb: Path) -> list[Variant]:
    """Clean, and with the first channel of the Noise Stress Test's records; its other channel is for testing."""

    def of(name: str, snr: float) -> Noise:
        return noises.read(nstdb / name, snr, "0")

    return [
        Variant(None, 1.0, 1.0),
        Variant(of("ma", 6), 1.0, 0.2),
        Variant(of("ma", 0), 0.5, 0.2),
        Variant(of("ma", -6), 0.0, 0.2),
        Variant(of("bw", -6), 0.5, 0.2),
        Variant(motion(9), 0.5, 0.1),
        Variant(motion(3, seed=1), 0.0, 0.1),
    ]


def lethal_seconds(outcome: Outcome) -> NDArray[np.bool_]:
    """Of which seconds VT, VF or flutter fills at least three of the last four: shape (n,), as `measured_at`."""
    ends = outcome.measured_at
    filled = np.zeros(len(ends))
    for rhythm in outcome.reference.labelled(TACHYARRHYTHMIA):
        filled += np.clip(np.minimum(ends, rhythm.end) - np.maximum(ends - _SPAN, rhythm.start), 0, None)
    return filled >= _FILLED


def label(outcome: Outcome, variant: Variant) -> Seconds:
    """A record's seconds after the learning period; of a noisy copy the clean ones too."""
    ends, reference = outcome.measured_at, outcome.reference
    starts = ends - _SPAN
    rhythms = reference.labelled(TACHYARRHYTHMIA)
    lethal = lethal_seconds(outcome)
    weight = np.where(lethal, variant.lethal * np.sqrt(_TYPICAL / max(lethal.sum(), 1)), variant.other)

    def within(spans: Sequence[Episode], margin: float) -> NDArray[np.bool_]:
        wider = [Episode(s.label, s.start - margin, s.end + margin) for s in spans]
        return overlapping(starts, ends, wider) & ~lethal

    noisy, far = within(reference.labelled({NOISE}), 0.0), within(rhythms, _FAR)
    weight[noisy] *= np.where(far[noisy], 0.0, 0.5)
    weight[far] *= 0.3
    weight[within(rhythms, _NEAR)] = 0.0
    if outcome.name == _TORSADE:
        weight[~lethal] *= 0.05
    weight[overlapping(starts, ends, [Episode("", a, b) for a, b in DOUBTFUL.get(outcome.name, ())])] = 0.0
    kept = (ends >= LEARNING_SECONDS + _SPAN) & (weight > 0)
    return Seconds(outcome.measures[kept], lethal[kept], weight[kept], np.full(int(kept.sum()), outcome.name))


@dataclass(frozen=True, slots=True)
class Collected:
    """What the fit is made of.

    Attributes:
        seconds: of all records in all variants.
        population: mean and reach of each of `RELATIVE` and ln R-R, shape (16, 2), float64.
    """

    seconds: Seconds
    population: NDArray[np.float64]


def population(outcomes: Sequence[Outcome]) -> NDArray[np.float64]:
    """Of clean records' learning periods: medians over the records of their medians, and twice of their deviations."""
    medians, deviations = [], []
    for outcome in outcomes:
        ends = outcome.measured_at
        quiet = (ends > _QUIET_SECONDS) & (ends <= LEARNING_SECONDS) & ~lethal_seconds(outcome) & outcome.good
        if quiet.sum() >= 30:
            figures = outcome.extra[quiet, : len(RELATIVE) + 1].astype(np.float64)
            medians.append(np.nanmedian(figures, axis=0))
            deviations.append(np.nanstd(figures, axis=0))
    return np.stack([np.median(medians, axis=0), 2 * np.median(deviations, axis=0)], axis=1).round(4)


def collect(paths: Sequence[Path], played: Sequence[Variant], jobs: int) -> Collected:
    """All records in all variants, the first of them clean, and simulated patients."""
    parts, clean = [], None
    for variant in played:
        done = run(paths, Setup(noise=variant.noise, measures=True), seed=0, jobs=jobs, step=lambda _: None)
        for name, why in done.failures.items():
            raise click.ClickException(f"{name}: {why}")
        parts += [label(outcome, variant) for outcome in done.outcomes if outcome.reference.has_rhythms]
        clean = population(done.outcomes) if clean is None else clean
    assert clean is not None
    for rhythm, patients, seconds, weight in SIMULATED:
        simulated = [Simulated(rhythm, number, seconds, seed=_SEED) for number in range(patients)]
        done = run(simulated, Setup(measures=True), seed=0, jobs=min(jobs, patients), step=lambda _: None)
        parts += [label(outcome, Variant(None, 0.0, weight)) for outcome in done.outcomes]
    together = Seconds(
        np.concatenate([p.measures for p in parts]),
        np.concatenate([p.lethal for p in parts]),
        np.concatenate([p.weight for p in parts]),
        np.concatenate([p.record for p in parts]),
    )
    return Collected(together, clean)


def fit(seconds: Seconds, rows: NDArray[np.bool_]) -> Weights:
    """Weights from some of the seconds."""
    x, w = seconds.measures[rows].astype(np.float64), seconds.weight[rows]
    mean = np.average(x, axis=0, weights=w)
    sd = np.sqrt(np.average((x - mean) ** 2, axis=0, weights=w))
    z = np.clip((x - mean) / sd, -4.0, 4.0)
    fitted = LogisticRegression(C=0.05, max_iter=1000).fit(z, seconds.lethal[rows], sample_weight=w)
    return Weights(np.stack([mean, sd, fitted.coef_[0]], axis=1).round(4), round(float(fitted.intercept_[0]), 4))


def left_out(seconds: Seconds) -> Iterator[tuple[str, Weights]]:
    """For each real record, weights from all others."""
    simulated = {rhythm for rhythm, *_ in SIMULATED}
    for name in np.unique(seconds.record):
        if str(name).rpartition("-")[0] not in simulated:
            yield str(name), fit(seconds, seconds.record != name)


def read(path: Path) -> Mapping[str, Weights]:
    """The left-out weights of a file that this command wrote, by record.

    Raises:
        ValueError: it is another file.
    """
    try:
        found = orjson.loads(path.read_bytes())
        if found["measures"] != list(NAMES):
            raise ValueError(f"{path}: its measures are not those of this release; fit anew")
        return {name: Weights(np.array(one["table"]), one["bias"]) for name, one in found["left_out"].items()}
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a file of `python -m holter.evaluate.lethal`: {error!r}") from error


@click.command()
@click.argument("mitdb", type=FOLDER)
@click.argument("vfdb", type=FOLDER)
@click.argument("nstdb", type=FOLDER)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Left-out weights (JSON).")
@click.option("--constants", type=click.Path(dir_okay=False, path_type=Path), help="Write signal/fitted.py anew.")
def command(mitdb: Path, vfdb: Path, nstdb: Path, out: Path, constants: Path | None) -> None:
    """Fit the VT/VF score of `signal.lethal` to the records of MITDB and VFDB, with the noise of NSTDB."""
    paths = record_paths(mitdb, vfdb)
    collected = collect(paths, variants(nstdb), min(os.cpu_count() or 1, len(paths)))
    seconds = collected.seconds
    everything = fit(seconds, np.ones(len(seconds.record), np.bool_))
    by_record = {name: {"table": w.table.tolist(), "bias": w.bias} for name, w in left_out(seconds)}
    out.write_bytes(orjson.dumps({"measures": list(NAMES), "left_out": by_record}, option=orjson.OPT_INDENT_2) + b"\n")
    text = module([path.name for path in paths], collected.population, everything)
    if constants is not None:
        constants.write_text(text)
    click.echo(f"records: {', '.join(path.name for path in paths)}; {len(seconds.record)} seconds")
    click.echo(text)


def module(records: Sequence[str], means: NDArray[np.float64], weights: Weights) -> str:
    """The source of `signal/fitted.py`."""
    names = (*RELATIVE, "lrr")
    lines = [
        '"""Constants of the VT/VF score, from `python -m holter.evaluate.lethal MITDB VFDB NSTDB`; not for editing.',
        "",
        *textwrap.wrap(f"Records: {', '.join(records)}.", 118),
        '"""',
        "",
        "POPULATION = {",
        *(f'    "{name}": {mean:.4f},' for name, mean in zip(names, means[:, 0].tolist(), strict=True)),
        "}",
        '"""Means that a patient begins with."""',
        "REACH = {",
        *(f'    "{name}": {reach:.4f},' for name, reach in zip(names, means[:, 1].tolist(), strict=True)),
        "}",
        '"""How far from the own mean a second may pull it."""',
        f"BIAS = {weights.bias}",
        "WEIGHTS = {",
        *(
            f'    "{name}": ({mean:.4f}, {sd:.4f}, {weight:.4f}),'
            for name, (mean, sd, weight) in zip(NAMES, weights.table.tolist(), strict=True)
        ),
        "}",
        '"""Of each measure its mean, standard deviation and weight; they are collinear and only mean something '
        'together."""',
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    command()
