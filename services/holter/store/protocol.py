"""The store as the services see it. Every implementation passes tests/unit/store/contract.py."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from holter.alert import Acknowledgement, AlertEvent
from holter.chunk import Chunk
from holter.window import WindowScores


class StoreUnavailableError(Exception):
    """The store did not take or give it and may later: retry. The message says which call and why.

    Attributes:
        wait: seconds after which the store asked to be asked again; None when it did not say.
    """

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class StoreRefusedError(Exception):
    """The store will never take it (bad request, missing rights): a retry is no use."""


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a batch of chunks.

    Attributes:
        stored: chunks that are now in the store, those that were there already included.
        conflicts: chunks whose device and `t0` were there with other samples; the first one stays.
        refused: chunks that the store will never take (older than its retention); the reason is in the log.
    """

    stored: int
    conflicts: int
    refused: int = 0


@dataclass(frozen=True, slots=True)
class ChunkPage:
    """Chunks in the order of their arrival.

    Attributes:
        chunks: may repeat a chunk that an earlier page held, never leaves one out.
        cursor: where the next page begins; the same as before when nothing has arrived.
    """

    chunks: tuple[Chunk, ...]
    cursor: int


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a worker knows of one patient, so that another can go on from there.

    Attributes:
        device_id: whose.
        at: event time, µs since the epoch.
        payload: the worker's own encoding, at most 16 kB.
    """

    device_id: str
    at: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Strip:
    """Samples around an alert, kept as samples for people and dashboards.

    Attributes:
        alert_id: whose strip.
        chunk: the samples; may be longer than a second.
    """

    alert_id: str
    chunk: Chunk


class Store(Protocol):
    """All calls block; callers on an event loop use a thread. All are safe to repeat.

    Raises:
        StoreUnavailableError: from any call, when a retry may help.
        StoreRefusedError: from any call, when it never will.
    """

    def write_chunks(self, chunks: Sequence[Chunk]) -> Written:
        """Keep chunks. A chunk of the same device and `t0` is the same chunk: the first write wins.

        Raises StoreRefusedError only for a reason that concerns them all (rights, a bucket that is gone).
        """

    def read_chunks(self, shards: Collection[int], since: int, limit: int = 50_000) -> ChunkPage:
        """Chunks of these shards that arrived at or after cursor `since`: pages follow arrival.

        Within a page a device's chunks are in order of `t0` unless they arrived otherwise. `limit` bounds a page, if
        roughly where arrivals cannot be told apart; read on from `cursor` until it stays the same. A cursor is a number
        that only this store can read; `cursor_at` makes one of a wall-clock time.
        """

    def cursor_at(self, time: int) -> int:
        """The cursor from which every chunk that arrived at or after wall-clock `time` (µs) is read."""

    def read_span(self, device_id: str, start: int, end: int) -> tuple[Chunk, ...]:
        """One device's chunks that overlap event time [start, end) (µs), in order of `t0`, however they arrived."""

    def write_scores(self, scores: WindowScores) -> None:
        """Keep scored windows; the same device and end is the same window: the last write wins."""

    def list_devices(self, since: int) -> tuple[str, ...]:
        """Devices that have scored windows which end at or after `since` (event time, µs), sorted."""

    def read_windows(self, since: int, per_device: int, seed: int) -> WindowScores:
        """Scored windows that end at or after `since` (event time, µs): at most `per_device` of each device.

        The choice is a function of `seed` and of what is stored; rows are sorted by device and end. `names` has every
        feature that one of the rows was written with, NaN where another was not; infinite values come back as NaN.
        """

    def write_alert(self, event: AlertEvent) -> None:
        """Keep one alert event; the same `id` is the same event."""

    def read_alerts(self, since: int) -> tuple[AlertEvent, ...]:
        """Alert events decided at or after `since` (event time, µs), in that order."""

    def write_ack(self, ack: Acknowledgement) -> None:
        """Keep one acknowledgement."""

    def read_acks(self, since: int) -> tuple[Acknowledgement, ...]:
        """Acknowledgements made at or after `since` (wall clock, µs), in that order."""

    def write_strip(self, strip: Strip) -> None:
        """Keep the samples around an alert, as samples; one strip an alert."""

    def read_strip(self, alert_id: str) -> Strip | None:
        """The samples around an alert, None when there are none (yet)."""

    def write_baselines(self, baselines: Sequence[Baseline]) -> None:
        """Keep baselines; only the newest of a device has to be kept."""

    def read_baselines(self, shards: Collection[int]) -> tuple[Baseline, ...]:
        """The newest baseline (by `at`) of every device of these shards, sorted by device.

        Whether one is too old is for the reader to say: in event time, so that a replay finds its own.
        """

    def prune(self, before: int) -> int:
        """Forget what is older than `before` (µs): chunks by when they were stored, all else by its own time.

        May take minutes, lets writers in between, and ends early when the store is closed meanwhile.

        Returns:
            What was removed, in rows; 0 from a store that forgets by itself (InfluxDB, by its bucket's retention).
        """

    def health(self) -> None:
        """Return when the store answers.

        Raises:
            StoreUnavailableError: it does not.
        """

    def close(self) -> None:
        """Release connections and files."""
