"""The write-ahead log: segments on disk, and how far the store has taken them.

All calls block, and may come from any thread. What has been stored is kept for `TAIL` seconds more, so that a new
process still knows repeats and overlaps.
"""

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from holter.chunk import Chunk
from holter.ingest.records import scan

TAIL = 120.0
_BLOCK = 1 << 20
_RESERVE = 64 << 20
"""Bytes of the disk that are left free."""
_MAX_AGE = 60.0
"""Seconds after which a segment is closed, so that it can be removed."""


class LogFullError(Exception):
    """The log has reached its bound: the store has to take some of it first."""


class Position(NamedTuple):
    """A place in the log."""

    segment: int
    offset: int


@dataclass(frozen=True, slots=True)
class Page:
    """A stretch of the log.

    Attributes:
        chunks: in the order of their acceptance.
        end: where the next page begins.
        damaged: bytes on the way that could not be read.
    """

    chunks: tuple[Chunk, ...]
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
        self._lock = threading.Lock()
        self._segments = {int(p.stem): _found(p) for p in sorted(folder.glob("*.log"))}
        self._size = sum(s.size for s in self._segments.values())
        self._stored = self._read_checkpoint()
        self._active = max([self._stored.segment, *self._segments])
        self._free = 0
        self._fd = -1
        self._begin_segment()

    @property
    def backlog(self) -> int:
        """Bytes that the store has not taken yet."""
        with self._lock:
            later = sum(s.size for n, s in self._segments.items() if n >= self._stored.segment)
            return later - (self._stored.offset if self._stored.segment in self._segments else 0)

    @property
    def stored(self) -> Position:
        """How far the store has taken it."""
        return self._stored

    def check_room(self, size: int) -> None:
        """Return when `size` more bytes may be written.

        Raises:
            LogFullError: they may not.
        """
        if self._size + size > self.limit:
            self._trim()
            if self._size + size > self.limit:
                raise LogFullError(f"the log holds {self._size} of {self.limit} bytes")
        if self._free < _RESERVE + size:
            raise LogFullError(f"the disk of the log has {self._free} bytes left")

    def write(self, data: bytes) -> None:
        """Append whole records; they are on disk when this returns. One thread at a time.

        Raises:
            OSError: they may not be; the log is not to be written again by this process.
        """
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
        os.fdatasync(self._fd)
        now = self._clock()
        with self._lock:
            segment = self._segments[self._active]
            segment.size += len(data)
            self._size += len(data)
            segment.last = now
        self._look_at_disk()
        if segment.size >= self._segment_bytes() or now - segment.begun > _MAX_AGE:
            self._begin_segment()

    def read(self, start: Position, limit: int) -> Page:
        """Read what is on disk from `start` on: at most a block, at most `limit` chunks.

        An empty page whose end is its start means that there is nothing more yet.

        Raises:
            OSError: a segment cannot be read.
        """
        with self._lock:
            number = min((n for n in self._segments if n >= start.segment), default=self._active)
            size = self._segments[number].size
            sealed = number != self._active
        offset = start.offset if number == start.segment else 0
        if offset >= size:
            return Page((), Position(number + 1, 0) if sealed else Position(number, offset), 0)
        with self._path(number).open("rb") as file:
            file.seek(offset)
            block = file.read(min(_BLOCK, size - offset))
        found = scan(block, final=offset + len(block) >= size, limit=limit)
        return Page(tuple(found.chunks), Position(number, offset + found.used), found.damaged)

    def mark_stored(self, end: Position) -> None:
        """Remember that the store has everything before `end`, and remove what is stored and old.

        Raises:
            OSError: the mark cannot be written. That costs work at the next start, nothing else: storing is repeatable.
        """
        with self._lock:
            self._stored = end
        self._trim()
        fresh = self._folder / "stored.new"
        fresh.write_text(f"{end.segment} {end.offset}\n")
        fresh.replace(self._folder / "stored")

    def recent(self) -> Iterator[Chunk]:
        """The chunks that were accepted in the last `TAIL` seconds before the last one, stored or not."""
        with self._lock:
            newest = max((s.last for s in self._segments.values() if s.size), default=0.0)
            numbers = sorted(n for n, s in self._segments.items() if s.size and s.last >= newest - TAIL)
        for number in numbers:
            yield from scan(self._path(number).read_bytes(), final=True).chunks

    def close(self) -> None:
        """Close the files; another process may have the log."""
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
        disk = os.fstatvfs(self._fd)
        self._free = disk.f_bavail * disk.f_frsize

    def _trim(self) -> None:
        """Remove segments that are stored and either old or in the way of new ones."""
        with self._lock:
            now = self._clock()
            for number in sorted(self._segments):
                segment = self._segments[number]
                if number >= min(self._stored.segment, self._active):
                    break
                if now - segment.last <= TAIL and self._size <= self.limit // 2:
                    break
                self._size -= segment.size
                del self._segments[number]
                with suppress(FileNotFoundError):
                    self._path(number).unlink()

    def _read_checkpoint(self) -> Position:
        """A checkpoint that cannot be read means: store everything again."""
        try:
            segment, offset = map(int, (self._folder / "stored").read_text().split())
        except (OSError, ValueError):
            return Position(0, 0)
        return Position(segment, offset)

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
