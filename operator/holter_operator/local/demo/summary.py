"""The summary of a demo as a table, and its verdict in words."""

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from holter_operator.local.demo.alerts import Alert
from holter_operator.local.demo.outcome import Row

_COLOURS = {"high": "bold red", "medium": "yellow", "low": "cyan"}


def table(rows: Iterable[Row]) -> Table:
    """One line a patient; behind each alert, the seconds from the onset to its decision, both in event time."""
    made = Table(box=SIMPLE_HEAD)
    made.add_column("patient", no_wrap=True)
    made.add_column("rhythm", no_wrap=True)
    made.add_column("alerts, seconds after onset", no_wrap=True)
    made.add_column("ok", no_wrap=True)
    for row in rows:
        made.add_row(
            row.truth.device_id,
            row.truth.rhythm,
            "\n".join(_in_words(alert, row) for alert in row.alerts) or "[dim]none[/]",
            "[green]yes[/]" if not row.faults else "[bold red]NO[/]",
        )
    return made


def verdict(rows: Sequence[Row], others: Sequence[str]) -> tuple[str, ...]:
    """What is not as it should be, in words; empty when all is.

    Args:
        rows: the patients.
        others: faults of the run itself.
    """
    return (*others, *(f"{row.truth.device_id}: {fault}" for row in rows for fault in row.faults))


def _in_words(alert: Alert, row: Row) -> str:
    begins = row.truth.begins
    delay = f" {(alert.decided_at - begins).total_seconds():+.1f} s" if begins else ""
    technical = "technical, " if alert.category == "technical" else ""
    return f"{alert.kind} ({technical}[{_COLOURS[alert.priority]}]{alert.priority}[/]){delay}"
