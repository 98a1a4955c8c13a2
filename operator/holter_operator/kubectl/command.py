"""`kubectl holter`, as kubectl finds it: an executable `kubectl-holter` on PATH."""

import sys
from typing import NoReturn

import click

from holter_operator.kubectl.changes import pause, refit, resume, rollback
from holter_operator.kubectl.keys import rotate_key, token
from holter_operator.kubectl.report import report
from holter_operator.kubectl.status import status

COMMANDS = (status, refit, pause, resume, rollback, token, rotate_key, report)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="holter")
def cli() -> None:
    """See how cohorts are, and do what people do to them.

    Each command takes COHORT, or means the only one of the namespace; -o json answers programs.
    """


for _command in COMMANDS:
    cli.add_command(_command)


def main() -> NoReturn:
    """Run it."""
    sys.exit(cli(prog_name="kubectl holter"))
