"""`holter up`: the command line around a `Runner`."""

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import click
from rich.console import Console

from holter_operator.build.given import Connection
from holter_operator.local.cohort_file import FileFaultError, read
from holter_operator.local.endpoints import console_link
from holter_operator.local.mounts import ManifestError
from holter_operator.local.output import Output
from holter_operator.local.ports import PortError
from holter_operator.local.runner import Options, Runner
from holter_operator.local.state import StateError, StateFolder

FAULTS = (FileFaultError, ManifestError, PortError, StateError)
"""What can be wrong before anything runs."""


def holter_command() -> Path:
    """The command `holter` of this installation: the one beside the running interpreter."""
    return Path(sys.executable).with_name("holter")


def default_state(namespace: str, name: str) -> Path:
    """The state folder of a cohort."""
    return Path(".holter") / f"{namespace}.{name}"


def parse_ports(values: tuple[str, ...]) -> dict[str, int]:
    """`NAME=NUMBER` pairs.

    Raises:
        click.BadParameter: one is no such pair.
    """
    ports = {}
    for value in values:
        name, _, number = value.partition("=")
        if not name or not number.isdigit() or int(number) > 65535:
            raise click.BadParameter(
                f"{value!r}: NAME=NUMBER such as http=8090 is expected, 0 for any", param_hint="--port"
            )
        ports[name] = int(number)
    return ports


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for everything that has to last.  [default: .holter/<namespace>.<name>]",
)
@click.option(
    "--port",
    "ports",
    multiple=True,
    metavar="NAME=NUMBER",
    help="Another port than the cohort's: http=8090, udp=0 (0: any free).",
)
@click.option(
    "--influxdb-url",
    envvar="HOLTER_INFLUXDB_URL",
    show_envvar=True,
    help="Use this InfluxDB 2 instead of a SQLite file.",
)
@click.option("--influxdb-org", envvar="HOLTER_INFLUXDB_ORG", show_envvar=True, help="Its organisation.")
@click.option("--influxdb-bucket", envvar="HOLTER_INFLUXDB_BUCKET", show_envvar=True, help="A bucket that is there.")
@click.option(
    "--influxdb-token", envvar="HOLTER_INFLUXDB_TOKEN", show_envvar=True, help="A token that may read and write it."
)
@click.option("--raw-logs", is_flag=True, help="Leave the services' log lines as they are (JSON).")
def up(
    file: Path,
    state: Path | None,
    ports: tuple[str, ...],
    influxdb_url: str | None,
    influxdb_org: str | None,
    influxdb_bucket: str | None,
    influxdb_token: str | None,
    raw_logs: bool,
) -> None:
    """Run the cohort in FILE on this machine and keep it as the file says.

    FILE may hold, as further documents, the Secrets and ConfigMaps that the cohort names. Edit it and the cohort
    follows; Ctrl-C stops it cleanly, a second one at once; `kill -USR1` starts a refit now.
    """
    parts = {"url": influxdb_url, "org": influxdb_org, "bucket": influxdb_bucket, "token": influxdb_token}
    missing = [f"--influxdb-{name}" for name, value in parts.items() if not value]
    if 0 < len(missing) < len(parts):
        raise click.UsageError(f"a connection to InfluxDB needs {', '.join(missing)} too")
    connection = None if missing else Connection(**{name: str(value) for name, value in parts.items()})
    options = Options(holter=holter_command(), ports=parse_ports(ports), influxdb=connection)
    output = Output(Console(), raw=raw_logs)
    try:
        cohort = read(file).cohort
        with closing(StateFolder(state or default_state(cohort.namespace, cohort.name))) as folder:
            asyncio.run(_up(Runner(file, folder, options, output), output, folder.path))
    except FAULTS as error:
        raise click.ClickException(str(error)) from error


async def _up(runner: Runner, output: Output, state: Path) -> None:
    log = output.logger()

    async def show_addresses() -> None:
        where = await runner.ready()
        log.info("the cohort runs", ingest=where.get("ingest"), udp=where.get("udp"), metrics=where["metrics"])
        if link := console_link(where):
            tokens = where["console_tokens"]
            log.info("the ward", open=link, to_acknowledge=f"the token in {shlex.quote(f'{tokens}/acknowledge')}")
        command = f"{shlex.quote(sys.argv[0])} simulate --state {shlex.quote(str(state))}"
        log.info("simulated patients", command=command)
        log.info("a refit now", command=f"kill -USR1 {os.getpid()}")
        log.info("Ctrl-C stops it; an edit of the file is followed")
        await asyncio.Event().wait()  # until a signal comes

    await until_stopped(runner, show_addresses)


async def until_stopped(runner: Runner, work: Callable[[], Awaitable[None]]) -> None:
    """Start a cohort, and stop it when `work` has returned, or when SIGINT, SIGTERM or SIGHUP comes.

    A second such signal kills at once what the first one asked to end. SIGUSR1 starts a refit. Whatever happens,
    nothing of the cohort is left afterwards.

    Args:
        runner: not yet started.
        work: runs once the cohort was started; cancelled by a signal.

    Raises:
        Exception: what `Runner.start` or `work` raises.
    """
    stopping = asyncio.Event()

    def stop() -> None:
        if stopping.is_set():
            runner.host.kill()
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGUSR1, runner.refit_now)
    tasks: list[asyncio.Future[object]] = []
    try:
        await runner.start()
        tasks = [asyncio.ensure_future(one) for one in (work(), runner.serve(), stopping.wait())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.set()
        finished = [task for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await runner.stop()
    for task in finished:
        task.result()
