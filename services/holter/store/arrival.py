"""The arrival index: which event times arrived when, so that InfluxDB, which sorts by event time, is read by arrival.

Each write of chunks adds one point for each shard it held: tags `shard` and `writer`, time of InfluxDB's own clock, and
a field `spans` that tells the event times. All of it here is pure.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from holter.chunk import MICROSECONDS
from holter.frame import MAX_T0
from holter.packed import Batch
from holter.store import lines
from holter.store.rows import Table

OVERLAP = 10 * 1_000_000_000
"""A page also looks this far (ns) behind its cursor: a point becomes readable some time after InfluxDB has dated it."""

_APART = 10 * MICROSECONDS
"""Chunks further apart than this are two spans: a late chunk must not make a page read all that lies between."""


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Event times [first, last), µs, in which `n` chunks lie."""

    first: int
    last: int
    n: int


@dataclass(frozen=True, slots=True, order=True)
class Arrival:
    """One write's chunks of one shard; `time` is ns of InfluxDB's clock."""

    time: int
    shard: int
    writer: str
    spans: tuple[Span, ...]

    @property
    def n(self) -> int:
        """How many chunks."""
        return sum(span.n for span in self.spans)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Event times [start, stop), µs, to be read for these shards."""

    start: int
    stop: int
    shards: frozenset[int]


def index_lines(chunks: Batch, writer: str) -> bytes:
    """The points that announce these chunks, without a time: InfluxDB dates them, so writers' clocks do not matter."""
    if not len(chunks):
        return b""
    shards, starts, ends = chunks.shards, chunks.head["t0"], chunks.ends
    order = np.lexsort((starts, shards))
    shards, starts, ends = shards[order], starts[order], ends[order]
    # The furthest end so far in its shard: shards lie far apart on one axis.
    furthest = np.maximum.accumulate(ends + shards * MAX_T0) - shards * MAX_T0
    new = np.ones(len(order), np.bool_)
    new[1:] = (shards[1:] != shards[:-1]) | (starts[1:] > furthest[:-1] + _APART)
    first = np.flatnonzero(new)
    last = np.append(first[1:], len(order))
    spans: dict[int, list[str]] = {}
    columns = (shards[first], starts[first], furthest[last - 1], last - first)
    for shard, start, end, n in zip(*(column.tolist() for column in columns), strict=True):
        spans.setdefault(shard, []).append(f"{start} {end} {n}")
    return b"".join(
        lines.line("ecg_arrival", {"shard": str(shard), "writer": writer}, {"spans": ";".join(parts)}, None)
        for shard, parts in spans.items()
    )


def arrivals(tables: Iterable[Table]) -> list[Arrival]:
    """Parse what was read of the index, in order of arrival."""
    found = []
    for table in tables:
        columns = (table.times().tolist(), table.texts("shard"), table.texts("writer"), table.texts("_value"))
        for time, shard, writer, spans in zip(*columns, strict=True):
            found.append(Arrival(time, int(shard), writer, _parse(spans)))
    return sorted(found)


def first_of(found: Sequence[Arrival], limit: int) -> Sequence[Arrival]:
    """The longest beginning that announces at most `limit` chunks, one arrival at least."""
    total = 0
    for i, arrival in enumerate(found):
        total += arrival.n
        if total > limit and i:
            return found[:i]
    return found


def stretches(found: Iterable[Arrival]) -> Iterator[Stretch]:
    """What to read for these arrivals: disjoint in time, near ones joined."""
    pairs = sorted((span, arrival.shard) for arrival in found for span in arrival.spans)
    start, stop, shards = 0, 0, set[int]()
    for span, shard in pairs:
        if shards and span.first > stop + MICROSECONDS:
            yield Stretch(start, stop, frozenset(shards))
            shards = set()
        start, stop = (min(start, span.first), max(stop, span.last)) if shards else (span.first, span.last)
        shards.add(shard)
    if shards:
        yield Stretch(start, stop, frozenset(shards))


class Memory:
    """What has been delivered up to each cursor, so that the overlap does not deliver it again.

    An optimisation: a cursor it does not know (of another process, or long ago) is answered with some repetition.
    """

    def __init__(self, size: int = 128) -> None:
        """Remember the last `size` cursors."""
        self._size = size
        self._seen: dict[tuple[frozenset[int], int], frozenset[Arrival]] = {}

    def fresh(self, shards: Collection[int], since: int, found: Iterable[Arrival]) -> list[Arrival]:
        """Those that a reader at cursor `since` has not had."""
        seen = self._seen.get((frozenset(shards), since), frozenset())
        return [arrival for arrival in found if arrival not in seen]

    def advance(self, shards: Collection[int], since: int, delivered: Sequence[Arrival]) -> int:
        """The cursor after `delivered`, which is in order and not empty. No cursor is given out twice."""
        key = frozenset(shards)
        cursor = max(since, delivered[-1].time) + 1
        while (key, cursor) in self._seen:
            cursor += 1
        seen = self._seen.get((key, since), frozenset()).union(delivered)
        self._seen[key, cursor] = frozenset(arrival for arrival in seen if arrival.time >= cursor - OVERLAP)
        while len(self._seen) > self._size:
            self._seen.pop(next(iter(self._seen)), None)
        return cursor


def _parse(text: str) -> tuple[Span, ...]:
    return tuple(Span(*(int(part) for part in span.split())) for span in text.split(";"))
