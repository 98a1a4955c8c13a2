"""`holter validate`: schema, defaults and rules of the CRD, without a cluster."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from holter_operator.api.documents import SyntaxFault
from holter_operator.api.fault import Fault
from holter_operator.api.manifest import Checked, Identity, Manifest, as_they_are, parse

INVALID, UNREADABLE = 1, 2


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--old", metavar="FILE", help="What the cohorts are now: also checks that nothing fixed is changed.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_context
def validate(context: click.Context, files: tuple[str, ...], old: str | None, output: str) -> None:
    """Validate MonitoredCohorts as the API server would, without one.

    FILE is a YAML or JSON file of one or many documents; - is standard input. What is not a MonitoredCohort is skipped.
    Exits with 0 when all cohorts are valid, 1 when one is not or there is none, 2 when a file cannot be read.
    """
    older = _older(old) if old else None
    manifests = {_name(file): parse(_read(file), older) for file in files}
    found = any(manifest.cohorts for manifest in manifests.values())
    valid = found and all(manifest.valid for manifest in manifests.values())
    if output == "json":
        click.echo(json.dumps(_as_json(manifests, valid), ensure_ascii=False, indent=2))
    else:
        for file, manifest in manifests.items():
            for line, is_fault in _lines(file, manifest, old):
                click.echo(line, err=is_fault)
        if not found and not any(manifest.syntax for manifest in manifests.values()):
            click.echo("no MonitoredCohort found: nothing was validated", err=True)
    context.exit(0 if valid else INVALID)


def _name(file: str) -> str:
    return "<stdin>" if file == "-" else file


def _read(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
    except UnicodeDecodeError as error:
        reason = f"not UTF-8 at byte {error.start}"
    raise _Unreadable(file, reason)


class _Unreadable(click.ClickException):
    exit_code = UNREADABLE

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(f"cannot read {_name(file)}: {reason}")


def _older(file: str) -> Mapping[Identity, Mapping[str, Any]]:
    try:
        older = as_they_are(_read(file))
    except SyntaxFault as fault:
        raise _Unreadable(file, f"not YAML, line {fault.line}: {fault}") from fault
    if not older:
        raise _Unreadable(file, "no MonitoredCohort in it")
    return older


def _lines(file: str, manifest: Manifest, old: str | None) -> Iterator[tuple[str, bool]]:
    """What to print of a file, and whether it is a fault."""
    for note in manifest.skipped:
        yield f"{_place(file, note.line)}: {note}", False
    for cohort in manifest.cohorts:
        for fault in cohort.faults:
            yield f"{_place(file, fault.line)}: {fault}", True
        yield f"{_place(file, cohort.line)}: {cohort.title} {_verdict(cohort)}", bool(cohort.faults)
        if old and not cohort.compared:
            yield (
                f"{_place(file, cohort.line)}: {cohort.title} is not in {_name(old)}: validated as a new cohort",
                False,
            )
    if manifest.syntax:
        yield f"{_place(file, manifest.syntax.line)}: {manifest.syntax}", True


def _place(file: str, line: int | None) -> str:
    return file if line is None else f"{file}:{line}"


def _verdict(cohort: Checked) -> str:
    count = len(cohort.faults)
    return f"is not valid: {count} fault{'s' if count > 1 else ''}" if count else "is valid"


def _as_json(manifests: Mapping[str, Manifest], valid: bool) -> dict[str, Any]:
    def fault(item: Fault) -> dict[str, Any]:
        return {"line": item.line, "path": item.path, "message": item.message}

    def cohort(item: Checked) -> dict[str, Any]:
        namespace, name = item.identity
        return {
            "namespace": namespace or None,
            "name": name or None,
            "line": item.line,
            "valid": not item.faults,
            "compared": item.compared,
            "faults": [fault(each) for each in item.faults],
        }

    files = [
        {
            "file": file,
            "valid": manifest.valid,
            "cohorts": [cohort(each) for each in manifest.cohorts],
            "skipped": [fault(each) for each in manifest.skipped],
            "syntax": fault(manifest.syntax) if manifest.syntax else None,
        }
        for file, manifest in manifests.items()
    ]
    return {"valid": valid, "files": files}
