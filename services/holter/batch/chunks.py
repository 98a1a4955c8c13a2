"""Chunks as columns: what a worker reads, sorts out and judges, without an object for each."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from holter.chunk import SHARDS, Chunk

HEAD = np.dtype(
    [
        ("device", "S32"),
        ("t0", np.int64),  # as all times here: µs since the epoch
        ("arrived", np.int64),
        ("fs", np.float64),  # Hz
        ("start", np.int64),  # place of the first sample
        ("n", np.int32),
        ("seq", np.uint32),
        ("flags", np.uint8),
        ("shard", np.uint8),
    ],
    align=True,
)


@dataclass(frozen=True, slots=True, eq=False)
class Chunks:
    """n chunks.

    Attributes:
        head: shape (n,), dtype HEAD.
        samples: shape (any,), int16, µV: chunk i is `samples[start : start + n]`.
    """

    head: NDArray[np.void]
    samples: NDArray[np.int16]

    @classmethod
    def of(cls, chunks: Iterable[Chunk]) -> Self:
        """From single ones."""
        parts = list(chunks)
        head = np.zeros(len(parts), HEAD)
        if not parts:
            return cls(head, np.empty(0, np.int16))
        head["device"] = [chunk.device_id.encode() for chunk in parts]
        for name in ("t0", "arrived", "fs", "seq", "flags", "shard"):
            head[name] = [getattr(chunk, name) for chunk in parts]
        head["n"] = lengths = [len(chunk.samples) for chunk in parts]
        head["start"][1:] = np.cumsum(lengths[:-1])
        return cls(head, np.concatenate([chunk.samples for chunk in parts]).astype(np.int16, copy=False))

    @classmethod
    def columns(cls, chunks: "Chunks | Iterable[Chunk]") -> "Chunks":
        """These, as columns if they are not."""
        return chunks if isinstance(chunks, Chunks) else cls.of(chunks)

    @classmethod
    def join(cls, parts: "Sequence[Chunks]") -> "Chunks":
        """All of them in this order, in arrays of their own."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return NONE
        heads = [part.head.copy() for part in parts]
        at = 0
        for head, part in zip(heads, parts, strict=True):
            head["start"] += at
            at += len(part.samples)
        return cls(np.concatenate(heads), np.concatenate([part.samples for part in parts]))

    def __len__(self) -> int:
        return len(self.head)

    def each(self) -> Iterable[Chunk]:
        """As single ones; samples are views."""
        for row in self.head:
            start, n = int(row["start"]), int(row["n"])
            yield Chunk(
                row["device"].decode(), int(row["t0"]), float(row["fs"]), self.samples[start : start + n],
                int(row["seq"]), int(row["flags"]), int(row["arrived"]),
            )  # fmt: skip

    def where(self, mask: NDArray[np.bool_]) -> Self:
        """Those that `mask`, shape (n,), is true of; the samples are shared."""
        return type(self)(self.head[mask], self.samples)

    def apart(self) -> Self:
        """The same, holding on to no samples but its own."""
        head = self.head.copy()
        lengths = head["n"].astype(np.int64)
        begin = np.cumsum(lengths) - lengths
        places = np.repeat(head["start"] - begin, lengths) + np.arange(lengths.sum())
        head["start"] = begin
        return type(self)(head, self.samples[places])

    def of_shards(self, shards: Collection[int]) -> NDArray[np.bool_]:
        """Which are of these shards, shape (n,)."""
        wanted = np.zeros(SHARDS, np.bool_)
        wanted[list(shards)] = True
        found: NDArray[np.bool_] = wanted[self.head["shard"]]
        return found


NONE = Chunks(np.zeros(0, HEAD), np.empty(0, np.int16))
