"""What a standby keeps of shards that are another's: their last seconds, so that taking over waits for no store."""

from collections.abc import Collection

from holter.batch.chunks import Chunks
from holter.chunk import MICROSECONDS


class Standby:
    """The newest chunks of the shards that this worker stands by for.

    Args:
        keep: seconds of arrivals.
    """

    def __init__(self, keep: float) -> None:
        self._keep = keep
        self._batches: list[Chunks] = []
        self._since: dict[int, float] = {}  # of each shard: since when all of it has been kept (monotonic s)

    @property
    def shards(self) -> frozenset[int]:
        """Those that are kept."""
        return frozenset(self._since)

    def stand_by(self, shards: Collection[int], now: float) -> None:
        """Keep these from `now` (monotonic s) on, and no others."""
        self._since = {shard: self._since.get(shard, now) for shard in shards}
        if not self._since:
            self._batches = []

    def lost(self, at: float) -> None:
        """Chunks may have gone by unseen at this time (monotonic s)."""
        self._since = {shard: max(since, at) for shard, since in self._since.items()}

    def keep(self, chunks: Chunks, wall: float) -> None:
        """Chunks as they come; what arrived longer ago than `keep` before `wall` (s since the epoch) is let go of."""
        if len(chunks):
            self._batches.append(chunks.apart())
        oldest = (wall - self._keep) * MICROSECONDS
        while self._batches and self._batches[0].head["arrived"].max() < oldest:
            self._batches.pop(0)

    def warm(self, shards: Collection[int], now: float) -> frozenset[int]:
        """Those of these shards of which nothing is missing; `now` is monotonic s."""
        return frozenset(s for s in shards if s in self._since and now - self._since[s] >= self._keep)

    def take(self, shards: Collection[int]) -> Chunks:
        """What is kept of these shards, in order of arrival."""
        found = [batch.where(batch.of_shards(shards)) for batch in self._batches]
        return Chunks.join([part for part in found if len(part)])
