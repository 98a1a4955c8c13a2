"""Flux queries as text: everything that comes from outside goes through `text`, `instant` or `int`."""

from collections.abc import Collection, Iterable

from holter.chunk import SHARDS

FAR = 4_102_444_800_000_000_000
"""2100, in ns: a range without an end ends at InfluxDB's now, and devices' clocks may be ahead of it."""

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "$": "\\x24"})


def text(value: str) -> str:
    """A string literal. `$` is written as a byte so that `${…}` interpolates nothing."""
    return f'"{value.translate(_ESCAPES)}"'


def instant(nanoseconds: int) -> str:
    """A time literal from ns since the epoch."""
    return f"time(v: {int(nanoseconds)})"


def any_of(column: str, values: Iterable[str]) -> str:
    """`column` is one of `values`: a chain of `or`, which InfluxDB answers from its index; `contains()` it does not."""
    return "(" + " or ".join(f"r[{text(column)}] == {text(value)}" for value in values) + ")"


def in_shards(shards: Collection[int]) -> str:
    """The series of these shards; all of them need no condition."""
    return "true" if len(set(shards)) == SHARDS else any_of("shard", (str(int(shard)) for shard in sorted(set(shards))))


def select(bucket: str, measurement: str, start: int, stop: int | None, *conditions: str) -> str:
    """Points of one measurement with time in [start, stop), ns; stop None is InfluxDB's now."""
    condition = " and ".join((any_of("_measurement", [measurement]), *(c for c in conditions if c != "true")))
    until = "" if stop is None else f", stop: {instant(stop)}"
    return f"from(bucket: {text(bucket)}) |> range(start: {instant(start)}{until}) |> filter(fn: (r) => {condition})"


def keep(*columns: str) -> str:
    """The pipe that drops all other columns."""
    return f" |> keep(columns: [{', '.join(text(column) for column in columns)}])"


LAST = " |> last()"
AS_COLUMNS = (
    ' |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")'
    ' |> drop(columns: ["_start", "_stop", "_measurement"])'
)
