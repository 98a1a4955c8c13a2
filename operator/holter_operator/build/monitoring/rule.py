"""A rule of Prometheus, and how it is written down."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

RUNBOOKS = "https://holter.dev/runbooks"
"""`docs/runbooks/<alert>.md`, as the docs are published."""


class Severity(StrEnum):
    """Who has to act, and how soon."""

    CRITICAL = "critical"
    """Patients go unwatched or unheard, now or within minutes: a page."""
    WARNING = "warning"
    """Within the day."""


@dataclass(frozen=True, slots=True)
class Rule:
    """An alert of Prometheus.

    Attributes:
        alert: its name, that of its runbook.
        expression: PromQL.
        lasting: how long it must hold.
        severity: see `Severity`.
        summary: what is wrong, for the one who is paged.
        action: what to look at first.
    """

    alert: str
    expression: str
    lasting: str
    severity: Severity
    summary: str
    action: str


def group(name: str, where: str, rules: Iterable[Rule], labels: Mapping[str, str]) -> dict[str, Any]:
    """A rule group.

    Args:
        name: of the group.
        where: what summaries begin with.
        rules: in order.
        labels: put on each alert, beside its severity.
    """
    return {
        "name": name,
        "rules": [
            {
                "alert": rule.alert,
                "expr": rule.expression,
                "for": rule.lasting,
                "labels": {"severity": str(rule.severity), **labels},
                "annotations": {
                    "summary": f"{where}: {rule.summary}",
                    "description": rule.action,
                    "runbook_url": f"{RUNBOOKS}/{rule.alert}/",
                },
            }
            for rule in rules
        ],
    }
