"""What of the log the store has not taken yet: the live end, and stretches that were set aside for later. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple


class Position(NamedTuple):
    """A place in the log."""

    segment: int
    offset: int


class Stretch(NamedTuple):
    """Of the log, from `start` up to `end`."""

    start: Position
    end: Position


@dataclass(frozen=True, slots=True)
class Pending:
    """Everything that is not stored: of each stretch all of it, and all from `live` on.

    Attributes:
        live: where the next chunks to be stored as they come begin.
        aside: stretches from before that, the oldest first, apart from each other.
    """

    live: Position
    aside: tuple[Stretch, ...] = ()

    @property
    def first(self) -> Position:
        """Before this everything is stored."""
        return self.aside[0].start if self.aside else self.live

    def set_aside(self, head: Position) -> "Pending":
        """What is not stored up to `head` becomes a stretch, and live goes on behind it."""
        if head <= self.live:
            return self
        return Pending(head, (*self.aside, Stretch(self.live, head)))

    def stored(self, upto: Position, of: Stretch | None) -> "Pending":
        """The live end, or one stretch (as it is in `aside`), is stored up to a place."""
        if of is None:
            return replace(self, live=upto)
        rest = [Stretch(upto, s.end) if s == of else s for s in self.aside]
        return replace(self, aside=tuple(s for s in rest if s.start < s.end))

    def needs(self, segment: int) -> bool:
        """Whether any of a segment is not stored."""
        return segment >= self.live.segment or any(s.start.segment <= segment <= s.end.segment for s in self.aside)

    def size(self, segments: Mapping[int, int]) -> int:
        """Bytes that are not stored, by the segments' sizes."""
        return _size(segments, self.live, None) + sum(_size(segments, s.start, s.end) for s in self.aside)

    def text(self) -> str:
        """As it is kept on disk: a line for the live end, one for each stretch."""
        lines = [self.live, *(s.start + s.end for s in self.aside)]
        return "".join(" ".join(map(str, line)) + "\n" for line in lines)


NOTHING_STORED = Pending(Position(0, 0))


def parse(text: str) -> Pending:
    """Read what `Pending.text` wrote.

    Raises:
        ValueError: it did not.
    """
    live, *aside = [tuple(map(int, line.split())) for line in text.splitlines()]
    if len(live) != 2 or any(len(line) != 4 for line in aside):
        raise ValueError(f"{text!r} is no checkpoint")
    return Pending(Position(*live), tuple(Stretch(Position(*s[:2]), Position(*s[2:])) for s in aside))


def _size(segments: Mapping[int, int], start: Position, end: Position | None) -> int:
    total = 0
    for number, size in segments.items():
        if number < start.segment or (end is not None and number > end.segment):
            continue
        upto = size if end is None or number < end.segment else min(size, end.offset)
        total += max(0, upto - (start.offset if number == start.segment else 0))
    return total
