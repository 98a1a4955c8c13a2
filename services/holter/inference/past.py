"""What the store knows of some shards' past: where to read on, what was learnt of their devices, what was told."""

from bisect import bisect_left
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from holter.alert import AlertEvent
from holter.chunk import MICROSECONDS, shard_of
from holter.store.protocol import Baseline, Store

WARM_UP = 150.0
"""Seconds of arrivals that are read again at start: filters, levels and persistence find their state."""
REMEMBER = 24 * 3600.0
_CURSOR_STEP = 100_000
"""µs of the wall clock: how closely a cursor is placed in time."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """What the store knows of some shards' past.

    Attributes:
        shards: which.
        cursor: from where chunks are to be read.
        judged: about when (wall clock, µs) the last chunk came that has been judged before; 0 when that is not known.
        baselines: by device.
        events: alerts of the last day.
    """

    shards: frozenset[int]
    cursor: int
    judged: int
    baselines: dict[str, Baseline]
    events: tuple[AlertEvent, ...]


def recall(store: Store, shards: Collection[int], now: float, warm_up: float) -> Recalled:
    """Ask the store.

    Args:
        store: which.
        shards: which.
        now: wall clock, s.
        warm_up: seconds of arrivals to be read again.

    Raises:
        StoreUnavailableError: try again.
    """
    since = round((now - REMEMBER) * MICROSECONDS)
    return Recalled(
        frozenset(shards),
        store.cursor_at(round((now - warm_up) * MICROSECONDS)),
        0,
        {baseline.device_id: baseline for baseline in store.read_baselines(shards)},
        tuple(event for event in store.read_alerts(since) if shard_of(event.device_id) in shards),
    )


def after_restart(recalled: Recalled, store: Store, resume: int | None, now: float) -> Recalled:
    """The same in a new process: what its last life had read counts too.

    Args:
        recalled: with `WARM_UP`.
        store: of it.
        resume: the cursor that was committed last; None in the first life.
        now: wall clock, s.
    """
    if resume is None or resume <= recalled.cursor:  # nothing is read twice
        return recalled if resume is None else replace(recalled, cursor=resume)
    times = range(round((now - WARM_UP) * MICROSECONDS), round(now * MICROSECONDS), _CURSOR_STEP)
    found = bisect_left(times, resume, key=store.cursor_at)
    return replace(recalled, judged=times[found - 1] if found else 0)


def in_order(events: Iterable[AlertEvent]) -> tuple[AlertEvent, ...]:
    """By when they were decided."""
    return tuple(sorted(events, key=lambda e: (e.decided_at, e.id)))
