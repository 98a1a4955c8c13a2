"""The one way in, whatever the transport: authenticate, place in time, append to the log."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from tornado.httputil import HTTPMessageDelegate
from tornado.websocket import WebSocketHandler

from holter.chunk import Chunk
from holter.config import IngestConfig
from holter.frame import (
    HEADER_BYTES,
    MAGIC,
    MAX_DATAGRAM_BYTES,
    Frame,
    FrameError,
    decode,
    decode_one,
    is_one_frame,
    pack,
)
from holter.ingest.commit import Commits, LogBrokenError
from holter.ingest.lane import Lane
from holter.ingest.measures import Measures
from holter.ingest.records import MAX_RECORD_BYTES, record, scan
from holter.ingest.refusal import RefusalError
from holter.ingest.timeline import FUTURE, Placed, Timeline, split
from holter.ingest.wal import LogFullError
from holter.keys import MAC_BYTES, DeviceKeys

RETRY_SECONDS = 5
"""What a device waits when the log is full."""


def now() -> int:
    """Wall clock, microseconds since the epoch."""
    return time.time_ns() // 1000


_UNSIGNED = bytes(MAC_BYTES)
T = TypeVar("T")


class Taken(NamedTuple):
    """What became of one frame.

    Attributes:
        at: where its header begins.
        t0: of its first sample, as it is kept or was sent.
        accepted: samples of it that are kept or were there already.
        conflicting: samples of it that are not kept because others were accepted for the same device and `t0`.
        refusal: why nothing of it is taken, or None.
        genuine: whether it can be read and is its device's: whether the header says who sent it.
    """

    at: int
    t0: int
    accepted: int
    conflicting: int
    refusal: RefusalError | None
    genuine: bool


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
        self.requests: Underway[HTTPMessageDelegate] = Underway()
        self.streams: Underway[WebSocketHandler] = Underway()
        self.body_bytes = 0
        self.commits, self.measures = commits, measures
        self.timeline = Timeline(config.max_patients)
        self._lane = Lane(self.timeline)
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
            raise RefusalError(401, field, "is missing: the device's bearer token is expected").about(device_id)
        if self._keys is None or not self._keys().allows_bearer(device_id, token):
            raise RefusalError(403, field, "is not this device's token").about(device_id)

    def offer(self, chunk: Chunk, *, timed: bool) -> Placed:
        """Place samples of up to 10 s and append them to the log; they are on disk when `commits.on_disk()` returns.

        Raises:
            RefusalError: 400 or 429 (see `Timeline.place`); 503 when the log takes nothing now.
        """
        now = self._clock()
        if timed and chunk.end <= now + FUTURE and self._lane_is_clear(4 * len(chunk.samples)):
            parts = split(chunk)
            passed = all(self._passes(part, now) for part in parts)  # where the first passes, those behind it do
            self._count_passed()
            if passed:
                return Placed(chunk.t0, parts, len(chunk.samples), 0, 0, 0, reanchored=False, late=False)
        return self._place(chunk, timed=timed)

    def take_frames(self, data: bytes) -> Iterator[Taken]:
        """Take frames that follow each other; garbage costs one refusal, and reading goes on at the next magic.

        What is accepted is on disk when `commits.on_disk()` returns. A 403 or 400 says that a frame is not genuine.
        """
        now, at, keys = self._clock(), 0, self._frame_keys()
        # One look at the log for all of them; when it is full, each is refused by itself.
        clear = self._can_check(keys) and self._lane_is_clear(len(data))
        append, take = self.commits.append, self._lane.take
        try:
            while 0 <= at < len(data):
                passed = take(data, at, keys, now) if clear else None
                if passed is not None:
                    append(passed)
                    n = data[at + 6] | data[at + 7] << 8
                    yield Taken(at, int.from_bytes(data[at + 16 : at + 24], "little"), n, 0, None, True)
                    at += HEADER_BYTES + 2 * n + MAC_BYTES
                    continue
                try:
                    frame = decode(data, at)
                    self.check_frame(frame)
                except FrameError as error:
                    yield Taken(at, 0, 0, 0, as_refusal(error), False)
                    at = data.find(MAGIC, at + 1)
                else:
                    yield self._take_frame(frame, at)
                    at += len(frame)
        finally:
            self._count_passed()

    def take_datagrams(self, datagrams: Sequence[bytes]) -> list[RefusalError]:
        """Take messages that are exactly one frame each; what is refused of them."""
        now, keys = self._clock(), self._frame_keys()
        clear = self._can_check(keys) and self._lane_is_clear(sum(map(len, datagrams)))
        append, take = self.commits.append, self._lane.take
        refusals = []
        for data in datagrams:
            record = take(data, 0, keys, now) if clear and is_one_frame(data) else None
            if record is not None:
                append(record, awaited=False)
                continue
            try:
                if len(data) > MAX_DATAGRAM_BYTES:
                    raise RefusalError(413, "frame", f"is larger than {MAX_DATAGRAM_BYTES} bytes")
                frame = decode_one(data)
                self.check_frame(frame)
                self._place(frame.chunk, timed=frame.timed, awaited=False)
            except FrameError as error:
                refusals.append(as_refusal(error))
            except RefusalError as refusal:
                refusals.append(refusal)
        self._count_passed()
        return refusals

    async def take_over(self, block: bytes) -> int:
        """Records of the log of a process that ends: how many, once they are on disk here. Workers have them already.

        Raises:
            ValueError: one of them is not sound.
            RefusalError, LogBrokenError, LogFullError: not now, or not here.
        """
        found = scan(block, final=True)
        if found.damaged:
            raise ValueError(f"{found.damaged} of {len(block)} bytes are no record")
        self._check_room(len(block) / MAX_RECORD_BYTES)
        self.timeline.recall(found.chunks, self._clock())
        self.commits.append_inherited(block, len(found.chunks))
        await self.commits.on_disk()
        return len(found.chunks)

    def could_not_keep(self, records: Sequence[bytes]) -> None:
        """The disk had no room for these after all; whoever waited for them is told to send them again."""
        self.timeline.forget(scan(b"".join(records), final=True).chunks)
        self.measures.rejected("unavailable", len(records))

    def check_frame(self, frame: Frame) -> None:
        """Return when the frame is genuine, or need not be.

        Raises:
            FrameError: its MAC is wrong; then its length may be, too.
        """
        if self.config.access == "Open":
            return
        device_id = frame.chunk.device_id
        if self._keys is None or not frame.is_signed_by(*self._keys().signers(device_id)):
            raise FrameError("mac", "is not made with this device's key", device_id).about(device_id)

    def _frame_keys(self) -> DeviceKeys | None:
        return None if self._keys is None or self.config.access == "Open" else self._keys()

    def _can_check(self, keys: DeviceKeys | None) -> bool:
        return keys is not None or self.config.access == "Open"

    def _lane_is_clear(self, size: int) -> bool:
        """Whether frames of `size` bytes in all may go straight to the log. Their records are a little longer."""
        if self.closing:
            return False
        try:
            self.commits.check_room(size + size // 8 + MAX_RECORD_BYTES)
        except (LogFullError, LogBrokenError):
            return False
        return True

    def _passes(self, chunk: Chunk, now: int) -> bool:
        record = self._lane.take(pack(chunk) + _UNSIGNED, 0, None, now)
        if record is None:
            return False
        self.commits.append(record)
        return True

    def _place(self, chunk: Chunk, *, timed: bool, awaited: bool = True) -> Placed:
        """The general way of `offer`; what is not awaited is on disk a little later, see `Commits.append`."""
        self._check_room(len(chunk.samples) / chunk.fs)
        try:
            placed = self.timeline.place(chunk, timed=timed, now=self._clock())
        except RefusalError as refusal:
            raise refusal.about(chunk.device_id) from None
        for part in placed.parts:
            self.commits.append(record(part), awaited=awaited)
        self._count(placed)
        return placed

    def _take_frame(self, frame: Frame, at: int) -> Taken:
        try:
            placed = self._place(frame.chunk, timed=frame.timed)
        except RefusalError as refusal:
            return Taken(at, frame.chunk.t0, 0, 0, refusal, True)
        return Taken(at, placed.t0, placed.accepted, placed.conflicting, None, True)

    def _count_passed(self) -> None:
        passed = self._lane.passed
        if passed.frames:
            self.measures.samples.inc(passed.samples)
            if passed.missing:
                self.measures.gap_t0.inc(passed.missing)
            passed.frames = passed.samples = passed.missing = 0

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
    refusal = RefusalError(403 if error.field == "mac" else 400, error.field, error.reason, value=error.value)
    return refusal if error.device_id is None else refusal.about(error.device_id)
