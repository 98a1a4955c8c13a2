"""The InfluxDB 2 store: prebuilt lines out, raw CSV in, read by arrival through an index of its own."""
# ruff: noqa: D102 - the protocol says what each method does

import base64
import threading
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import structlog

from holter.alert import Acknowledgement, AlertEvent, Kind, Priority, Transition
from holter.chunk import MICROSECONDS, Chunk
from holter.packed import Batch, of, rows
from holter.store import arrival, flux, lines
from holter.store.client import Connection, RejectedError
from holter.store.layouts import LAYOUTS, LayoutName
from holter.store.protocol import Baseline, ChunkPage, Strip, Written
from holter.store.recent import Recent
from holter.store.rows import Table
from holter.store.windows import read_windows, write_scores
from holter.window import WindowScores

_log = structlog.get_logger()

_FIRST_SLICE = 300 * 1_000_000_000
"""How much of the arrival index (ns) a page looks at first: one far behind must not read a day of it."""

_MOST_BODY, _LEAST_BODY = 8 << 20, 16 << 10
"""Bytes of one write: what is tried at first, and what a proxy that answers 413 can bring it down to."""


class InfluxStore:
    """See `holter.store.protocol.Store`.

    First write wins among what this instance wrote lately (`Recent`); InfluxDB itself overwrites, and ingest may only
    write, so it cannot look. Nothing is retried here but reads of a broken connection.
    """

    def __init__(self, folder: Path, layout: LayoutName, writer: str, clock: Callable[[], int] = time.time_ns) -> None:
        """Nothing is sent yet.

        Args:
            folder: of the files url, org, bucket, token.
            layout: one point a chunk, or one a sample.
            writer: a name that no other process has at this time.
            clock: wall clock, ns since the epoch; only to see that a page has come near to now.
        """
        self._connection = Connection(folder)
        self._layout = LAYOUTS[layout]
        self._writer = writer
        self._clock = clock
        self._recent = Recent()
        self._memory = arrival.Memory()
        self._remembering = threading.Lock()
        self._announcing = threading.Lock()
        self._most_bytes = _MOST_BODY

    def write_chunks(self, chunks: Sequence[Chunk]) -> Written:
        batch = of(chunks)
        with self._remembering:
            sifted = self._recent.sift(batch)
        refused = self._write_good(batch.take(rows(sifted.new)))
        kept = [place for i, place in enumerate(sifted.new) if i not in refused]
        with self._remembering:
            self._recent.add([sifted.rows[i] for i in kept])
        # After the chunks, so that whoever reads of them finds them; repeated ones too, in case this failed before.
        # One at a time, so that no two points of this writer have one time.
        with self._announcing:
            if announced := arrival.index_lines(batch.take(rows([*kept, *sifted.repeated])), self._writer):
                self._connection.write("write_chunks (arrival)", announced)
        return Written(len(kept) + len(sifted.repeated), len(sifted.conflicts), len(refused))

    def read_chunks(self, shards: Collection[int], since: int, limit: int = 50_000) -> ChunkPage:
        if not shards:
            return ChunkPage((), since)
        delivered = arrival.first_of(self._arrivals(shards, since), limit)
        if not delivered:
            return ChunkPage((), since)
        chunks: dict[tuple[str, int], Chunk] = {}
        for stretch in arrival.stretches(delivered):
            for chunk in self._read("read_chunks", stretch.start, stretch.stop, flux.in_shards(stretch.shards)):
                chunks[chunk.device_id, chunk.t0] = chunk
        with self._remembering:
            cursor = self._memory.advance(shards, since, delivered)
        return ChunkPage(tuple(chunks.values()), cursor)

    def cursor_at(self, time: int) -> int:
        return time * lines.NANOSECONDS

    def read_span(self, device_id: str, start: int, end: int) -> tuple[Chunk, ...]:
        found = self._read("read_span", start - MICROSECONDS, end + MICROSECONDS, flux.any_of("device_id", [device_id]))
        return tuple(chunk for chunk in found if chunk.t0 < end and chunk.end > start)

    def write_scores(self, scores: WindowScores) -> None:
        write_scores(self._connection, scores)

    def list_devices(self, since: int) -> tuple[str, ...]:
        found = self._query("list_devices", "ecg_score", since, flux.any_of("_field", ["revision"]), then=flux.LAST)
        return tuple(sorted({device for table in found for device in table.texts("device_id")}))

    def read_windows(self, since: int, per_device: int, seed: int) -> WindowScores:
        return read_windows(self._connection, since, per_device, seed)

    def write_alert(self, event: AlertEvent) -> None:
        self._connection.write("write_alert", lines.alert_line(event))

    def read_alerts(self, since: int) -> tuple[AlertEvent, ...]:
        events = []
        for table in self._query("read_alerts", "ecg_alert", since, then=flux.AS_COLUMNS):
            scores, thresholds = table.texts("score"), table.texts("threshold")
            for i, decided_at in enumerate((table.times() // lines.NANOSECONDS).tolist()):
                events.append(
                    AlertEvent(
                        id=table.texts("id")[i],
                        alert_id=table.texts("alert")[i],
                        event=Transition(table.texts("event")[i]),
                        device_id=table.texts("device_id")[i],
                        kind=Kind(table.texts("kind")[i]),
                        priority=Priority(table.texts("priority")[i]),
                        onset=int(table.texts("onset")[i]),
                        decided_at=decided_at,
                        reason=table.texts("reason")[i],
                        score=float(scores[i]) if scores[i] else None,
                        threshold=float(thresholds[i]) if thresholds[i] else None,
                        model_revision=int(table.texts("model_revision")[i]),
                    )
                )
        return tuple(sorted(events, key=lambda event: (event.decided_at, event.id)))

    def write_ack(self, ack: Acknowledgement) -> None:
        self._connection.write("write_ack", lines.ack_line(ack))

    def read_acks(self, since: int) -> tuple[Acknowledgement, ...]:
        acks = []
        for table in self._query("read_acks", "ecg_ack", since, then=flux.AS_COLUMNS):
            times = (table.times() // lines.NANOSECONDS).tolist()
            columns = [table.texts(name) for name in ("alert", "device_id", "by", "reason")]
            acks += [
                Acknowledgement(alert, device, by, reason, at)
                for alert, device, by, reason, at in zip(*columns, times, strict=True)
            ]
        return tuple(sorted(acks, key=lambda ack: (ack.at, ack.alert_id, ack.by)))

    def write_strip(self, strip: Strip) -> None:
        self._connection.write("write_strip", lines.strip_lines(strip))

    def read_strip(self, alert_id: str) -> Strip | None:
        found = self._query("read_strip", "ecg_strip", 0, flux.any_of("alert", [alert_id]), then=_SERIES)
        chunks = LAYOUTS["Samples"].decode(found)
        return Strip(alert_id, chunks[0]) if chunks else None

    def write_baselines(self, baselines: Sequence[Baseline]) -> None:
        if baselines:
            self._connection.write("write_baselines", b"".join(lines.baseline_line(b) for b in baselines))

    def read_baselines(self, shards: Collection[int]) -> tuple[Baseline, ...]:
        newest = []
        if shards:
            for table in self._query("read_baselines", "ecg_baseline", 0, flux.in_shards(shards), then=flux.LAST):
                times = (table.times() // lines.NANOSECONDS).tolist()
                columns = zip(table.texts("device_id"), times, table.texts("_value"), strict=True)
                newest += [Baseline(device, at, base64.b64decode(payload)) for device, at, payload in columns]
        return tuple(sorted(newest, key=lambda baseline: baseline.device_id))

    def prune(self, before: int) -> int:  # noqa: ARG002
        return 0

    def health(self) -> None:
        self._connection.ping()

    def close(self) -> None:
        self._connection.close()

    def _write_good(self, chunks: Batch) -> set[int]:
        """Write chunks; one that InfluxDB will not have costs no other. Returns the places of those refused."""
        refused: set[int] = set()

        def send(first: int, last: int) -> None:
            if first == last:
                return
            body = self._layout.encode(chunks[first:last])
            middle = (first + last) // 2
            if len(body) > self._most_bytes and last - first > 1:
                send(first, middle)
                send(middle, last)
                return
            try:
                self._connection.write("write_chunks", body, compress=self._layout.compress)
            except RejectedError as error:
                if error.too_large:
                    self._most_bytes = min(self._most_bytes, max(len(body) // 2, _LEAST_BODY))
                if last - first == 1 or error.dropped == body.count(b"\n"):
                    _log.warning("the store refuses chunks", count=last - first, reason=str(error))
                    refused.update(range(first, last))
                    return
                send(first, middle)
                send(middle, last)

        send(0, len(chunks))
        return refused

    def _read(self, call: str, start: int, stop: int, condition: str) -> list[Chunk]:
        """Chunks whose points all lie in event time [start, stop), µs, and some that begin in it."""
        bounds = (start * lines.NANOSECONDS, stop * lines.NANOSECONDS)
        conditions = (self._layout.condition, condition)
        query = flux.select(self._connection.bucket, self._layout.measurement, *bounds, *conditions) + _SERIES
        return self._layout.decode(self._connection.query(call, query))

    def _arrivals(self, shards: Collection[int], since: int) -> list[arrival.Arrival]:
        """What has arrived since the cursor, from the nearest slice of the index that has any of it, in order."""
        start, length = since - arrival.OVERLAP, _FIRST_SLICE
        while True:
            stop = start + length if start + length < self._clock() else None
            query = flux.select(self._connection.bucket, "ecg_arrival", start, stop, flux.in_shards(shards))
            query += flux.keep("_time", "shard", "writer", "_value")
            found = arrival.arrivals(self._connection.query("read_chunks (arrival)", query))
            with self._remembering:
                fresh = self._memory.fresh(shards, since, found)
            if fresh or stop is None:
                return fresh
            start, length = stop, 2 * length

    def _query(self, call: str, measurement: str, since: int, *conditions: str, then: str) -> list[Table]:
        start = since * lines.NANOSECONDS
        query = flux.select(self._connection.bucket, measurement, start, flux.FAR, *conditions)
        return self._connection.query(call, query + then)


_SERIES = flux.keep("device_id", "_field", "_time", "_value")
