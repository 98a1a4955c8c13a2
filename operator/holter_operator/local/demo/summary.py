"""The summary of a demo as a table, and its verdict in words."""

from collections.abc import Iterable, Sequence

from rich.table import Table

from holter_operator.local.demo.alerts import Alert
from holter_operator.local.demo.outcome import Row

_COLOURS = {"high": "bold red", "medium": "yellow", "low": "cyan"}


def table(rows: Iterable[Row], title: str) -> Table:
    """One line a patient."""
    made = Table(title=title, title_justify="left", show_lines=True)
    for column in ("patient", "rhythm", "alerts", "delay after onset", "as it should be"):
        made.add_column(column)
    for row in rows:
        made.add_row(
            row.truth.device_id,
            row.truth.rhythm,
            "\n".join(_in_words(alert) for alert in row.alerts) or "[dim]none[/]",
            "–" if row.delay is None else f"{row.delay:.1f} s",
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


def _in_words(alert: Alert) -> str:
    return f"[{_COLOURS[alert.priority]}]{alert.priority}[/] {alert.kind} [dim]({alert.category})[/]"
