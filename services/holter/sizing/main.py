"""`holter size`: what a number of patients needs, from measured figures."""

from dataclasses import asdict, fields, replace
from pathlib import Path

import click
import orjson

from holter.sizing.figures import TRANSPORTS, Figures, FiguresError
from holter.sizing.plan import Assumptions, Sizing, size

_GIB = 1 << 30


@click.command(name="size")
@click.option("--patients", type=click.IntRange(1), required=True, help="At 250 Hz, one lead.")
@click.option("--transport", type=click.Choice(TRANSPORTS), default="websocket", show_default=True)
@click.option(
    "--figures",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A bench.json of your own machine instead of the figures that ship with Holter.",
)
@click.option("--retention-days", type=click.FloatRange(0.05), help="Of samples in InfluxDB.  [default: 30]")
@click.option("--influx-cores", type=click.IntRange(1), help="Of one InfluxDB node.  [default: 8]")
@click.option("--outage-minutes", type=click.FloatRange(1), help="Of InfluxDB that the log bridges.  [default: 60]")
@click.option("--json", "as_json", is_flag=True, help="The plan as JSON.")
def size_command(
    *,
    patients: int,
    transport: str,
    figures: Path | None,
    retention_days: float | None,
    influx_cores: int | None,
    outage_minutes: float | None,
    as_json: bool,
) -> None:
    """Say how many replicas, cores, memory, InfluxDB nodes and how much disk a number of patients needs."""
    given = {
        "retention_days": retention_days,
        "influx_cores": influx_cores,
        "outage": None if outage_minutes is None else outage_minutes * 60,
    }
    assumptions = replace(Assumptions(), **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    try:
        known = Figures.load(figures)
        if transport not in known.ingest_cpu_us:
            raise FiguresError(f"--transport {transport}: not measured; {', '.join(known.ingest_cpu_us)} are")
    except FiguresError as error:
        raise click.ClickException(str(error)) from error
    sizing = size(patients, transport, known, assumptions)
    if as_json:
        click.echo(orjson.dumps(asdict(sizing), option=orjson.OPT_INDENT_2))
        return
    for line in describe(sizing, transport, known, assumptions):
        click.echo(line)


def describe(sizing: Sizing, transport: str, figures: Figures, assumptions: Assumptions) -> list[str]:
    """The plan in lines of text."""
    each = "" if sizing.cohorts == 1 else f"; each of {sizing.cohorts} cohorts"
    lines = [f"{sizing.patients:,} patients at 250 Hz over {transport}{each}:", ""]
    lines.append(f"{'':12}{'replicas':>10}{'cores used':>12}{'memory each':>13}{'disk each':>12}")
    for name, part in (("ingest", sizing.ingest), ("inference", sizing.inference)):
        lines.append(
            f"{name:12}{part.replicas:>10}{part.cores:>12.2f}{part.memory / _GIB:>9.2f} GiB{part.disk / _GIB:>8.1f} GiB"
        )
    influx = sizing.influx
    lines += [
        f"{'InfluxDB':12}{1:>10}{influx.cores / influx.replicas:>12.2f}{influx.memory / _GIB:>9.0f} GiB"
        f"{influx.disk / 1e12:>9.2f} TB",
        "",
        f"In all {sizing.cores:.2f} cores of Holter's own, {influx.cores:.2f} of {influx.replicas} InfluxDB, and "
        f"{sizing.bytes_a_day / 1e12:.3f} TB a day to disk.",
    ]
    if sizing.cohorts > 1:
        share = -(-sizing.patients // sizing.cohorts)
        lines.append(
            f"One MonitoredCohort has one InfluxDB: make {sizing.cohorts} of {share:,} patients, each with a Secret of"
            " its own in storage.influxdb.connectionSecretRef."
        )
    lines += ["", f"Measured: {figures.measured}.", "Assumed:"]
    texts = {
        "busy": f"a replica uses {assumptions.busy:.0%} of a core on average; a worker half of that, for it may have"
        " to stand in for its neighbour; one ingest replica may be gone",
        "patients_a_replica": f"ingest.maxPatientsPerReplica is {assumptions.patients_a_replica:,}",
        "outage": f"ingest's log (ingest.log.size) bridges {assumptions.outage / 60:g} minutes without InfluxDB",
        "influx_cores": f"an InfluxDB node has {assumptions.influx_cores} cores, and writes and Holter's queries use "
        f"{assumptions.influx_busy:.0%} of them; 16 GiB of memory",
        "retention_days": f"samples are kept {assumptions.retention_days:g} days",
    }
    lines += [f"  - {texts[field.name]}" for field in fields(assumptions) if field.name in texts]
    return lines
