"""Chunks as columns over one buffer: log, feed and store pass them on without an object a chunk."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import overload

import numpy as np
from numpy.typing import NDArray

from holter.chunk import MICROSECONDS, Chunk, shard_of
from holter.frame import HEADER_BYTES, NO_T0, pack

HEADER = np.dtype(
    [
        ("magic", "S4"),
        ("version", "u1"),
        ("flags", "u1"),
        ("n", "<u2"),
        ("seq", "<u4"),
        ("fs", "<u4"),
        ("t0", "<i8"),
        ("device", "S32"),
    ]
)
"""A frame's header, docs/protocol.md."""
_SPAN = np.arange(HEADER_BYTES)


@dataclass(frozen=True, slots=True)
class Batch(Sequence[Chunk]):
    """Packed chunks (header and samples as in a frame) somewhere in a buffer. Reads like a sequence of chunks.

    Attributes:
        data: the buffer.
        at: shape (n,), int64, where each header begins.
        head: shape (n,), `HEADER`: the headers.
        arrived: shape (n,), int64, see `Chunk.arrived`.
    """

    data: bytes
    at: NDArray[np.int64]
    head: NDArray[np.void]
    arrived: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.at)

    def __iter__(self) -> Iterator[Chunk]:
        return map(self._chunk, range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Chunk: ...
    @overload
    def __getitem__(self, index: slice) -> "Batch": ...
    def __getitem__(self, index: int | slice) -> "Chunk | Batch":
        if isinstance(index, slice):
            return Batch(self.data, self.at[index], self.head[index], self.arrived[index])
        return self._chunk(index)

    def take(self, rows: NDArray[np.int64]) -> "Batch":
        """The chunks at these places."""
        return Batch(self.data, self.at[rows], self.head[rows], self.arrived[rows])

    @property
    def names(self) -> list[bytes]:
        """Device ids, ASCII, without padding."""
        names: list[bytes] = self.head["device"].tolist()
        return names

    @property
    def ends(self) -> NDArray[np.int64]:
        """Shape (n,), int64: `Chunk.end` of each."""
        lengths = self.head["n"].astype(np.int64) * MICROSECONDS / (self.head["fs"] / 1000)
        ends: NDArray[np.int64] = self.head["t0"] + np.rint(lengths).astype(np.int64)
        return ends

    @property
    def shards(self) -> NDArray[np.int64]:
        """Shape (n,), int64: the shard of each."""
        return np.fromiter(map(shard_of_name, self.names), np.int64, len(self))

    @property
    def checksums(self) -> list[int]:
        """`Chunk.checksum` of each."""
        view = memoryview(self.data)
        begin = self.at + HEADER_BYTES
        rows = zip(begin.tolist(), (begin + 2 * self.head["n"]).tolist(), self.head["fs"].tolist(), strict=True)
        return [zlib.crc32(view[first:last], fs) for first, last, fs in rows]

    def _chunk(self, i: int) -> Chunk:
        _, _, flags, n, seq, fs, t0, device = self.head[i].item()
        samples = np.frombuffer(self.data, "<i2", n, int(self.at[i]) + HEADER_BYTES)
        return Chunk(device.decode(), t0, fs / 1000, samples, seq, flags & ~NO_T0, int(self.arrived[i]))


def over(data: bytes, at: Sequence[int], arrived: Sequence[int]) -> Batch:
    """The chunks whose headers begin at `at`; what lies there has been found sound."""
    places = np.array(at, np.int64)
    head = np.frombuffer(data, np.uint8)[places[:, None] + _SPAN].view(HEADER)[:, 0]
    return Batch(data, places, head, np.array(arrived, np.int64))


def of(chunks: Sequence[Chunk]) -> Batch:
    """Columns of chunks; a batch is returned as it is.

    Raises:
        FrameError: a chunk breaks a rule of the protocol.
    """
    if isinstance(chunks, Batch):
        return chunks
    packed = [pack(chunk) for chunk in chunks]
    ends = np.cumsum([0, *map(len, packed)])
    return over(b"".join(packed), ends[:-1].tolist(), [chunk.arrived for chunk in chunks])


def rows(places: Sequence[int]) -> NDArray[np.int64]:
    """Places in a batch, for `Batch.take`."""
    return np.array(places, np.int64)


@lru_cache(1 << 17)
def shard_of_name(name: bytes) -> int:
    """`shard_of` for an id as bytes."""
    return shard_of(name.decode())
