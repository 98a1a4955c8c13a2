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
    """Checksums of the chunks written last, in two generations. Not thread-safe.

    The older one goes all at once: a dict whose oldest entry is taken out time and again walks over every hole that is
    left at its front.
    """

    def __init__(self, size: int = 100_000) -> None:
        """Remember `size` chunks at least, and twice that and a batch at most: 10 s of 10,000 patients, 40 MB."""
        self._size = size
        self._newer: dict[tuple[bytes, int], int] = {}
        self._older: dict[tuple[bytes, int], int] = {}

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)

    def sift(self, chunks: Batch) -> Sifted:
        """Split a batch; nothing is remembered of it until `add`."""
        sifted = Sifted(list(zip(chunks.names, chunks.head["t0"].tolist(), chunks.checksums, strict=True)))
        batch: dict[tuple[bytes, int], int] = {}
        newer, older = self._newer.get, self._older.get
        for i, (name, t0, checksum) in enumerate(sifted.rows):
            key = (name, t0)
            known = newer(key)
            if known is None:
                known = older(key)
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
            self._newer[name, t0] = checksum
        if len(self._newer) >= self._size:
            self._older, self._newer = self._newer, {}
