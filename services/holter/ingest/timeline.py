"""Places chunks in time: continues devices without a clock, knows repeats, cuts overlaps.

Pure: the caller says what time it is, in microseconds since the epoch, as all times here are.
Memory is bounded: `max_devices` devices, and of each the last `REMEMBERED` chunks.
"""

import math
from array import array
from bisect import bisect_left
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from holter.chunk import GAP_BEFORE, MICROSECONDS, Chunk
from holter.frame import ID_BYTES
from holter.ingest.refusal import RefusalError
from holter.keys import DeviceKeys, Signer
from holter.packed import Batch

TOLERANCE = 1 * MICROSECONDS
"""A device without `t0` that is further off its arrival than this is placed anew."""
AHEAD = 60 * MICROSECONDS
"""A device without `t0` may send this much faster than its rate says before it is asked to wait."""
FUTURE = 300 * MICROSECONDS
"""A `t0` further ahead of its arrival than this is a wrong clock."""
OLDEST = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp()) * MICROSECONDS
"""A `t0` before this is a clock that was never set."""
SESSION = 600 * MICROSECONDS
"""A silence longer than this is a new session, not a gap."""
IDLE = 300 * MICROSECONDS
"""A device that was silent for this long gives its place to another one."""
REMEMBERED = 512


@dataclass(frozen=True, slots=True)
class Placed:
    """What became of the samples of one post or frame.

    Attributes:
        t0: of its first sample.
        parts: the chunks to keep, each at most one second, in order, dated with their arrival; empty when all of it was
            there already.
        accepted: samples that are kept or were there already.
        repeated: those of them that were there already.
        conflicting: samples that are not kept because others were accepted for the same device and `t0`.
        missing: samples between this and the newest before it (a gap).
        reanchored: whether a device without `t0` was placed anew by its arrival.
        late: whether something newer of this device came before it.
    """

    t0: int
    parts: tuple[Chunk, ...]
    accepted: int
    repeated: int
    conflicting: int
    missing: int
    reanchored: bool
    late: bool


@dataclass(slots=True, eq=False)
class Device:
    """What is remembered of one device: its last chunks, sorted and apart from each other, as columns.

    Attributes:
        starts: of each chunk.
        ends: of each chunk.
        sums: checksum of each chunk.
        end: of the chunk that arrived last.
        seen: when that was.
        signers: what may sign its frames, as `keys` says; None until a genuine frame came.
        keys: the device keys that `signers` is made from.
    """

    starts: "array[int]" = field(default_factory=lambda: array("q"))
    ends: "array[int]" = field(default_factory=lambda: array("q"))
    sums: "array[int]" = field(default_factory=lambda: array("L"))
    end: int = 0
    seen: int = 0
    signers: tuple[Signer, ...] | None = None
    keys: DeviceKeys | None = None

    def remember(self, start: int, end: int, checksum: int) -> None:
        """Remember a chunk that overlaps no other."""
        if not self.starts or start > self.starts[-1]:
            self.starts.append(start)
            self.ends.append(end)
            self.sums.append(checksum)
        else:
            at = bisect_left(self.starts, start)
            self.starts.insert(at, start)
            self.ends.insert(at, end)
            self.sums.insert(at, checksum)
        if len(self.starts) > REMEMBERED:
            for column in (self.starts, self.ends, self.sums):
                del column[: REMEMBERED // 4]

    def forget(self, start: int) -> None:
        """Forget a remembered chunk."""
        at = bisect_left(self.starts, start)
        if at < len(self.starts) and self.starts[at] == start:
            del self.starts[at], self.ends[at], self.sums[at]


class Timeline:
    """The devices of one ingest process."""

    def __init__(self, max_devices: int) -> None:
        self.max_devices = max_devices
        self._devices: OrderedDict[bytes, Device] = OrderedDict()  # by id as a header has it; the longest silent first

    def __len__(self) -> int:
        return len(self._devices)

    def recall(self, chunks: Batch, now: int) -> None:
        """Remember chunks of an earlier process: what the log held when this one started."""
        rows = zip(chunks.names, chunks.head["t0"].tolist(), chunks.ends.tolist(), chunks.checksums, strict=True)
        for i, (name, t0, end, checksum) in enumerate(rows):
            raw = name.ljust(ID_BYTES, b"\0")
            device = self._devices.get(raw)
            if device is None:
                if len(self._devices) >= self.max_devices:
                    continue
                device = self._devices[raw] = Device()
            if not device.ends or t0 >= device.ends[-1] or _new_parts(device, chunks[i]):
                device.remember(t0, end, checksum)
            device.end, device.seen = end, now

    def following(self, raw: bytes) -> Device | None:
        """A device that sends already, by its id as a frame has it."""
        return self._devices.get(raw)

    def follow(self, raw: bytes, device: Device, t0: int, end: int, checksum: int, now: int) -> None:
        """What `place` does with a chunk of a known device that lies behind all that it has sent."""
        self._devices.move_to_end(raw)
        device.remember(t0, end, checksum)
        device.end, device.seen = end, now

    def forget(self, chunks: Batch) -> None:
        """These were placed but could not be kept: sent again, they are new."""
        for name, t0 in zip(chunks.names, chunks.head["t0"].tolist(), strict=True):
            device = self._devices.get(name.ljust(ID_BYTES, b"\0"))
            if device is not None:
                device.forget(t0)

    def place(self, chunk: Chunk, *, timed: bool, now: int) -> Placed:
        """Place samples of up to 10 s that arrived `now`. Nothing is remembered of what is refused.

        Raises:
            RefusalError: 400 for a `t0` that cannot be; 429 when there are too many devices, or a device without `t0`
                sends faster than its rate says.
        """
        raw = chunk.device_id.encode().ljust(ID_BYTES, b"\0")
        device = self._devices.get(raw) or Device()
        chunk = replace(chunk, arrived=now)
        if timed:
            _check_clock(chunk.t0, now)
            placed, missing, reanchored = chunk, _missing(device, chunk), False
        else:
            placed, missing, reanchored = _continue(device, chunk, now)
        self._admit(device, raw, now)
        late = bool(device.starts) and placed.t0 < device.starts[-1]
        parts: list[Chunk] = []
        repeated = conflicting = 0
        for part in split(placed):
            if _is_known(device, part) and not _is_same(device, part):
                conflicting += len(part.samples)
                continue
            new = _new_parts(device, part)
            repeated += len(part.samples) - sum(len(p.samples) for p in new)
            for piece in new:
                device.remember(piece.t0, piece.end, piece.checksum())
            parts.extend(new)
        device.end, device.seen = placed.end, now
        accepted = len(placed.samples) - conflicting
        return Placed(
            placed.t0, tuple(parts), accepted, repeated, conflicting, missing, reanchored, late and bool(parts)
        )

    def _admit(self, device: Device, raw: bytes, now: int) -> None:
        if raw in self._devices:
            self._devices.move_to_end(raw)
            return
        while len(self._devices) >= self.max_devices:
            wait = next(iter(self._devices.values())).seen + IDLE - now
            if wait > 0:
                reason = f"{self.max_devices} patients are on this replica already: send to another one"
                device_id = raw.rstrip(b"\0").decode()
                raise RefusalError(429, "device_id", reason, value=device_id, wait=_seconds(wait))
            self._devices.popitem(last=False)
        self._devices[raw] = device


def split(chunk: Chunk) -> tuple[Chunk, ...]:
    """Cut samples of any length into chunks of at most one second, as equal as can be, on their own sample grid."""
    n = len(chunk.samples)
    parts = -(-n // (round(chunk.fs * 1000) // 1000))
    if parts == 1:
        return (chunk,)
    return tuple(_slice(chunk, n * i // parts, n * (i + 1) // parts) for i in range(parts))


def _slice(chunk: Chunk, start: int, stop: int) -> Chunk:
    return replace(
        chunk,
        t0=chunk.t0 + round(start * MICROSECONDS / chunk.fs),
        samples=chunk.samples[start:stop],
        flags=chunk.flags if start == 0 else chunk.flags & ~GAP_BEFORE,
    )


def _check_clock(t0: int, now: int) -> None:
    if t0 > now + FUTURE:
        ahead = (t0 - now) // MICROSECONDS
        reason = f"is {ahead} s ahead of its arrival, at most {FUTURE // MICROSECONDS} s can be: set the device's clock"
        raise RefusalError(400, "t0", reason, value=t0)
    if t0 < OLDEST:
        reason = "is before the year 2000: set the device's clock (epoch milliseconds in JSON), or leave t0 out"
        raise RefusalError(400, "t0", reason, value=t0)


def _continue(device: Device, chunk: Chunk, now: int) -> tuple[Chunk, int, bool]:
    """Place a chunk without `t0`: behind the one before it, or by its arrival when that is too far off.

    A device that is ahead of its arrival is continued all the same: placing it back would lay samples over samples.
    """
    duration = chunk.end - chunk.t0
    by_arrival = now - duration
    if not device.seen:
        return replace(chunk, t0=by_arrival), 0, False
    silence = by_arrival - device.end
    if silence > TOLERANCE:
        missing = round(silence * chunk.fs / MICROSECONDS) if silence <= SESSION else 0
        return replace(chunk, t0=by_arrival, flags=chunk.flags | GAP_BEFORE), missing, True
    if device.end - now > AHEAD:
        wait = device.end - now - AHEAD
        reason = (
            f"was sent faster than {chunk.fs:g} Hz for more than {AHEAD // MICROSECONDS} s: send t0, or the true fs"
        )
        raise RefusalError(429, "samples", reason, wait=_seconds(wait))
    # Ahead, but silent for longer than the chunk lasts: it does not continue, though there is no room to show it.
    paused = now - device.seen - duration > TOLERANCE
    flags = chunk.flags | GAP_BEFORE if paused else chunk.flags
    return replace(chunk, t0=device.end, flags=flags), 0, paused


def _missing(device: Device, chunk: Chunk) -> int:
    gap = chunk.t0 - device.ends[-1] if device.ends else 0
    return round(gap * chunk.fs / MICROSECONDS) if 0 < gap <= SESSION else 0


def _is_known(device: Device, part: Chunk) -> bool:
    at = bisect_left(device.starts, part.t0)
    return at < len(device.starts) and device.starts[at] == part.t0 and device.ends[at] == part.end


def _is_same(device: Device, part: Chunk) -> bool:
    return device.sums[bisect_left(device.starts, part.t0)] == part.checksum()


def _new_parts(device: Device, part: Chunk) -> tuple[Chunk, ...]:
    """What of `part` no remembered chunk covers; less than half a sample is jitter, not an overlap."""
    n, rate = len(part.samples), part.fs / MICROSECONDS
    at = max(bisect_left(device.starts, part.t0) - 1, 0)
    pieces: list[tuple[int, int]] = []
    done = 0
    for start, end in zip(device.starts[at:], device.ends[at:], strict=True):
        if start >= part.end:
            break
        first = math.ceil((start - part.t0) * rate - 0.5)
        if first > done:
            pieces.append((done, min(first, n)))
        done = max(done, min(math.ceil((end - part.t0) * rate - 0.5), n))
    if done == 0 and not pieces:
        return (part,)
    if done < n:
        pieces.append((done, n))
    return tuple(_slice(part, a, b) for a, b in pieces if a < b)


def _seconds(microseconds: int) -> int:
    return max(1, math.ceil(microseconds / MICROSECONDS))
