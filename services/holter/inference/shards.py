"""Who judges which shard: owners, standbys, handing over when workers come, go, freeze or change in number. Pure.

Each worker says what it holds; each decides for itself from what it hears. Two may hold a shard for a moment (windows
and alerts are the same from both, and have the same names); what must not be is that nobody does.
"""

from collections.abc import Collection, Mapping

from holter.chunk import SHARDS
from holter.feed.client import Claim

PATIENCE = 4.0
"""Seconds without a sign of whoever held a shard, after which the standby takes it; the next one after twice that."""
FRESH = 3.0
"""A claim older than this (three beats) is doubtful."""


def shards_of(ordinal: int, replicas: int) -> range:
    """The shards of one worker of `replicas`: a range, as even as can be, all of them owned once.

    A worker that there should not be (its ordinal is not below `replicas`) owns none.
    """
    if ordinal >= replicas:
        return range(0)
    return range(ordinal * SHARDS // replicas, (ordinal + 1) * SHARDS // replicas)


def owner_of(shard: int, replicas: int) -> int:
    """Whose a shard is: the one whose `shards_of` has it."""
    return ((shard + 1) * replicas - 1) // SHARDS


class Duty:
    """What one worker judges.

    Args:
        ordinal: its own.
        replicas: how many there should be; may be set at any time.

    Attributes:
        mine: the shards at the last decision.
    """

    def __init__(self, ordinal: int, replicas: int) -> None:
        self.ordinal, self.replicas = ordinal, replicas
        self.mine = frozenset(shards_of(ordinal, replicas))
        self._seen: dict[int, float] = {}  # of each shard: when somebody was last known to hold it

    def decide(self, now: float, claims: Mapping[int, Claim], listening_since: float | None) -> frozenset[int]:
        """The shards to judge from now on.

        Args:
            now: monotonic seconds, as all times here.
            claims: workers by ordinal.
            listening_since: since when claims have been heard without a break; None when they are not, and then nobody
                is taken to be gone.
        """
        left: dict[int, float] = {}
        for claim in self._others(claims).values():
            for shard in claim.held:
                self._seen[shard] = max(self._seen.get(shard, claim.at), claim.at)
                if claim.leaving is not None:
                    left[shard] = claim.leaving
        own = frozenset(shards_of(self.ordinal, self.replicas))
        kept = {s for s in self.mine - own if not self._is_better_held(s, now, claims)}
        taken = {s for s in range(SHARDS) if s not in own and self._is_orphan(s, now, listening_since, left)}
        self.mine = own | kept | taken
        return self.mine

    def held_by_others(self, now: float, claims: Mapping[int, Claim]) -> frozenset[int]:
        """Shards that another worker has lately said to hold."""
        return frozenset[int]().union(*(claim.held for claim in self._fresh(now, claims).values()))

    def standing_by(self) -> frozenset[int]:
        """Shards that this worker is the first to take when their owner is gone, taken already or not."""
        if self.replicas == 1 or self.ordinal >= self.replicas:
            return frozenset()
        return frozenset(shards_of((self.ordinal - 1) % self.replicas, self.replicas))

    def is_relieved(self, now: float, claims: Mapping[int, Claim]) -> bool:
        """Whether this worker may end: others who stay judge all that it does, or there are none."""
        staying = [claim for claim in self._fresh(now, claims).values() if claim.leaving is None]
        return not staying or self.mine <= frozenset[int]().union(*(claim.held for claim in staying))

    def unowned(self, now: float, live: Collection[int], claims: Mapping[int, Claim], *, listening: bool) -> int:
        """How many shards nobody judges, as far as can be seen from here.

        Args:
            now: monotonic seconds.
            live: the shards that this worker judges as their chunks come.
            claims: workers by ordinal.
            listening: whether claims are heard; else only what should be judged here is known.
        """
        held = frozenset(live) | self.held_by_others(now, claims)
        return len((frozenset(range(SHARDS)) if listening or self.replicas == 1 else self.mine) - held)

    def _others(self, claims: Mapping[int, Claim]) -> dict[int, Claim]:
        return {ordinal: claim for ordinal, claim in claims.items() if ordinal != self.ordinal}

    def _fresh(self, now: float, claims: Mapping[int, Claim]) -> dict[int, Claim]:
        return {ordinal: claim for ordinal, claim in self._others(claims).items() if now - claim.at < FRESH}

    def _distance(self, ordinal: int, shard: int) -> int:
        """How far down the line from the owner: 0 is the owner, 1 the standby."""
        if ordinal >= self.replicas:
            return self.replicas
        return (ordinal - owner_of(shard, self.replicas)) % self.replicas

    def _is_better_held(self, shard: int, now: float, claims: Mapping[int, Claim]) -> bool:
        ours = self._distance(self.ordinal, shard)
        return any(
            shard in claim.held and claim.leaving is None and self._distance(ordinal, shard) < ours
            for ordinal, claim in self._fresh(now, claims).items()
        )

    def _is_orphan(self, shard: int, now: float, listening_since: float | None, left: Mapping[int, float]) -> bool:
        if listening_since is None:
            return False
        if shard in left:  # its worker judges until another does: the standby need not wait
            return now - left[shard] >= PATIENCE * (self._distance(self.ordinal, shard) - 1)
        since = max(self._seen.get(shard, listening_since), listening_since)
        return now - since >= PATIENCE * self._distance(self.ordinal, shard)
