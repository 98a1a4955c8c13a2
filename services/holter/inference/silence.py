"""Devices that have stopped sending: the one thing that is judged by the wall clock."""

from collections.abc import Iterable
from dataclasses import dataclass

from holter.alert import Kind, Priority
from holter.chunk import MICROSECONDS, Chunk
from holter.inference.decision.life import Condition

AFTER = 6.0
"""Seconds of silence, beyond the length of the device's own posts, that are worth a technical alert."""
HIGH_AFTER = 10.0
FORGET_AFTER = 3600.0


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


class Silence:
    """When each device was last heard."""

    def __init__(self) -> None:
        self._heard: dict[str, tuple[float, int, float]] = {}  # wall clock, newest sample, length of its posts
        self._arrived: dict[str, int] = {}  # the newest at ingest

    def hear(self, chunks: Iterable[Chunk], now: float) -> None:
        """These came at `now` (wall clock, s); what another way had brought before is no sign of life."""
        first: dict[str, int] = {}
        newest: dict[str, int] = {}
        for chunk in chunks:
            known = self._heard.get(chunk.device_id)
            if known and 0 < chunk.arrived <= self._arrived.get(chunk.device_id, 0) and chunk.end <= known[1]:
                continue
            self._arrived[chunk.device_id] = max(chunk.arrived, self._arrived.get(chunk.device_id, 0))
            first[chunk.device_id] = min(chunk.t0, first.get(chunk.device_id, chunk.t0))
            newest[chunk.device_id] = max(chunk.end, newest.get(chunk.device_id, 0))
        for device_id, end in newest.items():
            post = min((end - first[device_id]) / MICROSECONDS, 10.0)
            self._heard[device_id] = (now, end, post)

    def look(self, now: float) -> list[Silent]:
        """Who is silent at `now` (wall clock, s); who is gone is forgotten."""
        silent = []
        for device_id, (heard, end, post) in list(self._heard.items()):
            quiet = now - heard
            if quiet < AFTER + post:
                continue
            since = end // MICROSECONDS
            priority = Priority.HIGH if quiet >= HIGH_AFTER + post else Priority.LOW
            condition = Condition(Kind.NO_DATA, priority, since, f"nothing received for {round(quiet)} s")
            gone = quiet >= FORGET_AFTER
            silent.append(Silent(device_id, since + round(quiet), condition, gone))
            if gone:
                self.forget(device_id)
        return silent

    def forget(self, device_id: str) -> None:
        """It is no concern of this worker any more."""
        self._heard.pop(device_id, None)
        self._arrived.pop(device_id, None)
