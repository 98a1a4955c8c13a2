"""Devices that have stopped sending: the one thing that is judged by the wall clock."""

from dataclasses import dataclass

import numpy as np

from holter.alert import Kind, Priority
from holter.chunk import MICROSECONDS
from holter.inference.decision.life import Condition
from holter.inference.engine import Engine

AFTER = 6.0
"""Seconds of silence, beyond the length of the device's own posts, that are worth a technical alert."""
HIGH_AFTER = 10.0
FORGET_AFTER = 3600.0
_LONGEST_POST = 10.0


@dataclass(frozen=True, slots=True)
class Silent:
    """A device that is silent.

    Attributes:
        device_id: which.
        second: event time that it would be now, s since the epoch.
        condition: to be told.
        gone: silent for so long that it is let go of.
    """

    device_id: str
    second: int
    condition: Condition
    gone: bool


def silent_devices(engine: Engine, now: float) -> list[Silent]:
    """Who is silent at `now` (wall clock, s), of those that the engine has heard of."""
    rows = engine.streams.rows
    heard, first, end = rows["heard"], rows["heard_first"], rows["heard_end"]
    post = np.minimum((end - first) / MICROSECONDS, _LONGEST_POST)
    quiet = now - heard
    found = []
    for slot in np.flatnonzero((heard > 0) & (quiet >= AFTER + post)).tolist():
        seconds, since = float(quiet[slot]), int(end[slot]) // MICROSECONDS
        priority = Priority.HIGH if seconds >= HIGH_AFTER + post[slot] else Priority.LOW
        condition = Condition(Kind.NO_DATA, priority, since, f"nothing received for {round(seconds)} s")
        device_id = engine.device_ids[slot] or ""
        found.append(Silent(device_id, since + round(seconds), condition, seconds >= FORGET_AFTER))
    return found
