"""Which devices are refused and why, as a bounded number of log lines: a stranger must not be able to fill a log."""

from dataclasses import dataclass
from operator import attrgetter

import structlog

from holter.ingest.refusal import RefusalError

PERIOD = 10.0
"""Seconds between two looks at what is to be told."""
AGAIN = 300.0
"""Seconds after which the same fault of the same device is told again, if it goes on."""
LINES = 20
"""At most, in one period."""
KEPT = 1000
"""Faults at once; what comes on top is only counted."""
_log = structlog.get_logger()

Key = tuple[str, int, str]
"""Device, status code, field."""


@dataclass(slots=True)
class _Fault:
    key: Key
    reason: str
    last: float
    count: int = 0
    """Since it was told."""
    told: float | None = None

    def due(self, now: float) -> bool:
        return self.count > 0 and (self.told is None or now - self.told >= AGAIN)


class RefusedDevices:
    """A book of one process. Ids are as they were sent: who has no valid token may give whichever."""

    def __init__(self) -> None:
        self._faults: dict[Key, _Fault] = {}
        self._more = 0

    def note(self, refusal: RefusalError, now: float) -> None:
        """A refusal at `now` (s, of any clock that only goes on); those that name no device are let be."""
        if refusal.device_id is None:
            return
        key = (refusal.device_id, refusal.code, refusal.field.partition("[")[0])
        fault = self._faults.get(key)
        if fault is None:
            if len(self._faults) >= KEPT:
                self._more += 1
                return
            fault = self._faults[key] = _Fault(key, refusal.reason, now)
        fault.count, fault.last, fault.reason = fault.count + 1, now, refusal.reason

    def tell(self, now: float) -> None:
        """Log what is due, the most frequent first, and how much was left out. No value that was sent is told."""
        due = sorted((f for f in self._faults.values() if f.due(now)), key=attrgetter("count"), reverse=True)
        for fault in due[:LINES]:
            device_id, code, field = fault.key
            reason, count = fault.reason, fault.count
            _log.warning("refused", device_id=device_id, code=code, field=field, reason=reason, count=count)
            fault.told, fault.count = now, 0
        left = sum(fault.count for fault in due[LINES:]) + self._more
        if left:
            _log.warning("refused_more", count=left)
        self._more = 0
        self._faults = {key: fault for key, fault in self._faults.items() if now - fault.last < AGAIN}
