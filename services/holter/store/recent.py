"""What one process wrote lately: duplicates and conflicts told apart without asking a store that overwrites."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from holter.packed import Batch

Row = tuple[bytes, int, int]
"""Device id, t0 and checksum of a chunk."""


@dataclass(frozen=True, slots=True)
class Sifted:
    """A batch against what is known, as places in it.

    Attributes:
        rows: of all of it.
        new: to be written, each device and `t0` once.
        repeated: written before with the same samples, or twice in this batch.
        conflicts: how many were written before, or earlier in this batch, with other samples.
    """

    rows: list[Row]
    new: list[int] = field(default_factory=list)
    repeated: list[int] = field(default_factory=list)
    conflicts: list[int] = field(default_factory=list)


class Recent:
    """Checksums of the chunks written last. Not thread-safe."""

    def __init__(self, size: int = 100_000) -> None:
        """Remember `size` chunks, some 20 MB: 20 s of 5,000 patients, 16 minutes of 100."""
        self._size = size
        self._checksums: dict[tuple[bytes, int], int] = {}

    def sift(self, chunks: Batch) -> Sifted:
        """Split a batch; nothing is remembered of it until `add`."""
        sifted = Sifted(list(zip(chunks.names, chunks.head["t0"].tolist(), chunks.checksums, strict=True)))
        batch: dict[tuple[bytes, int], int] = {}
        before = self._checksums.get
        for i, (name, t0, checksum) in enumerate(sifted.rows):
            key = (name, t0)
            known = before(key)
            if known is None:
                known = batch.setdefault(key, -1)
                if known < 0:
                    batch[key] = checksum
                    sifted.new.append(i)
                    continue
            (sifted.repeated if known == checksum else sifted.conflicts).append(i)
        return sifted

    def add(self, rows: Sequence[Row]) -> None:
        """Remember chunks that are now in the store; the longest remembered are forgotten."""
        for name, t0, checksum in rows:
            self._checksums[name, t0] = checksum
        while len(self._checksums) > self._size:
            del self._checksums[next(iter(self._checksums))]
