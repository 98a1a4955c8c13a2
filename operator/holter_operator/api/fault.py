"""A fault in a manifest: which field, and what would be right."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

Path = tuple[str | int, ...]
"""From the document's root: field names, and positions in lists."""

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        path: of the field, as the API server writes it: `spec.alerting.webhooks[0].url`; empty for the whole document.
        message: the value, what is wrong with it and what would be right.
        line: in the file, counted from 1, where known.
    """

    path: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def spell(path: Path) -> str:
    """A path as the API server writes it."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f"[{step}]"
    return text


def line_of(lines: Mapping[Path, int], path: Path) -> int | None:
    """The line of a field, or of the nearest field around it that the file has."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path)
