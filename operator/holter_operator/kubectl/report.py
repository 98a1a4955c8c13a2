"""`kubectl holter report`: a bundle for whoever is asked for help, without patient data and secrets."""

import io
import json
import secrets
import tarfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import click
from rich.progress import BarColumn, Progress, TextColumn

from holter_operator.build.meta import COHORT_LABEL, Object
from holter_operator.io.kube import KubeError
from holter_operator.kubectl import redaction
from holter_operator.kubectl.access import Access, Unseen, look
from holter_operator.kubectl.findings import findings
from holter_operator.kubectl.options import Target, target_options
from holter_operator.kubectl.redaction import Pseudonyms
from holter_operator.kubectl.render import document as as_json
from holter_operator.kubectl.snapshot import OPERATOR, read_metrics, take
from holter_operator.reconcile.kinds import CHILDREN, CONFIG_MAP, DEPLOYMENT, EVENT, JOB, POD, SECRET, Kind

_LINES = 2000
_ABOUT = """What this is: the state of one Holter cohort, for support.
Left out: values of Secrets, samples, alerts, device ids, descriptions, and addresses beyond their host.
In logs devices and people have pseudonyms that hold within this file alone; they are there only with --logs.
"""

Step = tuple[str, Callable[[], str]]
"""A file's name, and what writes it."""


@click.command()
@click.argument("cohort", required=False)
@target_options
@click.option(
    "--file", "path", type=click.Path(path_type=Path, dir_okay=False), help="[default: holter-NAME-TIME.tar.gz]"
)
@click.option("--logs", is_flag=True, help=f"The last {_LINES} lines of each pod too, with pseudonyms for devices.")
@click.option("--measure", type=click.FloatRange(0, 60), default=2, show_default=True, help="As with `status`.")
def report(cohort: str | None, target: Target, path: Path | None, logs: bool, measure: float) -> None:
    """Collect what support needs to know of COHORT into one file. It holds no patient data and no secrets.

    What you have no right to see is left out, and said so in the file.
    """
    access = target.connect()
    document = target.cohort(access, cohort)
    now = datetime.now(UTC)
    name = document["metadata"]["name"]
    path = path or Path(f"holter-{name}-{now:%Y%m%d-%H%M%S}.tar.gz")
    steps = tuple(_steps(access, document, Pseudonyms(secrets.token_bytes(16)), logs=logs, measure=measure))
    console, missing = target.console(), {}
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with (
        tarfile.open(path, "x:gz") as bundle,
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
    ):
        task = progress.add_task("report", total=len(steps))
        for file, write in steps:
            progress.update(task, description=file)
            found = look(write)
            if isinstance(found, Unseen):
                missing[file] = found.why
            else:
                _add(bundle, f"{path.name.removesuffix('.tar.gz')}/{file}", found, now)
            progress.advance(task)
        _add(bundle, f"{path.name.removesuffix('.tar.gz')}/missing.json", json.dumps(missing, indent=2), now)
    text = f"{path}: {len(steps) - len(missing)} files"
    if missing:
        text += f"; {len(missing)} could not be seen: {', '.join(missing)}"
    target.say(text, file=str(path), missing=missing)


def _add(bundle: tarfile.TarFile, name: str, text: str, now: datetime) -> None:
    content = text.encode()
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = len(content), int(now.timestamp()), 0o600
    bundle.addfile(entry, io.BytesIO(content))


def _steps(access: Access, cohort: Object, pseudonyms: Pseudonyms, *, logs: bool, measure: float) -> Iterator[Step]:
    namespace, name = cohort["metadata"]["namespace"], cohort["metadata"]["name"]
    labels = f"{COHORT_LABEL}={name}"

    def listed(kind: Kind, shown: Callable[[Object], Object] = redaction.outline, labels: str = labels) -> str:
        found, _ = access.kube.list(kind, namespace, labels=labels)
        return json.dumps([shown(each) for each in found], indent=2)

    def events() -> str:
        found, _ = access.kube.list(EVENT, namespace)
        ours = [e for e in found if str(e["involvedObject"].get("name", "")).startswith(name)]
        return json.dumps([redaction.outline(each) for each in ours], indent=2)

    def status() -> str:
        seen = redaction.seen(take(access, cohort, measure=measure, alerts=0), pseudonyms)
        told = as_json(seen, findings(seen))
        return json.dumps(told, indent=2)

    def versions() -> str:
        return json.dumps({"kubectl-holter": version("holter"), "server": dict(access.version())}, indent=2)

    shown = {SECRET: redaction.secret, CONFIG_MAP: redaction.config_map}
    yield "README.txt", lambda: _ABOUT
    yield "versions.json", versions
    yield "cohort.json", lambda: json.dumps(redaction.cohort(cohort), indent=2)
    yield "status.json", status
    yield "events.json", events
    for kind in (*CHILDREN, POD, JOB):
        yield f"objects/{kind.plural}.json", lambda kind=kind: listed(kind, shown.get(kind, redaction.outline))  # type: ignore[misc]
    yield (
        "operator.json",
        lambda: json.dumps(
            [redaction.outline(each) for each in access.kube.list(DEPLOYMENT, labels=OPERATOR)[0]], indent=2
        ),
    )
    pods = look(lambda: access.kube.list(POD, namespace, labels=labels)[0])
    if isinstance(pods, Unseen):
        return
    for pod, text in (read_metrics(access, namespace, pods)[0] if measure else {}).items():
        yield f"metrics/{pod}.txt", lambda text=text: text  # type: ignore[misc]
    if logs:
        yield from _logs(access, namespace, [pod["metadata"]["name"] for pod in pods], pseudonyms)
        yield from _operators_logs(access, pseudonyms)


def _logs(access: Access, namespace: str, pods: list[str], pseudonyms: Pseudonyms) -> Iterator[Step]:
    for pod in pods:
        yield f"logs/{pod}.jsonl", lambda pod=pod: redaction.log(access.pod_log(namespace, pod, _LINES), pseudonyms)  # type: ignore[misc]


def _operators_logs(access: Access, pseudonyms: Pseudonyms) -> Iterator[Step]:
    try:
        pods, _ = access.kube.list(POD, labels=OPERATOR)
    except KubeError:
        return
    for pod in pods:
        yield from _logs(access, pod["metadata"]["namespace"], [pod["metadata"]["name"]], pseudonyms)
