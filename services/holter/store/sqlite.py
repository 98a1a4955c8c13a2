"""The embedded store: one SQLite file in WAL mode, shared by all services of a machine."""
# ruff: noqa: D102, S608 - the protocol says what each method does; SQL is put together from constants alone

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from holter.alert import Acknowledgement, AlertEvent, Kind, Priority, Transition
from holter.chunk import MICROSECONDS, Chunk, shard_of
from holter.store.database import Database
from holter.store.protocol import Baseline, ChunkPage, Strip, Written
from holter.store.sampling import choose, union
from holter.window import WindowScores

_STRIP = "device_id, t0, fs, pcm, seq, flags"
_CHUNK = f"{_STRIP}, arrived"
_SCORE = "s.device_id, s.ends, s.ordered, s.forest, s.score, s.quality, s.flagged, s.alerted, s.revision, s.features"
_PRUNED_AT_ONCE = 2000
_PRUNE_SHARE = 0.5
"""How much of the time pruning may keep the file to itself."""

# A loose index scan: one look-up a device, however many windows it has.
_DEVICES = """
WITH RECURSIVE devices (device) AS (
    SELECT min(device_id) FROM scores
    UNION ALL SELECT (SELECT min(device_id) FROM scores WHERE device_id > device) FROM devices WHERE device IS NOT NULL
)
SELECT device FROM devices WHERE EXISTS (SELECT 1 FROM scores WHERE device_id = device AND ends >= ?) ORDER BY device
"""


class SqliteStore:
    """See `holter.store.protocol.Store`. Samples are kept as int16 blobs, one row a chunk."""

    def __init__(self, path: Path, clock: Callable[[], int] = lambda: time.time_ns() // 1000) -> None:
        """Open the file, or make it.

        Args:
            path: the database; its folder is made.
            clock: wall clock, µs since the epoch.
        """
        self._database = Database(path)
        self._clock = clock

    def write_chunks(self, chunks: Sequence[Chunk]) -> Written:
        with self._database.write("write_chunks") as connection:
            (latest,) = connection.execute("SELECT max(stored) FROM chunks").fetchone()
            stored = max(self._clock(), latest or 0)  # a clock set back must not disorder the index
            before = connection.total_changes
            connection.executemany(
                "INSERT INTO chunks (stored, device_id, t0, ends, shard, arrived, fs, seq, flags, checksum, pcm)"
                f" VALUES ({stored:d}, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (device_id, t0) DO NOTHING",
                (
                    (c.device_id, c.t0, c.end, c.shard, c.arrived, c.fs, c.seq, c.flags, c.checksum(), _pcm(c.samples))
                    for c in chunks
                ),
            )
            conflicts = 0
            if connection.total_changes - before < len(chunks):
                find = "SELECT checksum FROM chunks WHERE device_id = ? AND t0 = ?"
                known = (connection.execute(find, (c.device_id, c.t0)).fetchone()[0] for c in chunks)
                conflicts = sum(theirs != chunk.checksum() for theirs, chunk in zip(known, chunks, strict=True))
        return Written(stored=len(chunks) - conflicts, conflicts=conflicts)

    def read_chunks(self, shards: Collection[int], since: int, limit: int = 50_000) -> ChunkPage:
        # One writer at a time, and AUTOINCREMENT: a row that commits later has a greater number, so none is missed.
        with self._database.read("read_chunks") as connection:
            rows = connection.execute(
                f"SELECT {_CHUNK}, arrival FROM chunks WHERE arrival >= ?"
                " AND shard IN (SELECT value FROM json_each(?)) ORDER BY arrival LIMIT ?",
                (since, _json(shards), limit),
            ).fetchall()
            cursor = rows[-1][-1] + 1 if len(rows) == limit else max(since, _end(connection))
        return ChunkPage(tuple(_chunk(*row[:-1]) for row in rows), cursor)

    def cursor_at(self, time: int) -> int:
        with self._database.read("cursor_at") as connection:
            find = "SELECT arrival FROM chunks WHERE stored >= ? ORDER BY stored, arrival LIMIT 1"
            row = connection.execute(find, (time,)).fetchone()
            return int(row[0]) if row else _end(connection)

    def read_span(self, device_id: str, start: int, end: int) -> tuple[Chunk, ...]:
        with self._database.read("read_span") as connection:
            rows = connection.execute(
                f"SELECT {_CHUNK} FROM chunks WHERE device_id = ? AND t0 > ? AND t0 < ? AND ends > ? ORDER BY t0",
                (device_id, start - MICROSECONDS, end, start),
            ).fetchall()
        return tuple(_chunk(*row) for row in rows)

    def write_scores(self, scores: WindowScores) -> None:
        names = _json(scores.names)
        features = np.where(np.isfinite(scores.features), scores.features, np.float32("nan")).astype("<f4")
        columns = (scores.ordered, scores.forest, scores.score, scores.quality)
        flags = (scores.flagged, scores.alerted, scores.revision)
        rows = zip(
            scores.device_ids,
            scores.ends.tolist(),
            *(column.tolist() for column in (*columns, *flags)),
            (row.tobytes() for row in features),
            strict=True,
        )
        with self._database.write("write_scores") as connection:
            connection.execute("INSERT INTO feature_sets (names) VALUES (?) ON CONFLICT DO NOTHING", (names,))
            (feature_set,) = connection.execute("SELECT id FROM feature_sets WHERE names = ?", (names,)).fetchone()
            connection.executemany(
                "REPLACE INTO scores (device_id, ends, ordered, forest, score, quality, flagged, alerted, revision,"
                f" features, feature_set) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, {feature_set:d})",
                rows,
            )

    def list_devices(self, since: int) -> tuple[str, ...]:
        with self._database.read("list_devices") as connection:
            return tuple(device for (device,) in connection.execute(_DEVICES, (since,)))

    def read_windows(self, since: int, per_device: int, seed: int) -> WindowScores:
        with self._database.read("read_windows") as connection:
            chosen: list[int] = []
            for (device,) in connection.execute(_DEVICES, (since,)).fetchall():
                find = "SELECT ends, id FROM scores WHERE device_id = ? AND ends >= ? ORDER BY ends"
                keys = np.array(connection.execute(find, (device, since)).fetchall(), dtype=np.int64)
                chosen += keys[choose(keys[:, 0], per_device, seed), 1].tolist()
            rows = connection.execute(
                f"SELECT {_SCORE}, s.feature_set FROM json_each(?) AS chosen"
                " JOIN scores AS s ON s.id = chosen.value ORDER BY s.device_id, s.ends",
                (_json(chosen),),
            ).fetchall()
            sets = connection.execute("SELECT id, names FROM feature_sets ORDER BY id").fetchall()
        return _scores(rows, {number: tuple(orjson.loads(names)) for number, names in sets})

    def write_alert(self, event: AlertEvent) -> None:
        with self._database.write("write_alert") as connection:
            connection.execute(f"REPLACE INTO alerts VALUES ({', '.join('?' * 12)})", astuple(event))

    def read_alerts(self, since: int) -> tuple[AlertEvent, ...]:
        with self._database.read("read_alerts") as connection:
            find = "SELECT * FROM alerts WHERE decided_at >= ? ORDER BY decided_at, id"
            return tuple(_alert(*row) for row in connection.execute(find, (since,)))

    def write_ack(self, ack: Acknowledgement) -> None:
        with self._database.write("write_ack") as connection:
            connection.execute("REPLACE INTO acks VALUES (?, ?, ?, ?, ?)", astuple(ack))

    def read_acks(self, since: int) -> tuple[Acknowledgement, ...]:
        with self._database.read("read_acks") as connection:
            find = "SELECT * FROM acks WHERE at >= ? ORDER BY at, alert_id, by_whom"
            return tuple(Acknowledgement(*row) for row in connection.execute(find, (since,)))

    def write_strip(self, strip: Strip) -> None:
        c = strip.chunk
        row = (strip.alert_id, c.device_id, c.t0, c.fs, c.seq, c.flags, _pcm(c.samples))
        with self._database.write("write_strip") as connection:
            connection.execute("REPLACE INTO strips VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def read_strip(self, alert_id: str) -> Strip | None:
        with self._database.read("read_strip") as connection:
            row = connection.execute(
                f"SELECT {_STRIP} FROM strips WHERE alert_id = ?",
                (alert_id,),
            ).fetchone()
        return Strip(alert_id, _chunk(*row)) if row else None

    def write_baselines(self, baselines: Sequence[Baseline]) -> None:
        with self._database.write("write_baselines") as connection:
            connection.executemany(
                "INSERT INTO baselines VALUES (?, ?, ?, ?) ON CONFLICT (device_id)"
                " DO UPDATE SET at = excluded.at, payload = excluded.payload WHERE excluded.at >= at",
                ((b.device_id, shard_of(b.device_id), b.at, b.payload) for b in baselines),
            )

    def read_baselines(self, shards: Collection[int]) -> tuple[Baseline, ...]:
        with self._database.read("read_baselines") as connection:
            find = (
                "SELECT device_id, at, payload FROM baselines"
                " WHERE shard IN (SELECT value FROM json_each(?)) ORDER BY device_id"
            )
            return tuple(Baseline(*row) for row in connection.execute(find, (_json(shards),)))

    def prune(self, before: int) -> int:
        statements = (
            ("chunks", "arrival IN (SELECT arrival FROM chunks WHERE stored < ? ORDER BY stored LIMIT ?)"),
            ("scores", "id IN (SELECT id FROM scores WHERE ends < ? ORDER BY ends LIMIT ?)"),
            ("alerts", "id IN (SELECT id FROM alerts WHERE decided_at < ? ORDER BY decided_at LIMIT ?)"),
            ("acks", "(at, alert_id, by_whom) IN (SELECT at, alert_id, by_whom FROM acks WHERE at < ? LIMIT ?)"),
            ("strips", "alert_id IN (SELECT alert_id FROM strips WHERE t0 < ? LIMIT ?)"),
            ("baselines", "device_id IN (SELECT device_id FROM baselines WHERE at < ? LIMIT ?)"),
        )
        removed = 0
        for table, condition in statements:
            while True:
                begun = time.perf_counter()
                with self._database.write("prune") as connection:  # short transactions: ingest waits for each
                    statement = f"DELETE FROM {table} WHERE {condition}"
                    count = connection.execute(statement, (before, _PRUNED_AT_ONCE)).rowcount
                removed += count
                if count < _PRUNED_AT_ONCE:
                    break
                time.sleep((time.perf_counter() - begun) * (1 / _PRUNE_SHARE - 1))  # a lock given back is not a turn
        return removed

    def health(self) -> None:
        with self._database.read("health") as connection:
            connection.execute("SELECT 1 FROM chunks LIMIT 1").fetchone()

    def close(self) -> None:
        self._database.close()


def _json(values: Collection[Any]) -> str:
    return orjson.dumps(list(values)).decode()


def _pcm(samples: NDArray[np.int16]) -> bytes:
    return samples.astype("<i2", copy=False).tobytes()


def _chunk(device_id: str, t0: int, fs: float, pcm: bytes, seq: int, flags: int, arrived: int = 0) -> Chunk:
    return Chunk(device_id, t0, fs, np.frombuffer(pcm, dtype="<i2"), seq, flags, arrived)


def _end(connection: Any) -> int:
    """The number that the next chunk will have, or less."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'chunks'").fetchone()
    return int(row[0]) + 1 if row else 0


def _alert(
    id_: str, alert_id: str, event: str, device_id: str, kind: str, priority: str, *rest: Any
) -> AlertEvent:  # the columns are the fields, in order
    return AlertEvent(id_, alert_id, Transition(event), device_id, Kind(kind), Priority(priority), *rest)


def _scores(rows: Sequence[tuple[Any, ...]], sets: dict[int, tuple[str, ...]]) -> WindowScores:
    used = {row[-1] for row in rows}
    names = union(sets[number] for number in sorted(used))
    column = {name: i for i, name in enumerate(names)}
    features = np.full((len(rows), len(names)), np.nan, dtype=np.float32)
    for i, row in enumerate(rows):
        features[i, [column[name] for name in sets[row[-1]]]] = np.frombuffer(row[-2], dtype="<f4")
    columns = zip(*rows, strict=True) if rows else [()] * 11
    devices, ends, ordered, forest, score, quality, flagged, alerted, revision, *_ = columns
    return WindowScores(
        device_ids=tuple(devices),
        ends=np.array(ends, dtype=np.int64),
        names=names,
        features=features,
        ordered=np.array(ordered, dtype=np.float32),  # NULL, as SQLite keeps NaN, becomes NaN again
        forest=np.array(forest, dtype=np.float32),
        score=np.array(score, dtype=np.float32),
        quality=np.array(quality, dtype=np.float32),
        flagged=np.array(flagged, dtype=np.bool_),
        alerted=np.array(alerted, dtype=np.bool_),
        revision=np.array(revision, dtype=np.int32),
    )
