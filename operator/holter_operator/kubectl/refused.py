"""Devices that ingest refused, as its pods' logs name them (`holter.ingest.refused`)."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

RECENT = 900
"""Seconds of log that are looked at: a fault that goes on is logged every 300 s."""
LINES = 2000
"""Of log of each pod, at most."""


@dataclass(frozen=True, slots=True)
class Refused:
    """One fault of one device.

    Attributes:
        device: as it was sent.
        code: the HTTP status, whatever the transport.
        field: that is at fault.
        reason: what is wrong, and what would be right.
        count: how often.
    """

    device: str
    code: int
    field: str
    reason: str
    count: int


def refused(logs: Iterable[str]) -> tuple[Refused, ...]:
    """What these logs tell, summed over pods, the most frequent first; lines that are not ours are let be."""
    found: dict[tuple[str, int, str], Refused] = {}
    for line in (line for log in logs for line in log.splitlines() if '"refused"' in line):
        try:
            said = json.loads(line)
            if said["event"] != "refused" or said["service"] != "ingest":
                continue
            device, field, reason = (_printable(said[name]) for name in ("device_id", "field", "reason"))
            one = Refused(device, int(said["code"]), field, reason, int(said["count"]))
        except (ValueError, KeyError, TypeError):
            continue
        key = (one.device, one.code, one.field)
        before = found.get(key)
        found[key] = one if before is None else replace(one, count=one.count + before.count)
    return tuple(sorted(found.values(), key=lambda one: (-one.count, one.device)))


def _printable(text: str) -> str:
    """A device chooses the names of its fields: nothing of them may steer a terminal."""
    return "".join(each if each.isprintable() else "?" for each in text)
