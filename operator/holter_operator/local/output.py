"""One line a log line, each behind its component's name: the services' JSON made readable, and our own log."""

import json
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog
from rich.console import Console
from rich.text import Text

_COLOURS = ("cyan", "magenta", "green", "blue", "yellow", "bright_cyan", "bright_magenta", "bright_green")
_LEVELS = {"warning": "yellow", "error": "bold red", "critical": "bold red", "exception": "bold red"}
_APART = frozenset({"event", "level", "timestamp", "service", "exception"})


class Output:
    """Where `holter up` writes.

    Args:
        console: a rich console; it leaves colours out where they are not wanted.
        raw: leave the services' lines as they wrote them.
        quiet: of the services' JSON lines show warnings and errors only.
        own: the name in front of our own lines.
    """

    def __init__(self, console: Console, *, raw: bool = False, quiet: bool = False, own: str = "up") -> None:
        self.console = console
        self._raw = raw
        self._quiet = quiet
        self._own = own
        self._names: list[str] = []

    def line(self, component: str, line: str) -> None:
        """A line that a component wrote."""
        record = None if self._raw else _record(line)
        if self._quiet and record is not None and record.get("level") not in _LEVELS:
            return
        text = Text(line.rstrip()) if record is None else readable(record)
        self._print(component, text)

    def logger(self) -> structlog.typing.FilteringBoundLogger:
        """Our own log: key-values, shown as a component's are."""

        def show(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
            self._print(self._own, readable(event))
            raise structlog.DropEvent

        log: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
            None,
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
                show,
            ],
            wrapper_class=structlog.make_filtering_bound_logger("info"),
        )
        return log

    def _print(self, component: str, text: Text) -> None:
        if component not in self._names:
            self._names.append(component)
        width = max(map(len, self._names))
        colour = _COLOURS[self._names.index(component) % len(_COLOURS)]
        prefix = Text(f"{component:<{width}} │ ", style=colour)
        self.console.print(prefix + text, soft_wrap=True, highlight=False)


def readable(record: Mapping[str, Any]) -> Text:
    """One log record for people: time of day, event, key=value; warnings and errors stand out."""
    style = _LEVELS.get(str(record.get("level")), "")
    text = Text()
    stamp = str(record.get("timestamp", ""))
    if "T" in stamp:
        text.append(stamp.partition("T")[2][:8] + " ", style="dim")
    text.append(str(record["event"]), style=style or "bold")
    for key, value in record.items():
        if key not in _APART:
            shown = value if isinstance(value, str) and " " not in value else json.dumps(value, default=str)
            text.append(f" {key}=", style="dim")
            text.append(shown, style=style)
    if record.get("exception"):
        text.append(f"\n{record['exception']}", style=style)
    return text


def _record(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "event" in record else None
