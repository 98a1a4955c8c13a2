"""`holter`: one command whose subcommands are entry points, each loaded only when it is called."""

import sys
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import NoReturn

import click

# An extra is there when the library that only it brings is there.
_EXTRAS = {"operator": "kopf", "services": "numba", "records": "wfdb", "bench": "rich"}
_SUMMARIES = {
    "validate": "Check cohort files against the CRD: schema, defaults and CEL rules, offline.",
    "plan": "Print every object that a cohort becomes, as YAML.",
    "operate": "Watch cohorts on a Kubernetes cluster and keep them running (a service).",
    "up": "Run a cohort on this machine and keep it as its file says.",
    "demo": "Run a cohort of simulated patients here and tell who was alerted on, why and when.",
    "ingest": "Take in ECG over HTTP, WebSocket and UDP (a service: run by `up` or a pod).",
    "infer": "Look at every patient each second and raise alerts (a service).",
    "refit": "Fit a model on stored feature vectors and leave it as a candidate (a job).",
    "console": "Show the ward in a browser: live ECG, alerts, acknowledgements (a service).",
    "simulate": "Send simulated patients' ECG to an ingest.",
    "replay": "Send recorded ECG (WFDB) to an ingest and print its annotations beside the alerts.",
    "evaluate": "Measure detection on annotated WFDB records: beats, windows, episodes, alerts.",
    "bench": "Measure speed and cost beside the tutorial's pipeline, on a real InfluxDB.",
    "size": "Say what a number of patients needs: replicas, cores, memory, InfluxDB nodes, disk.",
    "token": "Print a device's bearer token.",
    "status": "Kubernetes: how a cohort is, what is wrong and what to do next.",
    "pause": "Kubernetes: leave all of a cohort as it is.",
    "resume": "Kubernetes: let the operator keep a cohort again.",
    "rollback": "Kubernetes: put an earlier model to work and hold it.",
    "rotate-key": "Kubernetes: a new device key; both are valid until the next one.",
    "report": "Kubernetes: a bundle for support, without patient data and secrets.",
}
_ON_A_CLUSTER = "holter.kubectl"
"""Entry points of what `--context` or `--namespace` make a subcommand mean: `refit` and `token` are others without."""


class _Commands(click.Group):
    """Subcommands of the installed halves; a service's imports cost another's start nothing."""

    def _available(self) -> dict[str, EntryPoint]:
        found = entry_points(group="holter.commands")
        return {e.name: e for e in found if all(find_spec(_EXTRAS[x]) is not None for x in e.extras)}

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        available = self._available()
        return [n for n in _SUMMARIES if n in available] + sorted(set(available) - set(_SUMMARIES))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = self._available().get(cmd_name)
        if any(ctx.params.get(name) for name in ("context", "kubeconfig", "namespace")):
            there = entry_points(group=_ON_A_CLUSTER, name=cmd_name)
            if not there:
                names = ", ".join(sorted(entry_points(group=_ON_A_CLUSTER).names))
                ctx.fail(f"{cmd_name} is nothing that is done on a cluster: {names} are")
            entry = next(iter(there))
        if entry is None:
            return None
        command: click.Command = entry.load()
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List subcommands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(n, _SUMMARIES.get(n, "")) for n in self.list_commands(ctx)])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="holter")
@click.option("--context", metavar="NAME", help="Of kubeconfig: what follows is done on that cluster.")
@click.option("--kubeconfig", metavar="FILE", help="Which kubeconfig.  [default: KUBECONFIG, ~/.kube/config]")
@click.option("-n", "--namespace", metavar="NAME", help="Of that cluster.")
@click.pass_context
def cli(ctx: click.Context, /, **where: str | None) -> None:
    """Real-time ECG monitoring from one MonitoredCohort. Not a medical device.

    `holter --context NAME refit|token|…` is `kubectl holter refit|token|…`.
    """
    ctx.obj = where


def main() -> NoReturn:
    """Run the command line."""
    sys.exit(cli())
