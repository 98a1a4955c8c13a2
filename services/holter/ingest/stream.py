"""`GET /stream`: a WebSocket, binary frames in, acknowledgements out once they are on disk."""

import asyncio
from collections.abc import Awaitable
from functools import partial

import orjson
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from holter.frame import Status, answer, not_now
from holter.ingest.http import JsonHandler
from holter.ingest.intake import RETRY_SECONDS, Intake
from holter.ingest.refusal import RefusalError
from holter.ingest.wal import LogFullError

UNACKNOWLEDGED = 1000
"""Frames on their way to disk after which no more is read from this device."""
STALLED = 64
"""Messages to a device that does not read them after which it is disconnected."""
FAULTS = 100
"""Faults without a good frame in between after which a device is disconnected."""


class StreamHandler(WebSocketHandler, JsonHandler):
    """One device, or one gateway of many: every frame carries its own proof."""

    SUPPORTED_METHODS = ("GET",)

    def initialize(self, intake: Intake) -> None:
        """Tornado's constructor."""
        self.intake = intake
        self._batch: asyncio.Future[None] | None = None
        self._acks: list[bytes] = []
        self._unread = 0
        self._faults = 0

    async def get(self, *args: str, **kwargs: str) -> None:
        """Shake hands."""
        if self.request.headers.get("Upgrade", "").lower() != "websocket":
            self.refuse(RefusalError(400, "Upgrade", "has to be 'websocket': this path is a WebSocket"))
        elif self.intake.closing:
            self.refuse(RefusalError(503, "service", "is closing: send to another replica", wait=1))
        else:
            await super().get(*args, **kwargs)

    def on_finish(self) -> None:
        """Frames are counted, handshakes only when they fail."""
        if self.get_status() != 101:
            super().on_finish()

    def open(self, *_: str, **__: str) -> None:
        """The handshake is done."""
        self.set_nodelay(True)
        self.intake.streams.add(self)

    def on_close(self) -> None:
        """The device went away; what it sent stays."""
        self.intake.streams.end(self)

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        """Take the frames of one message; their acknowledgements follow when they are on disk."""
        if isinstance(message, str):
            self._tell_fault(RefusalError(400, "message", "is text: binary frames are expected"))
            return None
        acks, accepted = [], 0
        for taken in self.intake.take_frames(message):
            refusal = taken.refusal
            if refusal is not None and not taken.genuine:
                self._tell_fault(refusal)
                if self._faults > FAULTS:
                    self.close(1008, "too many faults")
                    break
                continue
            self._faults = 0
            if refusal is None:
                accepted += 1
                acks.append(answer(message, taken.at, taken.t0, Status.ACCEPTED if taken.accepted else Status.REFUSED))
            else:
                self.intake.measures.refused(refusal)
                self.intake.measures.answered("websocket", refusal.code)
                status = Status.REFUSED if refusal.wait is None else Status.RETRY
                acks.append(answer(message, taken.at, taken.t0, status, refusal.wait or 0))
        if accepted:
            self.intake.measures.answered("websocket", 202, accepted)
        if acks:
            self._acknowledge(acks)
        return self.intake.commits.on_disk() if len(self._acks) > UNACKNOWLEDGED else None

    def _tell_fault(self, refusal: RefusalError) -> None:
        """A frame that cannot be read, or is not genuine, has no sender to acknowledge it to: say so in text."""
        self.intake.measures.refused(refusal)
        self.intake.measures.answered("websocket", refusal.code)
        self._faults += 1
        self._send(orjson.dumps({"error": refusal.as_json()}), binary=False)

    def _acknowledge(self, acks: list[bytes]) -> None:
        commit = self.intake.commits.pending()
        if commit is None:
            self._send(b"".join(acks))
        elif commit is self._batch:
            self._acks += acks
        else:
            self._batch, self._acks = commit, acks
            commit.add_done_callback(partial(self._settle, acks))

    def _settle(self, acks: list[bytes], commit: asyncio.Future[None]) -> None:
        if self._batch is commit:
            self._batch, self._acks = None, []
        error = None if commit.cancelled() else commit.exception()
        if isinstance(error, LogFullError):
            self._send(b"".join(not_now(ack, RETRY_SECONDS) for ack in acks))
        elif commit.cancelled() or error is not None:
            self.close(1011, "the log cannot be written")
        else:
            self._send(b"".join(acks))

    def _send(self, message: bytes, *, binary: bool = True) -> None:
        if self._unread >= STALLED:
            self.close(1008, "acknowledgements are not read")
            return
        try:
            sent = asyncio.ensure_future(self.write_message(message, binary=binary))
        except WebSocketClosedError:
            return
        self._unread += 1
        sent.add_done_callback(self._sent)

    def _sent(self, sent: "asyncio.Future[None]") -> None:
        self._unread -= 1
        if not sent.cancelled():
            sent.exception()  # a device that went away is told nothing
