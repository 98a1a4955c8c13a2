"""What waits for one browser: the newest state of each alert, the newest figures, and a few batches of ECG."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping

BATCHES = 8
"""Batches of ECG that wait, 4 s; the oldest gives way."""


class Outgoing:
    """Bounded whatever the browser does, and no alert is ever dropped.

    Alerts are kept by id, newest state only, so they are at most as many as there are alerts; figures are one message;
    ECG gives way.
    """

    def __init__(self) -> None:
        self._alerts: dict[str, str] = {}
        self._figures: str | None = None
        self._batches: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self.dropped = 0

    def alerts(self, messages: Mapping[str, str]) -> None:
        """Alerts by id, as messages."""
        self._alerts |= messages
        self._wake.set()

    def figures(self, message: str) -> None:
        """Figures of all patients and of the cohort."""
        self._figures = message
        self._wake.set()

    def batch(self, batch: bytes) -> int:
        """A batch of ECG; how many it displaced."""
        self._batches.append(batch)
        displaced = max(0, len(self._batches) - BATCHES)
        for _ in range(displaced):
            self._batches.popleft()
        self.dropped += displaced
        self._wake.set()
        return displaced

    async def messages(self) -> AsyncIterator[str | bytes]:
        """All that is to be sent, alerts first; ends never."""
        while True:
            if self._alerts:
                identity = next(iter(self._alerts))
                yield self._alerts.pop(identity)
            elif self._figures is not None:
                figures, self._figures = self._figures, None
                yield figures
            elif self._batches:
                yield self._batches.popleft()
            else:
                self._wake.clear()
                await self._wake.wait()
