"""When the samples of each second came to ingest, so that the time from sample to decision can be told.

Chunks pass through on their way to the engine, so each is known no sooner than the engine has it.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from holter.chunk import MICROSECONDS, Chunk
from holter.inference.engine import Tick
from holter.inference.stream import LATENESS

_LONGEST_GAP = 30
"""Seconds in a row without a sample, at most; more than an engine's stream holds."""
_KEPT = 64
"""Seconds remembered of a device; those that came too late to be judged are never asked for."""


class Arrivals:
    """Arrivals of seconds that have not been judged. All are µs since the epoch, 0 when not known.

    Attributes:
        since: what came before is not known: a worker that was here before has judged it, and has told the time.
    """

    def __init__(self) -> None:
        self.since = 0
        self._seconds: dict[str, dict[int, int]] = {}  # of each device: the last arrival of each event second

    def hear(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """The same chunks, noted as they are taken."""
        since, devices = self.since, self._seconds
        for chunk in chunks:
            arrived = chunk.arrived
            if arrived > since:
                seconds = devices.get(chunk.device_id)
                if seconds is None:
                    seconds = devices[chunk.device_id] = {}
                # At most a second of samples lies in one event second, or in two that follow each other.
                seconds[chunk.t0 // MICROSECONDS + 1] = seconds[(chunk.end - 1) // MICROSECONDS + 1] = arrived
                if len(seconds) > _KEPT:
                    for second in sorted(seconds)[: -_KEPT // 2]:
                        del seconds[second]
            yield chunk

    def take(self, tick: Tick, device_ids: Sequence[str | None]) -> NDArray[np.int64]:
        """The arrival of the sample that completed each of a tick's seconds.

        That is the last to come of the second's own samples. Of a second without any it is the first sample that is so
        far beyond it that it was waited for no longer.

        Args:
            tick: of an engine that has the chunks from `hear`; each tick once.
            device_ids: by slot, of that engine.

        Returns:
            Shape (n,), int64, in the tick's order.
        """
        arrived = []
        for slot, second, hole in zip(tick.slots.tolist(), tick.seconds.tolist(), tick.holes.tolist(), strict=True):
            seconds = self._seconds.get(device_ids[slot] or "", {})
            time = seconds.pop(second, 0)
            if not time and hole > 0.5:  # not 1: at other rates a second is made with some samples of its neighbours
                beyond = range(second + round(LATENESS), second + _LONGEST_GAP)
                time = next((seconds[later] for later in beyond if later in seconds), 0)
            arrived.append(time)
        return np.asarray(arrived, np.int64)

    def forget(self, device_id: str) -> None:
        """Let go of a device that has gone."""
        self._seconds.pop(device_id, None)
