"""The one way in, whatever the transport: authenticate, place in time, append to the log."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from tornado.web import RequestHandler
from tornado.websocket import WebSocketHandler

from holter.chunk import Chunk
from holter.config import IngestConfig
from holter.frame import Frame, FrameError
from holter.ingest.commit import Commits, LogBrokenError
from holter.ingest.measures import Measures
from holter.ingest.records import MAX_RECORD_BYTES, record
from holter.ingest.refusal import RefusalError
from holter.ingest.timeline import Placed, Timeline
from holter.ingest.wal import LogFullError
from holter.keys import DeviceKeys

RETRY_SECONDS = 5
"""What a device waits when the log is full."""


def now() -> int:
    """Wall clock, microseconds since the epoch."""
    return time.time_ns() // 1000


T = TypeVar("T")


class Underway(set[T]):
    """What is under way, and a way to wait for the last of it."""

    def __init__(self) -> None:
        super().__init__()
        self._empty = asyncio.Event()

    def end(self, item: T) -> None:
        """It is done, or was already."""
        self.discard(item)
        if not self:
            self._empty.set()

    async def none_left(self) -> None:
        """Return when all are done."""
        while self:
            self._empty.clear()
            await self._empty.wait()


class Intake:
    """Takes chunks from every transport of one process; lives on its event loop.

    Attributes:
        config: the cohort's; replaced when it changes.
        closing: set while the process ends: nothing more is taken.
        requests: those that have not been answered.
        streams: open WebSockets.
        body_bytes: of all bodies that are being received.
    """

    def __init__(
        self,
        config: IngestConfig,
        keys: Callable[[], DeviceKeys] | None,
        commits: Commits,
        measures: Measures,
        clock: Callable[[], int] = now,
    ) -> None:
        """Args: see the class; `keys` gives the newest ones; `clock` is wall clock in µs."""
        self.config = config
        self.closing = False
        self.requests: Underway[RequestHandler] = Underway()
        self.streams: Underway[WebSocketHandler] = Underway()
        self.body_bytes = 0
        self.commits, self.measures = commits, measures
        self.timeline = Timeline(config.max_patients)
        self._keys, self._clock = keys, clock

    def reconfigure(self, config: IngestConfig) -> None:
        """Go on under another configuration."""
        self.config = config
        self.timeline.max_devices = config.max_patients

    def check_bearer(self, device_id: str, token: str | None, field: str = "Authorization") -> None:
        """Return when `token` is this device's, or none is needed.

        Raises:
            RefusalError: 401 without one, 403 with a wrong one.
        """
        if self.config.access == "Open":
            return
        if not token:
            raise RefusalError(401, field, "is missing: the device's bearer token is expected")
        if self._keys is None or not self._keys().allows_bearer(device_id, token):
            raise RefusalError(403, field, "is not this device's token")

    def check_frame(self, frame: Frame) -> None:
        """Return when the frame is genuine, or need not be.

        Raises:
            FrameError: its MAC is wrong; then its length may be, too.
        """
        if self.config.access == "Open":
            return
        device_id = frame.chunk.device_id
        if self._keys is None or not frame.is_signed_by(*self._keys().mac_keys(device_id)):
            raise FrameError("mac", "is not made with this device's key", device_id)

    def offer(self, chunk: Chunk, *, timed: bool) -> Placed:
        """Place samples of up to 10 s and append them to the log; they are on disk when `commits.on_disk()` returns.

        Raises:
            RefusalError: 400 or 429 (see `Timeline.place`); 503 when the log takes nothing now.
        """
        self._check_room(len(chunk.samples) / chunk.fs)
        placed = self.timeline.place(chunk, timed=timed, now=self._clock())
        for part in placed.parts:
            self.commits.append(record(part))
        self._count(placed)
        return placed

    def _check_room(self, seconds: float) -> None:
        if self.closing:
            raise RefusalError(503, "service", "is closing: send to another replica", wait=1)
        try:
            self.commits.check_room(int(seconds + 2) * MAX_RECORD_BYTES)
        except LogFullError as e:
            raise RefusalError(503, "service", f"cannot take more now: {e}", wait=RETRY_SECONDS) from e
        except LogBrokenError as e:
            raise RefusalError(503, "service", f"is about to restart: {e}", wait=RETRY_SECONDS) from e

    def _count(self, placed: Placed) -> None:
        measures = self.measures
        measures.samples.inc(placed.accepted - placed.repeated)
        if placed.repeated:
            measures.repeated.inc(placed.repeated)
        if placed.conflicting:
            measures.rejected("conflict")
        if placed.missing:
            (measures.gap_reanchored if placed.reanchored else measures.gap_t0).inc(placed.missing)
        if placed.reanchored:
            measures.reanchored.inc()
        if placed.late:
            measures.late.inc()


def as_refusal(error: FrameError) -> RefusalError:
    """The answer to a frame that cannot be read, or is not genuine."""
    return RefusalError(403 if error.field == "mac" else 400, error.field, error.reason, value=error.value)
