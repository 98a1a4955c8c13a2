"""`holter plan`: the objects that the operator would make of a cohort, as YAML."""

import sys
from importlib.metadata import version
from pathlib import Path

import click

from holter_operator.api.cohort import Cohort, parse
from holter_operator.api.manifest import Manifest
from holter_operator.api.manifest import parse as read
from holter_operator.build import names
from holter_operator.build.everything import objects
from holter_operator.build.given import (
    POD_MONITOR,
    PROMETHEUS_RULE,
    Component,
    Connection,
    ConsoleTokens,
    DeviceKey,
    Given,
)
from holter_operator.build.yaml import dump

INVALID = 1
_PREAMBLE = """\
# What stands in <…> is made by the operator or known to it alone, as are the owner's uid, the image and InfluxDB's url.
# Models are left out: they come with the first refit.
"""


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("-n", "--namespace", default="default", show_default=True, help="Of cohorts that do not name one.")
@click.option("--image", default=f"holter-services:{version('holter')}", show_default=True, help="Of all containers.")
@click.option("--influxdb", metavar="URL", default="http://influxdb:8086", show_default=True, help="Of the store.")
@click.pass_context
def plan(context: click.Context, file: Path, namespace: str, image: str, influxdb: str) -> None:
    """Print the objects of each MonitoredCohort in FILE, in the order in which they are applied.

    FILE is validated first, as `holter validate` does; - is standard input. Exits with 1 when it is not valid.
    """
    name = "<stdin>" if file == Path("-") else str(file)
    try:
        manifest = read(sys.stdin.read() if file == Path("-") else file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise click.BadParameter(f"{name} is not UTF-8 at byte {error.start}") from error
    faults = _faults(name, manifest)
    if faults:
        click.echo("\n".join(faults), err=True)
        context.exit(INVALID)
    click.echo(_PREAMBLE, nl=False)
    for checked in manifest.cohorts:
        cohort = parse(checked.document, namespace)
        click.echo(dump(objects(cohort, placeholders(cohort, image, influxdb))), nl=False)


def placeholders(cohort: Cohort, image: str, influxdb: str) -> Given:
    """All that a running cohort is given, with no secret in it and no model."""
    connection = Connection(influxdb, "<organisation>", names.bucket(cohort), "<token for this component and bucket>")
    return Given(
        images=dict.fromkeys(Component, image),
        owner_uid="00000000-0000-0000-0000-000000000000",
        kinds=frozenset({POD_MONITOR, PROMETHEUS_RULE}),
        influxdb=dict.fromkeys(Component, connection),
        device_key=DeviceKey(current="<32 random bytes>"),
        console_tokens=ConsoleTokens(view="<random token>", acknowledge="<another random token>"),
    )


def _faults(name: str, manifest: Manifest) -> list[str]:
    found = [fault for cohort in manifest.cohorts for fault in cohort.faults]
    if manifest.syntax:
        found.append(manifest.syntax)
    if not found and not manifest.cohorts:
        return [f"{name}: no MonitoredCohort found: nothing to plan"]
    return [f"{name}:{fault.line}: {fault}" if fault.line else f"{name}: {fault}" for fault in found]
