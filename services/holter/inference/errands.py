"""What a worker and its store exchange beside chunks: scores, strips, baselines, acknowledgements.

`run` blocks on the store and may do so for long; everything else is quick and may come from another thread, so that
nobody waits for a store to be alarmed.
"""

from collections import deque
from collections.abc import Collection, Sequence

import numpy as np
import structlog

from holter.alert import Acknowledgement, AlertEvent
from holter.chunk import MICROSECONDS
from holter.inference.strips import Strips
from holter.inference.telemetry import Telemetry
from holter.store.protocol import Baseline, Store, StoreRefusedError, StoreUnavailableError
from holter.window import WindowScores

ACKNOWLEDGEMENTS_EVERY = 2.0
_SCORES_KEPT = 200_000
_log = structlog.get_logger()


class Errands:
    """See the module.

    Args:
        store: with whom.
        telemetry: counts and times.
    """

    def __init__(self, store: Store, telemetry: Telemetry) -> None:
        self._store, self._telemetry = store, telemetry
        self._strips = Strips(store)
        self._scores: deque[WindowScores] = deque()
        self._baselines: dict[str, Baseline] = {}
        self._acknowledged: deque[Acknowledgement] = deque()
        self._acknowledged_until = 0
        self._next_acknowledgements = 0.0

    def start(self, since: int) -> None:
        """Acknowledgements are wanted from wall clock `since` (µs)."""
        self._acknowledged_until = since

    def keep_scores(self, scores: WindowScores) -> None:
        """Scores to be stored; they wait while the store is away."""
        self._scores.append(scores)

    def keep_baselines(self, baselines: Sequence[Baseline]) -> None:
        """Baselines to be stored; of a device the newest waits."""
        self._baselines.update((baseline.device_id, baseline) for baseline in baselines)

    def want_strip(self, event: AlertEvent, now: float) -> None:
        """The samples around this alert are to be kept, as soon as they can be had."""
        self._strips.want(event, now)

    def acknowledgements(self) -> list[Acknowledgement]:
        """Those that were read since the last call."""
        taken = []
        while self._acknowledged:
            taken.append(self._acknowledged.popleft())
        return taken

    def run(self, now: float) -> None:
        """Everything that is due; `now` is wall clock, s.

        Raises:
            StoreUnavailableError: acknowledgements could not be read. All else waits by itself.
        """
        self._write_scores()
        self.write_baselines()
        self._strips.write(now)
        if now >= self._next_acknowledgements:
            for ack in self._store.read_acks(self._acknowledged_until):
                self._acknowledged.append(ack)
                self._acknowledged_until = max(self._acknowledged_until, ack.at - 5 * MICROSECONDS)
            self._next_acknowledgements = now + ACKNOWLEDGEMENTS_EVERY

    def write_baselines(self) -> None:
        """Write the baselines that wait, so that another worker can go on from them."""
        waiting = dict(self._baselines)
        if not waiting:
            return
        try:
            self._store.write_baselines(tuple(waiting.values()))
        except (StoreUnavailableError, StoreRefusedError) as error:
            self._telemetry.store_failed()
            _log.warning("baselines_not_written", reason=str(error))
            return
        for device_id, baseline in waiting.items():
            if self._baselines.get(device_id) is baseline:
                del self._baselines[device_id]

    def _write_scores(self) -> None:
        waiting = list(self._scores)
        kept = sum(map(len, waiting))
        while kept > _SCORES_KEPT:
            dropped = len(self._scores.popleft())
            waiting.pop(0)
            kept -= dropped
            self._telemetry.scores_dropped(dropped)
        if not waiting:
            return
        with self._telemetry.stage("write"):
            try:
                self._store.write_scores(_joined(waiting))
            except StoreUnavailableError as error:
                self._telemetry.store_failed()
                _log.warning("scores_wait", windows=kept, reason=str(error))
                return
            except StoreRefusedError as error:
                self._telemetry.scores_dropped(kept)
                _log.error("scores_refused", windows=kept, reason=str(error))
        for _ in waiting:
            self._scores.popleft()


def _joined(parts: Collection[WindowScores]) -> WindowScores:
    """Columns of several batches as one."""
    batches = list(parts)
    if len(batches) == 1:
        return batches[0]

    def column(name: str) -> np.ndarray:
        return np.concatenate([getattr(batch, name) for batch in batches])

    return WindowScores(
        device_ids=tuple(device_id for batch in batches for device_id in batch.device_ids),
        ends=column("ends"),
        names=batches[0].names,
        features=column("features"),
        ordered=column("ordered"),
        forest=column("forest"),
        score=column("score"),
        quality=column("quality"),
        flagged=column("flagged"),
        alerted=column("alerted"),
        revision=column("revision"),
    )
