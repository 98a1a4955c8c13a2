"""The write-ahead log: segments on disk, and how far the store has taken them.

All calls block, and may come from any thread. What has been stored is kept for `TAIL` seconds more, so that a new
process still knows repeats and overlaps.
"""

import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from holter.ingest.pending import NOTHING_STORED, Pending, Position, Stretch, parse
from holter.ingest.records import scan
from holter.packed import Batch, over

TAIL = 120.0
_BLOCK = 4 << 20
_NOTHING = over(b"", [], [])
_RESERVE = 64 << 20
"""Bytes of the disk that are left free."""
_MAX_AGE = 60.0
"""Seconds after which a segment is closed, so that it can be removed."""
SYNC_SECONDS = 1.0
"""What nobody waits for is on disk after this."""
_LOOK_SECONDS = 0.1
"""Between two looks at the room on the disk, as long as there is plenty."""
_MARK_SECONDS = 1.0
"""Between two checkpoints on disk."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class LogFullError(Exception):
    """The log has reached its bound: the store has to take some of it first."""


@dataclass(frozen=True, slots=True)
class Page:
    """A stretch of the log.

    Attributes:
        chunks: in the order of their acceptance.
        end: where the next page begins.
        damaged: bytes on the way that could not be read.
    """

    chunks: Batch
    end: Position
    damaged: int


@dataclass(slots=True)
class _Segment:
    size: int
    begun: float
    last: float  # wall clock of the last write


class Log:
    """One folder of segments; one process has it at a time."""

    def __init__(self, folder: Path, limit: int, clock: Callable[[], float] = time.time) -> None:
        """Open the log and begin a new segment: behind a torn record nothing is ever written.

        Args:
            folder: is made when it is not there.
            limit: bytes of all segments together.
            clock: wall clock in seconds.

        Raises:
            OSError: the folder cannot be used, or another process has it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._owner = _own(folder)
        self.limit = limit
        self._folder, self._clock = folder, clock
        self._lock, self._marking, self._writing = threading.Lock(), threading.Lock(), threading.Lock()
        self._segments = {int(p.stem): _found(p) for p in sorted(folder.glob("*.log"))}
        self._size = sum(s.size for s in self._segments.values())
        self._pending = self._read_checkpoint()
        self._active = max([self._pending.live.segment, *self._segments])
        self._free = 0
        self._synced = self._looked = self._marked = 0.0
        self._fd = -1
        self._begin_segment()

    @property
    def backlog(self) -> int:
        """Bytes that the store has not taken yet."""
        with self._lock:
            return self._pending.size({number: segment.size for number, segment in self._segments.items()})

    @property
    def live_backlog(self) -> int:
        """Those of them that were not set aside."""
        with self._lock:
            live = Pending(self._pending.live)
            return live.size({number: segment.size for number, segment in self._segments.items()})

    @property
    def pending(self) -> Pending:
        """What the store has not taken yet."""
        return self._pending

    def check_room(self, size: int) -> None:
        """Return when `size` more bytes may be written.

        Raises:
            LogFullError: they may not.
        """
        if self._size + size > self.limit:
            self._trim()
            if self._size + size > self.limit:
                raise LogFullError(f"the log holds {self._size} of {self.limit} bytes")
        if self._free < _RESERVE + size and self._clock() - self._looked >= _LOOK_SECONDS:
            self._look_at_disk()  # somebody may have made room
        if self._free < _RESERVE + size:
            raise LogFullError(f"the disk of the log has {self._free} bytes left")

    def write(self, data: bytes, *, sync: bool = True) -> None:
        """Append whole records. One thread at a time.

        Args:
            data: the records.
            sync: they are on disk when this returns; else within `SYNC_SECONDS`, as long as writes go on.

        Raises:
            LogFullError: the disk is full; nothing of them is kept.
            OSError: they may not be on disk; the log is not to be written again by this process.
        """
        with self._writing:
            self._append(data, sync=sync)

    def _append(self, data: bytes, *, sync: bool) -> None:
        segment = self._segments[self._active]
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            if error.errno not in _FULL:
                raise
            os.ftruncate(self._fd, segment.size)  # what half of them left would be a torn record in the middle
            self._free = 0
            raise LogFullError(f"the disk of the log is full: {error.strerror}") from error
        now = self._clock()
        with self._lock:
            segment.size += len(data)
            self._size += len(data)
            segment.last = now
        ends = segment.size >= self._segment_bytes() or now - segment.begun > _MAX_AGE
        if sync or ends or now - self._synced >= SYNC_SECONDS:
            os.fdatasync(self._fd)
            self._synced = now
        if now - self._looked >= _LOOK_SECONDS or self._free < 2 * _RESERVE:
            self._look_at_disk()
        if ends:
            self._begin_segment()

    def read(self, start: Position, limit: int, end: Position | None = None) -> Page:
        """Read what is on disk from `start` on: at most a block, at most `limit` chunks, nothing from `end` on.

        An empty page whose end is its start means that there is nothing more (yet).

        Raises:
            OSError: a segment cannot be read.
        """
        with self._lock:
            number = min((n for n in self._segments if n >= start.segment), default=self._active)
            size = self._segments[number].size
            sealed = number != self._active
        if end is not None and number >= end.segment:
            size, sealed = (min(size, end.offset), False) if number == end.segment else (0, False)
        offset = start.offset if number == start.segment else 0
        if offset >= size:
            if end is not None and not sealed:
                return Page(_NOTHING, end, 0)
            return Page(_NOTHING, Position(number + 1, 0) if sealed else Position(number, offset), 0)
        with self._path(number).open("rb") as file:
            file.seek(offset)
            block = file.read(min(_BLOCK, size - offset))
        found = scan(block, final=offset + len(block) >= size, limit=limit)
        return Page(found.chunks, Position(number, offset + found.used), found.damaged)

    def mark_stored(self, upto: Position, of: Stretch | None = None) -> None:
        """Remember that the store has everything before `upto`, and remove what is stored and old.

        On disk that is remembered now and then: a new process may store a second's chunks again.

        Args:
            upto: a place in the live end, or in a stretch.
            of: that stretch, as it is in `pending`.

        Raises:
            OSError: the mark cannot be written. That costs work at the next start, nothing else: storing is repeatable.
        """
        with self._lock:
            self._pending = self._pending.stored(upto, of)
        if self._pressed:
            self._give_up_active()
        self._trim()
        if self._clock() - self._marked >= _MARK_SECONDS:
            self._write_checkpoint()

    def set_aside(self) -> None:
        """What is not stored yet is to be stored later, beside what comes from now on."""
        with self._lock:
            self._pending = self._pending.set_aside(Position(self._active, self._segments[self._active].size))

    def _write_checkpoint(self) -> None:
        self._marked = self._clock()
        fresh = self._folder / "stored.new"
        with self._marking:
            fresh.write_text(self._pending.text())
            fresh.replace(self._folder / "stored")

    def recent(self) -> Iterator[Batch]:
        """The chunks that were accepted in the last `TAIL` seconds before the last one, stored or not."""
        with self._lock:
            newest = max((s.last for s in self._segments.values() if s.size), default=0.0)
            numbers = sorted(n for n, s in self._segments.items() if s.size and s.last >= newest - TAIL)
        for number in numbers:
            yield scan(self._path(number).read_bytes(), final=True).chunks

    def close(self) -> None:
        """Close the files; another process may have the log."""
        with suppress(OSError):
            os.fdatasync(self._fd)
            self._write_checkpoint()
        os.close(self._fd)
        os.close(self._owner)

    def _segment_bytes(self) -> int:
        return min(64 << 20, max(self.limit // 16, 64 << 10))

    def _begin_segment(self) -> None:
        number = self._active + 1
        fd = os.open(self._path(number), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        if self._fd >= 0:
            os.close(self._fd)
        now = self._clock()
        with self._lock:
            self._segments[number] = _Segment(0, now, now)
            self._active, self._fd = number, fd
        self._look_at_disk()

    def _look_at_disk(self) -> None:
        self._looked = self._clock()
        disk = os.fstatvfs(self._fd)
        self._free = disk.f_bavail * disk.f_frsize

    @property
    def _pressed(self) -> bool:
        """Whether the disk is nearly full."""
        return self._free < 2 * _RESERVE

    def _give_up_active(self) -> None:
        """When all of it is stored, nothing more is written to the segment that is being written, so that it can go.

        Nothing would be: a full disk takes no write, and only a write begins a new segment.
        """
        with self._writing:
            stored = Position(self._active, self._segments[self._active].size)
            if stored.offset and self._pending.live == stored:
                self._begin_segment()
                with self._lock:
                    self._pending = self._pending.stored(Position(self._active, 0), None)

    def _trim(self) -> None:
        """Remove segments that are stored and either old or in the way of new ones."""
        with self._lock:
            now = self._clock()
            for number in sorted(self._segments):
                segment = self._segments[number]
                if now - segment.last <= TAIL and self._size <= self.limit // 2 and not self._pressed:
                    break
                if number == self._active or self._pending.needs(number):
                    continue
                self._size -= segment.size
                del self._segments[number]
                with suppress(FileNotFoundError):
                    self._path(number).unlink()
                self._looked = 0.0

    def _read_checkpoint(self) -> Pending:
        """A checkpoint that cannot be read means: store everything again."""
        try:
            return parse((self._folder / "stored").read_text())
        except (OSError, ValueError):
            return NOTHING_STORED

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:016d}.log"


def _found(path: Path) -> _Segment:
    status = path.stat()
    return _Segment(status.st_size, status.st_mtime, status.st_mtime)


def _own(folder: Path) -> int:
    owner = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        os.close(owner)
        raise OSError(e.errno, f"another process has the log {folder}") from e
    return owner
