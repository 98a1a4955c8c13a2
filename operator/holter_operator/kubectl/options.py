"""What all commands share: which cluster, which cohort, how to answer."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import click
from rich.console import Console

from holter_operator.build.meta import Object
from holter_operator.io.kube import KubeError
from holter_operator.kubectl.access import Access, AccessError
from holter_operator.kubectl.snapshot import cohorts
from holter_operator.reconcile.kinds import COHORT

CANNOT_TELL = 2


@dataclass(frozen=True, slots=True)
class Target:
    """Which cluster and namespace.

    Attributes:
        kubeconfig: a file, or None for the usual places.
        context: of it, or None for the current one.
        namespace: or None for the context's.
        output: text or json.
    """

    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None
    output: str = "text"

    def connect(self) -> Access:
        """Connect.

        Raises:
            click.exceptions.Exit: said why, with code 2.
        """
        try:
            return Access(self.kubeconfig, self.context, self.namespace)
        except AccessError as error:
            self.fail(str(error))

    def console(self) -> Console:
        """For people: on stderr when stdout is for a program."""
        return Console(stderr=self.output == "json", highlight=False)

    def say(self, text: str, **document: Any) -> None:
        """An outcome: a sentence, or a document."""
        if self.output == "json":
            click.echo(json.dumps(document))
        else:
            click.echo(text)

    def fail(self, why: str, code: int = CANNOT_TELL) -> NoReturn:
        """Say why not, and end."""
        if self.output == "json":
            click.echo(json.dumps({"error": why}))
        click.echo(f"Error: {why}", err=True)
        raise click.exceptions.Exit(code)

    def cohort(self, access: Access, name: str | None) -> Object:
        """The cohort of this name, or the only one of the namespace."""
        try:
            if name:
                found = access.kube.get(COHORT, access.namespace, name)
                if found is not None:
                    return found
            there = cohorts(access, access.namespace)
        except KubeError as error:
            self.fail(explained(error))
        if name or len(there) != 1:
            known = ", ".join(each["metadata"]["name"] for each in there) or "none"
            what = f"no cohort {name} in namespace {access.namespace}" if name else "which cohort?"
            self.fail(f"{what}: namespace {access.namespace} has {known}; -n names another namespace")
        return there[0]


def explained(error: KubeError) -> str:
    """An error of the API server, with what would be right."""
    if error.status == 404 and "the server could not find the requested resource" in str(error):
        return "this cluster knows no MonitoredCohort: install the chart charts/holter"
    if error.status in (401, 403):
        return f"{error}; ask for the role `edit` in that namespace"
    return str(error)


def target_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of `Target`, given to the command as `target`; those of `holter --context …` are the defaults."""

    def with_target(
        kubeconfig: str | None, context: str | None, namespace: str | None, output: str, **more: Any
    ) -> None:
        outer = (click.get_current_context().find_root().obj or {}) if click.get_current_context() else {}
        command(
            target=Target(
                kubeconfig or outer.get("kubeconfig"),
                context or outer.get("context"),
                namespace or outer.get("namespace"),
                output,
            ),
            **more,
        )

    with_target.__doc__, with_target.__name__ = command.__doc__, command.__name__
    with_target.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    for option in (
        click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True),
        click.option("--kubeconfig", metavar="FILE", help="Which kubeconfig.  [default: KUBECONFIG, ~/.kube/config]"),
        click.option("--context", metavar="NAME", help="Which of its contexts.  [default: the current one]"),
        click.option("-n", "--namespace", metavar="NAME", help="Where.  [default: that of the context]"),
    ):
        option(with_target)
    return with_target


def called_as(argv: Sequence[str] = sys.argv) -> str:
    """How the person called us, for usage lines."""
    return "kubectl holter" if os.path.basename(argv[0]).startswith("kubectl") else "holter"  # noqa: PTH119 - argv
