"""`holter simulate`: a ward of simulated patients sends to an ingest."""

import random
import time
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import click

from holter import logs
from holter.chunk import MICROSECONDS, Chunk
from holter.sim.endpoints import Transport, resolve, target_options
from holter.sim.running import conclude, send
from holter.sim.scenario import SCENARIOS
from holter.sim.sender import Schedule
from holter.sim.ward import DEMO, Bed, mix, ward, write_truths

_JITTER_SECONDS = 0.01


@click.command()
@click.option("--patients", type=click.IntRange(1), help="A ward of this size instead of the demo's.")
@click.option("--rhythm", "rhythms", type=click.Choice(list(SCENARIOS)), multiple=True, help="One patient each.")
@target_options
@click.option(
    "--onset",
    type=click.FloatRange(0),
    default=30.0,
    show_default=True,
    help="Seconds of live time after which rhythms change.",
)
@click.option("--duration", type=click.FloatRange(1), help="Seconds of live time to send; without it until Ctrl-C.")
@click.option(
    "--speed",
    type=click.FloatRange(0.1),
    default=1.0,
    show_default=True,
    help="Event seconds per second; above 1 needs --duration.",
)
@click.option(
    "--past",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seconds of history to send at once, before it goes live.",
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="The same seed, the same patients.")
@click.option("--truth", type=click.Path(path_type=Path, dir_okay=False), help="Write what has to be found, as JSON.")
@click.option("--lanes", type=click.IntRange(1, 64), default=4, show_default=True, help="Connections.")
def simulate(
    patients: int | None,
    rhythms: tuple[str, ...],
    transport: Transport,
    state: Path | None,
    url: str | None,
    udp: str | None,
    keys: Path | None,
    onset: float,
    duration: float | None,
    speed: float,
    past: int,
    seed: int,
    truth: Path | None,
    lanes: int,
) -> None:
    """Send simulated patients' ECG to an ingest.

    Without --patients and --rhythm it is the demo's ward: two at rest, one running, premature beats, ventricular
    tachycardia, ventricular fibrillation, asystole, and a loose lead.
    """
    if patients is not None and rhythms:
        raise click.UsageError("--patients and --rhythm exclude each other")
    if speed > 1 and duration is None:
        raise click.UsageError("--speed above 1 needs --duration, or event time would run ahead of the clock")
    logs.configure("simulate")
    target = resolve(transport, state=state, url=url, udp=udp, keys=keys)
    start = time.time()
    ahead = (duration or 0.0) * max(0.0, 1 - 1 / speed)
    live = round((start - ahead) * MICROSECONDS)
    beds = ward(
        rhythms or (mix(patients) if patients else DEMO),
        base=live - past * MICROSECONDS,
        onset=past + onset,
        seed=seed,
    )
    if truth is not None:
        write_truths(truth, beds, live)
    end = live + round(duration * MICROSECONDS) if duration is not None else None
    rng = random.Random(seed)
    counts = send(
        [_stream(bed, end) for bed in beds],
        Schedule(start, live, speed),
        target,
        lanes=lanes,
        jitter=lambda: min(rng.expovariate(1 / _JITTER_SECONDS), 1.0),
    )
    conclude(counts)


def _stream(bed: Bed, end: int | None) -> Iterator[Chunk]:
    chunks = bed.patient.chunks(bed.base)
    return chunks if end is None else takewhile(lambda chunk: chunk.end <= end, chunks)
