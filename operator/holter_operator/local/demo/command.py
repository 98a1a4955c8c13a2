"""The command: starts the cohort, its receiver and its patients, and says in the end whether all was well."""

import asyncio
import math
import secrets
import sys
from contextlib import closing, suppress
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from string import Template

import click
from pydantic import ValidationError
from rich.console import Console

from holter_operator.local import files
from holter_operator.local.demo.alerts import Alert
from holter_operator.local.demo.outcome import Truths, rows
from holter_operator.local.demo.receiver import Receiver
from holter_operator.local.demo.summary import table, verdict
from holter_operator.local.endpoints import console_link
from holter_operator.local.main import FAULTS, holter_command, until_stopped
from holter_operator.local.output import Output
from holter_operator.local.process import Process
from holter_operator.local.runner import Options, Runner
from holter_operator.local.specs import ProcessSpec
from holter_operator.local.state import StateFolder

LEAST = 90
PAST = 300
"""Seconds of history that the cohort is given before it goes live: 60 windows a patient for a first model."""
ONSET = 35.0
"""Seconds of live time until the sick fall sick."""
_READY_WITHIN = 180.0
_OVERTIME = 60.0
_REFIT_TRIES = 4
_REFIT_EVERY = 8.0


@click.command()
@click.option(
    "--duration",
    type=float,
    metavar="SECONDS",
    help=f"End by itself after so long, at least {LEAST}.  [default: at Ctrl-C]",
)
@click.option("--patients", type=click.IntRange(1), help="A ward of this size instead of the usual one.")
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".holter/demo"),
    show_default=True,
    help="Emptied at the start.",
)
@click.option("--verbose", is_flag=True, help="Show all that the services log, not just warnings.")
def demo(duration: float | None, patients: int | None, state: Path, verbose: bool) -> None:
    """Run a cohort of simulated patients here and tell who was alerted on, why and when.

    Exit code 0 only if every sick patient and no healthy one was alerted on as they should be.
    """
    if duration is not None and not LEAST <= duration < math.inf:
        raise click.BadParameter(
            f"{duration:g}: {LEAST} is the least: the patients are watched for {ONSET:.0f} s before they fall sick",
            param_hint="--duration",
        )
    console = Console()
    output = Output(console, own="demo", quiet=not verbose)
    try:
        with closing(StateFolder(state)) as folder:
            folder.clear()
            play = Demo(folder, output, duration, patients)
            asyncio.run(play.run())
    except FAULTS as error:
        raise click.ClickException(str(error)) from error
    sys.exit(0 if play.summary(console) else 1)


class Demo:
    """One run: `run`, then `summary`."""

    def __init__(self, folder: StateFolder, output: Output, duration: float | None, patients: int | None) -> None:
        self.folder = folder
        self._output = output
        self._log = output.logger()
        self._duration = duration
        self._patients = patients
        self._truth = folder.path / "truth.json"
        self._faults: list[str] = []
        self._until = datetime.now(UTC)
        secret = secrets.token_urlsafe(32)
        self.receiver = Receiver(secret.encode(), self._tell)
        self._secret = secret

    async def run(self) -> None:
        """Start everything, and stop it after the duration or at a signal."""
        self.receiver.start()
        file = self.folder.path / "cohort.yaml"
        template = Template(resources.files(__package__).joinpath("cohort.yaml").read_text())
        url = f"http://127.0.0.1:{self.receiver.port}/alerts"
        files.write(file, template.substitute(url=url, secret=self._secret).encode())
        options = Options(holter=holter_command(), ports={"http": 0, "udp": 0})
        self.runner = Runner(file, self.folder, options, self._output)
        try:
            await until_stopped(self.runner, self._play)
        finally:
            await self.receiver.stop()

    async def _play(self) -> None:
        self._log.info("starting the cohort", file=str(self.folder.path / "cohort.yaml"))
        try:
            async with asyncio.timeout(_READY_WITHIN):
                where = await self.runner.ready()
        except TimeoutError:
            self._faults.append(f"the cohort was not ready within {_READY_WITHIN:.0f} s")
            return
        self._log.info("the cohort runs", ingest=where["ingest"], udp=where["udp"], state=str(self.folder.path))
        if link := console_link(where):
            self._log.info("the ward", open=link, to_acknowledge=f"the token in {where['console_tokens']}/acknowledge")
        for name, url in where["metrics"].items():
            self._log.info("look at", metrics=url, of=name)
        arguments = ["--state", str(self.folder.path), "--truth", str(self._truth), "--past", str(PAST)]
        arguments += ["--onset", f"{ONSET:g}"]
        arguments += ["--duration", f"{self._duration:g}"] if self._duration is not None else []
        arguments += ["--patients", str(self._patients)] if self._patients is not None else []
        spec = ProcessSpec("simulate", (str(holter_command()), "simulate", *arguments), deadline=self._deadline)
        self._log.info(f"the patients have a past: {PAST} s of simulated history are sent first, for a first model")
        ends = "at Ctrl-C" if self._duration is None else f"after {self._duration:g} s"
        self._log.info(f"then they are live: the sick fall sick after {ONSET:.0f} s, the summary comes {ends}")
        patients = await Process.launch(spec, self._output.line, self.folder)
        refits = asyncio.create_task(self._first_model())
        try:
            code = await patients.finish()
            if code != 0:
                self._faults.append(f"`holter simulate` ended with {code}")
            await asyncio.sleep(2)  # for the last alerts on their way
        finally:
            self._until = datetime.now(UTC)
            refits.cancel()
            with suppress(asyncio.CancelledError):
                await refits

    @property
    def _deadline(self) -> float | None:
        return None if self._duration is None else self._duration + _OVERTIME

    async def _first_model(self) -> None:
        """A refit on the simulated history, as soon as enough of it has been scored."""
        for _ in range(_REFIT_TRIES):
            await asyncio.sleep(_REFIT_EVERY)
            self.runner.refit_now()
            if (await self.runner.judged()).accepted:
                return

    def _tell(self, alert: Alert) -> None:
        self._log.info(
            f"alert {alert.event}: {alert.priority} {alert.kind}", device=alert.device_id, reason=alert.reason
        )

    def summary(self, console: Console) -> bool:
        """Print the table and what was wrong.

        Returns:
            Whether all was as it should be.
        """
        try:
            truths = Truths.model_validate_json(self._truth.read_bytes()).truths
        except (OSError, ValidationError):
            self._faults.append("it ended before there were patients")
            truths = ()
        lines = rows(truths, self.receiver.alerts.values(), self._until)
        if self.receiver.refused:
            self._faults.append(f"{self.receiver.refused} alerts had no valid signature or were malformed")
        console.print()
        console.print(table(lines))
        if self.runner.verdict is not None:
            console.print(f"model: {self.runner.verdict.message}")
        wrong = verdict(lines, self._faults)
        for fault in wrong:
            console.print(f"[bold red]✗[/] {fault}")
        if not wrong:
            console.print("[green]✓[/] every sick patient was alerted on in time, and no healthy one")
        return not wrong
