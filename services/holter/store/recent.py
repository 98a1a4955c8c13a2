"""What one process wrote lately: duplicates and conflicts told apart without asking a store that overwrites."""

from collections.abc import Iterable
from dataclasses import dataclass

from holter.chunk import Chunk


@dataclass(frozen=True, slots=True)
class Sifted:
    """A batch against what is known.

    Attributes:
        new: to be written, each device and `t0` once.
        repeated: written before with the same samples, or twice in this batch.
        conflicts: how many were written before, or earlier in this batch, with other samples.
    """

    new: list[Chunk]
    repeated: list[Chunk]
    conflicts: int


class Recent:
    """Checksums of the chunks written last. Not thread-safe."""

    def __init__(self, size: int = 100_000) -> None:
        """Remember `size` chunks, some 20 MB: 20 s of 5,000 patients, 16 minutes of 100."""
        self._size = size
        self._checksums: dict[tuple[str, int], int] = {}

    def sift(self, chunks: Iterable[Chunk]) -> Sifted:
        """Split a batch; nothing is remembered of it until `add`."""
        sifted = Sifted([], [], 0)
        batch: dict[tuple[str, int], int] = {}
        conflicts = 0
        for chunk in chunks:
            key, checksum = (chunk.device_id, chunk.t0), chunk.checksum()
            known = self._checksums.get(key, batch.get(key))
            if known is None:
                batch[key] = checksum
                sifted.new.append(chunk)
            elif known == checksum:
                sifted.repeated.append(chunk)
            else:
                conflicts += 1
        return Sifted(sifted.new, sifted.repeated, conflicts)

    def add(self, chunks: Iterable[Chunk]) -> None:
        """Remember chunks that are now in the store; the longest remembered are forgotten."""
        for chunk in chunks:
            self._checksums[chunk.device_id, chunk.t0] = chunk.checksum()
        while len(self._checksums) > self._size:
            del self._checksums[next(iter(self._checksums))]
