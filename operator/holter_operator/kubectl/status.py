"""`kubectl holter status`: one screen, and an exit code."""

import json
import signal
from datetime import UTC, datetime
from threading import Event
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from holter_operator.io.kube import KubeError
from holter_operator.kubectl import render
from holter_operator.kubectl.access import Access
from holter_operator.kubectl.findings import exit_code, findings
from holter_operator.kubectl.options import CANNOT_TELL, Target, explained, target_options
from holter_operator.kubectl.snapshot import cohorts, take


@click.command()
@click.argument("cohort", required=False)
@target_options
@click.option("-A", "--all-namespaces", is_flag=True, help="All cohorts of the cluster, a line each.")
@click.option("-w", "--watch", is_flag=True, help="Look again and again until Ctrl-C; with -o json a line each time.")
@click.option("--interval", type=click.FloatRange(min=0.5), default=5, show_default=True, help="Seconds, with --watch.")
@click.option(
    "--measure",
    type=click.FloatRange(min=0, max=60),
    default=2,
    show_default=True,
    help="Seconds for which the pods' metrics are measured; 0: pods are not asked.",
)
@click.option("--alerts", type=click.IntRange(0, 50), default=5, show_default=True, help="How many; 0: none.")
def status(
    cohort: str | None,
    target: Target,
    all_namespaces: bool,
    watch: bool,
    interval: float,
    measure: float,
    alerts: int,
) -> None:
    """Show how COHORT is, what is wrong and what to do next.

    Without COHORT the only one of the namespace, or all of them, a line each.
    Exit code 0: well; 1: not well; 2: cannot tell.
    """
    access = target.connect()
    if all_namespaces or (cohort is None and _several(target, access)):
        _overview(target, access, None if all_namespaces else access.namespace)
    if not watch:
        picture, document, code = _look(target, access, cohort, measure, alerts)
        if target.output == "json":
            click.echo(json.dumps(document, indent=2))
        else:
            target.console().print(picture, crop=False)
        raise click.exceptions.Exit(code)
    _watch(target, access, cohort, interval, measure, alerts)


def _several(target: Target, access: Access) -> bool:
    try:
        return len(cohorts(access, access.namespace)) > 1
    except KubeError as error:
        target.fail(explained(error))


def _overview(target: Target, access: Access, namespace: str | None) -> None:
    try:
        found = cohorts(access, namespace)
    except KubeError as error:
        target.fail(explained(error))
    phases = {(each.get("status") or {}).get("phase") for each in found}
    code = 1 if "Degraded" in phases else 0 if phases <= {"Ready", "Paused"} else CANNOT_TELL
    if target.output == "json":
        told = [{"namespace": c["metadata"]["namespace"], "name": c["metadata"]["name"]} | _brief(c) for c in found]
        click.echo(json.dumps({"cohorts": told}, indent=2))
    else:
        target.console().print(render.overview(found, datetime.now(UTC)) if found else "no cohorts")
    raise click.exceptions.Exit(code)


def _brief(cohort: dict[str, Any]) -> dict[str, Any]:
    status = cohort.get("status") or {}
    return {"phase": status.get("phase"), "revision": (status.get("model") or {}).get("revision")}


def _look(
    target: Target, access: Access, name: str | None, measure: float, alerts: int
) -> tuple[RenderableType, dict[str, Any], int]:
    document = target.cohort(access, name)
    if measure and target.output == "text" and target.console().is_terminal:
        with target.console().status(f"measuring for {measure:g} s"):
            seen = take(access, document, measure=measure, alerts=alerts)
    else:
        seen = take(access, document, measure=measure, alerts=alerts)
    found = findings(seen)
    return render.screen(seen, found), render.document(seen, found), exit_code(found)


def _watch(target: Target, access: Access, name: str | None, interval: float, measure: float, alerts: int) -> None:
    """Until Ctrl-C, by the end of the look that is under way; a look that fails is told and tried again."""
    code, console, ended = CANNOT_TELL, target.console(), Event()

    def end(*_: object) -> None:
        if ended.is_set():  # once more: at once
            raise KeyboardInterrupt
        ended.set()

    signal.signal(signal.SIGINT, end)  # raised anywhere, it may be lost in what calls nobody back
    with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
        while not ended.is_set():
            picture: RenderableType
            try:
                seen = take(access, target.cohort(access, name), measure=measure, alerts=alerts)
                found = findings(seen)
                picture = render.screen(seen, found, whole_lines=not console.is_terminal)
                code, document = exit_code(found), render.document(seen, found)
            except KubeError as error:
                picture, code, document = Text(explained(error), style="red"), CANNOT_TELL, {"error": str(error)}
            except click.exceptions.Exit:  # said already
                picture, code, document = Text("not seen", style="red"), CANNOT_TELL, {"error": "not seen"}
            if target.output == "json":
                click.echo(json.dumps(document))
            else:
                at = datetime.now().astimezone().strftime("%H:%M:%S")
                live.update(Group(picture, Text(f"\n{at}, again in {interval:g} s", style="dim")), refresh=True)
            ended.wait(interval)
    raise click.exceptions.Exit(code)
