"""`holter evaluate`: detection quality on a folder of annotated records."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from holter.config import PatientProfile
from holter.evaluate import noise as noises
from holter.evaluate.files import write_alerts, write_windows
from holter.evaluate.folder import FOLDER, record_paths
from holter.evaluate.lethal import read as read_weights
from holter.evaluate.noise import Noise
from holter.evaluate.playing import LEARNING_SECONDS, Setup, Simulated
from holter.evaluate.report import as_json, report
from holter.evaluate.running import run
from holter.evaluate.tables import tables
from holter.inference.profiles import ProfilesError, parse
from holter.signal.lethal import Weights
from holter.sim.recording import RecordError, device_id

_WIDE = 200
_HEALTHY, _HOURS_EACH = ("resting", "active", "noise"), 2.0
"""Simulated patients of whom nothing physiological should be told."""
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("folder", type=FOLDER, metavar="[DIR]", required=False)
@click.option(
    "--simulate",
    type=click.FloatRange(0.1),
    metavar="HOURS",
    help="So many hours of simulated patients instead: at rest, on their feet, and with noise.",
)
@click.option("--windows", type=_FILE, metavar="FILE.csv", help="Write every scored window.")
@click.option("--alerts", type=_FILE, metavar="FILE.csv", help="Write every alert.")
@click.option("--json", "json_file", type=_FILE, metavar="FILE", help="Write all figures, for machines.")
@click.option("--channel", help="Name or number.  [default: MLII where there is one, else the first]")
@click.option(
    "--noise", type=click.Path(path_type=Path), metavar="RECORD", help="Add this noise, as the Noise Stress Test does."
)
@click.option("--snr", type=float, metavar="DB", help="Signal-to-noise ratio of --noise.")
@click.option("--noise-channel", help="Of --noise: name or number.  [default: its last]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the forest.")
@click.option(
    "--profiles",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Patient profiles (YAML), by record name.",
)
@click.option(
    "--profile",
    "every",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Of every record that --profiles does not name: paced, knownAF, hrLow, hrHigh, mutedUntil.",
)
@click.option(
    "--left-out",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Judge VT and VF of each record by weights without it (python -m holter.evaluate.lethal).",
)
@click.option("--jobs", type=click.IntRange(1), help="Processes.  [default: one for each core]")
def evaluate(
    folder: Path | None,
    simulate: float | None,
    windows: Path | None,
    alerts: Path | None,
    json_file: Path | None,
    channel: str | None,
    noise: Path | None,
    snr: float | None,
    noise_channel: str | None,
    seed: int,
    profiles: Path | None,
    every: tuple[str, ...],
    left_out: Path | None,
    jobs: int | None,
) -> None:
    """Measure detection on every WFDB record of DIR, through the worker's own code.

    The first five minutes of each record are for learning, without labels: a model is fitted on all their windows. The
    rest is scored against the annotations (.atr): beats, windows, episodes, alerts. docs/evaluation.md tells how.
    """
    paths = _sources(folder, simulate, seed)
    for file in (windows, alerts, json_file):
        if file is not None and not file.parent.is_dir():
            raise click.ClickException(f"{file}: its folder is not there")
    known = {**_of_all(every, [source.name for source in paths]), **_profiles(profiles)}
    setup = Setup(channel, _noise(noise, snr, noise_channel), known, _weights(left_out))
    jobs = min(jobs or os.cpu_count() or 1, len(paths))
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
    with progress:
        task = progress.add_task(f"{len(paths)} records", total=1.0)
        done = run(paths, setup, seed=seed, jobs=jobs, step=lambda share: progress.update(task, completed=share))
    if not done.outcomes:
        whys = "\n".join(f"{name}: {why}" for name, why in done.failures.items())
        raise click.ClickException(f"{folder}: no record could be read\n{whys}")
    options = {
        "folder": str(folder) if folder else None,
        "simulate": simulate,
        "channel": channel,
        "noise": str(noise) if noise else None,
        "snr": snr,
        "seed": seed,
        "profiles": str(profiles) if profiles else None,
        "profile": list(every),
        "left_out": str(left_out) if left_out else None,
    }
    figures = report(done, options, noise=noise is not None)
    if windows:
        write_windows(windows, done.outcomes)
    if alerts:
        write_alerts(alerts, done.outcomes)
    if json_file:
        json_file.write_bytes(as_json(figures))
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDE)
    for item in tables(figures):
        console.print(item, highlight=False)


def _sources(folder: Path | None, hours: float | None, seed: int) -> Sequence[Path | Simulated]:
    if (folder is None) == (hours is None):
        raise click.UsageError("either DIR or --simulate HOURS is expected")
    if folder is not None:
        return record_paths(folder)
    assert hours is not None
    patients = max(len(_HEALTHY), round(hours / _HOURS_EACH))
    seconds = LEARNING_SECONDS + round(3600 * hours / patients)
    return [Simulated(_HEALTHY[k % len(_HEALTHY)], k, seconds, seed) for k in range(patients)]


def _noise(path: Path | None, snr: float | None, channel: str | None) -> Noise | None:
    if (path is None) != (snr is None):
        raise click.UsageError("--noise and --snr go together")
    if path is None or snr is None:
        return None
    try:
        return noises.read(path, snr, channel)
    except RecordError as error:
        raise click.ClickException(f"--noise {error}") from error


def _weights(path: Path | None) -> Mapping[str, Weights] | None:
    if path is None:
        return None
    try:
        return read_weights(path)
    except ValueError as error:
        raise click.ClickException(f"--left-out {error}") from error


def _of_all(fields: Sequence[str], names: Sequence[str]) -> Mapping[str, PatientProfile]:
    """One profile for all, read as a ward's file is."""
    if not fields:
        return {}
    if any("=" not in one for one in fields):
        raise click.UsageError(f"--profile {', '.join(fields)}: FIELD=VALUE is expected, as in hrHigh=150")
    entry = ", ".join(one.replace("=", ": ", 1) for one in fields)
    try:
        found = parse(f"record: {{{entry}}}".encode())
    except ProfilesError as error:
        raise click.ClickException(f"--profile: {error}") from error
    if found.faults:
        raise click.ClickException("\n".join(f"--profile {f.field}: {f.message}" for f in found.faults))
    return {device_id("", name): found.profiles["record"] for name in names}


def _profiles(path: Path | None) -> Mapping[str, PatientProfile]:
    if path is None:
        return {}
    try:
        found = parse(path.read_bytes())
    except ProfilesError as error:
        raise click.ClickException(f"--profiles {path}: {error}") from error
    if found.faults:
        faults = "\n".join(f"line {f.line}: {f.device} {f.field}: {f.message}" for f in found.faults)
        raise click.ClickException(f"--profiles {path}:\n{faults}")
    return dict(found.profiles)
