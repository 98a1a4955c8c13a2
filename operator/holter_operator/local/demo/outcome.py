"""Who was alerted on, why, how soon, and whether that is what should have been: the truths beside the alerts. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel, ConfigDict

from holter_operator.local.demo.alerts import Alert

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Truth(BaseModel):
    """What `holter simulate --truth` says of one device; times in microseconds since the epoch, `latest` in seconds.

    A physiological alert that is neither expected nor tolerated is a fault, and so is any decided before the onset.
    """

    model_config = ConfigDict(frozen=True)

    device_id: str
    rhythm: str
    onset: int | None
    expected: tuple[str, ...]
    priorities: tuple[str, ...]
    latest: float | None
    tolerated: tuple[str, ...]

    @property
    def begins(self) -> datetime | None:
        """The onset."""
        return None if self.onset is None else _EPOCH + timedelta(microseconds=self.onset)


@dataclass(frozen=True, slots=True)
class Row:
    """One patient's line of the summary.

    Attributes:
        truth: what is the case.
        alerts: the first event of each alert, as it was raised.
        answer: the first event that is what was expected; None when there is none.
        delay: seconds from the onset to that event's decision; None where the rhythm has no onset.
        faults: in words; empty when all is as it should be.
    """

    truth: Truth
    alerts: tuple[Alert, ...]
    answer: Alert | None
    delay: float | None
    faults: tuple[str, ...]


class Truths(BaseModel):
    """The file: when the history ends and the present begins (microseconds since the epoch), and all truths."""

    model_config = ConfigDict(frozen=True)

    live: int
    truths: tuple[Truth, ...]


def rows(truths: Iterable[Truth], alerts: Iterable[Alert], until: datetime) -> tuple[Row, ...]:
    """The summary.

    Args:
        truths: of all simulated patients.
        alerts: every event that was received, each once.
        until: event time at which the run ended.
    """
    found = sorted(alerts, key=lambda alert: alert.decided_at)
    return tuple(_row(truth, [a for a in found if a.device_id == truth.device_id], until) for truth in truths)


def _row(truth: Truth, events: list[Alert], until: datetime) -> Row:
    begins = truth.begins
    said = [event for event in events if event.event != "cleared"]
    first = {event.alert: event for event in reversed(said)}
    answer = next((event for event in said if _answers(truth, event)), None)
    delay = (answer.decided_at - begins).total_seconds() if answer and begins else None
    faults = list(dict.fromkeys(fault for event in said if (fault := _unasked(truth, event))))
    if truth.expected and answer is None:
        faults.append(_missing(truth, said, until))
    elif delay is not None and truth.latest is not None and delay > truth.latest:
        faults.append(
            f"{answer.kind if answer else ''} came after {delay:.1f} s, at most {truth.latest:g} s are allowed"
        )
    return Row(truth, tuple(sorted(first.values(), key=lambda a: a.decided_at)), answer, delay, tuple(faults))


def _answers(truth: Truth, event: Alert) -> bool:
    """Whether an event is what was expected: of a right kind and priority, and not before the onset."""
    begins = truth.begins
    return (
        event.kind in truth.expected
        and (not truth.priorities or event.priority in truth.priorities)
        and (begins is None or event.decided_at >= begins)
    )


def _unasked(truth: Truth, event: Alert) -> str | None:
    """What is wrong with a physiological alert that should not have been."""
    if event.category == "technical":
        return None
    begins = truth.begins
    if begins is not None and event.decided_at < begins:
        return f"{event.kind} ({event.priority}) {(begins - event.decided_at).total_seconds():.1f} s before the onset"
    if event.kind in truth.expected:
        wrong = truth.priorities and event.priority not in truth.priorities
        return f"{event.kind} is {event.priority}, not {' or '.join(truth.priorities)}" if wrong else None
    return None if event.kind in truth.tolerated else f"{event.kind} ({event.priority}) is no alert to raise here"


def _missing(truth: Truth, said: list[Alert], until: datetime) -> str:
    if truth.begins is not None and until < truth.begins + timedelta(seconds=truth.latest or 0):
        return f"the run ended before its {truth.rhythm} had to be found"
    wanted = " or ".join(truth.expected)
    priorities = f" ({' or '.join(truth.priorities)})" if truth.priorities else ""
    instead = ", ".join(sorted({event.kind for event in said})) or "nothing"
    return f"no {wanted}{priorities}: {instead} was raised"
