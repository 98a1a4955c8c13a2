"""The samples around each alert, kept apart once the 10 s after its onset have come."""

import numpy as np
import structlog

from holter.alert import AlertEvent
from holter.chunk import MICROSECONDS, Chunk
from holter.store.protocol import Store, StoreRefusedError, StoreUnavailableError, Strip

BEFORE = AFTER = 10 * MICROSECONDS
_WAIT = 13.0
"""Seconds after the decision until the strip is there, with what a store takes to get it."""
_log = structlog.get_logger()


def cut(alert_id: str, chunks: tuple[Chunk, ...], start: int, end: int) -> Strip | None:
    """One strip of the chunks that overlap [start, end) (µs); a gap holds the last value; None without samples."""
    if not chunks:
        return None
    fs = chunks[-1].fs
    chunks = tuple(c for c in chunks if c.fs == fs)
    step = MICROSECONDS / fs
    n = round((min(end, chunks[-1].end) - max(start, chunks[0].t0)) / step)
    first = max(start, chunks[0].t0)
    samples, filled = np.zeros(max(n, 0), np.int16), np.zeros(max(n, 0), np.bool_)
    for chunk in chunks:
        at = round((chunk.t0 - first) / step)
        a, b = max(at, 0), min(at + len(chunk.samples), n)
        if b > a:
            samples[a:b] = chunk.samples[a - at : b - at]
            filled[a:b] = True
    if not filled.any():
        return None
    last = np.maximum.accumulate(np.where(filled, np.arange(n), int(np.argmax(filled))))
    return Strip(alert_id, Chunk(chunks[0].device_id, first, fs, samples[last]))


class Strips:
    """Strips that are wanted.

    Args:
        store: samples from, strips to.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._wanted: dict[str, tuple[float, AlertEvent]] = {}

    def want(self, event: AlertEvent, now: float) -> None:
        """The strip of this alert, as soon as it can be had."""
        self._wanted.setdefault(event.alert_id, (now + _WAIT, event))

    def write(self, now: float) -> None:
        """Write those that are due; while the store is away they wait."""
        for alert_id, (due, event) in list(self._wanted.items()):
            if due > now:
                continue
            start, end = event.onset - BEFORE, event.onset + AFTER
            try:
                strip = cut(alert_id, self._store.read_span(event.device_id, start, end), start, end)
                if strip is not None:
                    self._store.write_strip(strip)
            except StoreUnavailableError:
                return
            except StoreRefusedError as error:
                _log.error("strip_refused", device_id=event.device_id, reason=str(error))
            del self._wanted[alert_id]
