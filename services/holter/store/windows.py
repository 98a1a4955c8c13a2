"""Scored windows in InfluxDB: written as fields by name, read back as a bounded, reproducible choice."""

import zlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import orjson
from numpy.typing import NDArray

from holter.chunk import SHARDS
from holter.store import flux, lines
from holter.store.client import Connection
from holter.store.rows import Table
from holter.store.sampling import BLOCK, LONG, choose, union
from holter.window import WindowScores

_ROWS_AT_ONCE = 20_000
"""Windows in one answer, about: some seconds of InfluxDB's work, well within a call's time."""
_SERIES_AT_ONCE = 300
"""Devices times minutes in one query: each costs InfluxDB some milliseconds however few windows it has."""
_SHARDS_AT_ONCE = 4
_DEVICES_NAMED = 64
"""A query for more devices than these names none: it is cheaper to drop some rows here."""


def write_scores(connection: Connection, scores: WindowScores) -> None:
    """One request: the windows, and one point that keeps the features' names and order, also of those that are NaN."""
    if not len(scores):
        return
    names = orjson.dumps(list(scores.names))
    last = int(scores.ends.max()) * lines.NANOSECONDS
    about = lines.line("ecg_features", {"set": f"{zlib.crc32(names):08x}"}, {"names": names.decode()}, last)
    connection.write("write_scores", b"".join((about, *lines.score_lines(scores))))


def read_windows(connection: Connection, since: int, per_device: int, seed: int) -> WindowScores:
    """See `Store.read_windows`.

    First the ends alone (one small field). Then of devices with a short history all of it, at most `LONG` times what is
    wanted, and of the others the minutes that `choose` takes, mostly the same for all.
    """
    ends = _ends(connection, since)
    wanted = {device: found[choose(found, per_device, seed)] for device, found in ends.items()}
    tables: list[Table] = []
    minutes: dict[int, list[str]] = defaultdict(list)
    together: list[str] = []
    for device, found in ends.items():
        if len(found) > LONG * per_device:
            for minute in np.unique(wanted[device] // BLOCK).tolist():
                minutes[minute].append(device)
        else:
            together.append(device)
            if sum(len(ends[one]) for one in together) >= _ROWS_AT_ONCE or len(together) == _DEVICES_NAMED:
                tables += _fetch(connection, [(since, None)], together)
                together = []
    if together:
        tables += _fetch(connection, [(since, None)], together)
    at_once = max(1, _SERIES_AT_ONCE // max(1, len(ends)))
    for i in range(0, len(minutes), at_once):
        batch = sorted(minutes)[i : i + at_once]
        devices = sorted({device for minute in batch for device in minutes[minute]})
        tables += _fetch(connection, [(minute * BLOCK, (minute + 1) * BLOCK) for minute in batch], devices)
    chosen = {device: frozenset(some.tolist()) for device, some in wanted.items()}
    return _scores(tables, chosen, _names(connection, since))


def _ends(connection: Connection, since: int) -> dict[str, NDArray[np.int64]]:
    """All window ends (µs) of each device, ascending."""
    parts: dict[str, list[int]] = defaultdict(list)
    start, field = since * lines.NANOSECONDS, flux.any_of("_field", ["revision"])
    for first in range(0, SHARDS, _SHARDS_AT_ONCE):
        shards = flux.in_shards(range(first, first + _SHARDS_AT_ONCE))
        query = flux.select(connection.bucket, "ecg_score", start, flux.FAR, field, shards)
        for table in connection.query("read_windows (ends)", query + flux.keep("device_id", "_time")):
            times = (table.times() // lines.NANOSECONDS).tolist()
            for device, end in zip(table.texts("device_id"), times, strict=True):
                parts[device].append(end)
    return {device: np.array(sorted(some), dtype=np.int64) for device, some in sorted(parts.items())}


def _names(connection: Connection, since: int) -> list[tuple[str, ...]]:
    """The sets of feature names in use since then, oldest first."""
    query = flux.select(connection.bucket, "ecg_features", since * lines.NANOSECONDS, flux.FAR)
    found = []
    for table in connection.query("read_windows (names)", query + " |> first()"):
        found += list(zip(table.times().tolist(), table.texts("_value"), strict=True))
    return [tuple(orjson.loads(names)) for _, names in sorted(found)]


def _fetch(connection: Connection, spans: Sequence[tuple[int, int | None]], devices: Sequence[str]) -> list[Table]:
    """Windows of these devices that end in one of the spans [start, stop), µs."""
    condition = flux.any_of("device_id", devices) if len(devices) <= _DEVICES_NAMED else "true"
    selections = [
        flux.select(
            connection.bucket,
            "ecg_score",
            start * lines.NANOSECONDS,
            flux.FAR if stop is None else stop * lines.NANOSECONDS,
            condition,
        )
        + flux.AS_COLUMNS
        for start, stop in spans
    ]
    # Each selection yields under a name of its own, and InfluxDB runs them side by side.
    query = "\n".join(f'{selection} |> yield(name: "{i}")' for i, selection in enumerate(selections))
    return connection.query("read_windows", query)


def _scores(tables: Sequence[Table], chosen: dict[str, frozenset[int]], sets: list[tuple[str, ...]]) -> WindowScores:
    names = union(sets)
    floats, states = (*lines.SCORES, *names), ("flagged", "alerted")
    devices: list[str] = []
    ends: list[int] = []
    numbers = [np.empty((0, len(floats)), dtype=np.float32)]
    truths = [np.empty((0, len(states)), dtype=np.bool_)]
    revisions = [np.empty(0, dtype=np.int32)]
    for table in tables:
        found = list(zip(table.texts("device_id"), (table.times() // lines.NANOSECONDS).tolist(), strict=True))
        kept = [i for i, (device, end) in enumerate(found) if end in chosen.get(device, ())]
        devices += [found[i][0] for i in kept]
        ends += [found[i][1] for i in kept]
        numbers.append(np.column_stack([table.floats(name)[kept] for name in floats]).astype(np.float32))
        truths.append(np.column_stack([table.truths(name)[kept] for name in states]))
        revisions.append(table.integers("revision")[kept].astype(np.int32))
    order = sorted(range(len(devices)), key=lambda i: (devices[i], ends[i]))
    values, truth = np.concatenate(numbers)[order], np.concatenate(truths)[order]
    ordered, forest, score, quality = values[:, : len(lines.SCORES)].T
    return WindowScores(
        device_ids=tuple(devices[i] for i in order),
        ends=np.array([ends[i] for i in order], dtype=np.int64),
        names=names,
        features=values[:, len(lines.SCORES) :],
        ordered=ordered,
        forest=forest,
        score=score,
        quality=quality,
        flagged=truth[:, 0],
        alerted=truth[:, 1],
        revision=np.concatenate(revisions)[order],
    )
