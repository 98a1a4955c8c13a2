"""Owners and standbys: simulated workers that hear of each other, freeze, return, and change in number."""

import pytest

from holter.chunk import SHARDS
from holter.feed.client import Claim
from holter.inference.shards import FRESH, PATIENCE, Duty, owner_of, shards_of

STEP = 0.25


class Cohort:
    """Workers whose beats reach the others after a second; a joining one holds its shards after `joins` seconds."""

    def __init__(self, *ordinals, replicas, joins=1.0):
        self.now, self.joins = 0.0, joins
        self.duties, self.since, self.frozen, self.leaving = {}, {}, set(), {}
        self.beats = {}
        for ordinal in ordinals:
            self.start(ordinal, replicas)

    def start(self, ordinal, replicas):
        self.duties[ordinal] = Duty(ordinal, replicas)
        self.since[ordinal] = {}

    def stop(self, ordinal):
        del self.duties[ordinal]
        self.leaving.pop(ordinal, None)

    def leave(self, ordinal):
        """It is told to end, and goes on until it is relieved."""
        self.leaving[ordinal] = self.now

    def live(self, ordinal):
        return frozenset(s for s, at in self.since[ordinal].items() if self.now - at >= self.joins)

    def run(self, seconds):
        """Yields after each step the shards that nobody judges."""
        for _ in range(round(seconds / STEP)):
            self.now += STEP
            for ordinal, duty in tuple(self.duties.items()):
                if ordinal in self.frozen:
                    continue
                if ordinal in self.leaving and duty.is_relieved(self.now, dict(self.beats)):
                    self.stop(ordinal)
                    self.beats[ordinal] = Claim(frozenset(), self.now, self.now)
                    continue
                mine = duty.decide(self.now, dict(self.beats), 0.0)
                since = self.since[ordinal]
                self.since[ordinal] = {s: since.get(s, self.now) for s in mine}
                if self.now % 1 == 0:
                    self.beats[ordinal] = Claim(self.live(ordinal), self.now, self.leaving.get(ordinal))
            active = [o for o in self.duties if o not in self.frozen]
            yield frozenset(range(SHARDS)).difference(*(self.live(o) for o in active))

    def settle(self, seconds=20):
        *_, unowned = self.run(seconds)
        return unowned

    def longest_unowned(self, seconds):
        longest = dict.fromkeys(range(SHARDS), 0.0)
        running = dict(longest)
        for unowned in self.run(seconds):
            for s in running:
                running[s] = running[s] + STEP if s in unowned else 0.0
                longest[s] = max(longest[s], running[s])
        return max(longest.values())


@pytest.mark.parametrize("replicas", range(1, 66))
def test_every_shard_has_one_owner(replicas):
    owners = [owner_of(shard, replicas) for shard in range(SHARDS)]
    assert [s for o in range(replicas) for s in shards_of(o, replicas)] == list(range(SHARDS))
    assert all(shard in shards_of(owner, replicas) for shard, owner in enumerate(owners))
    assert not shards_of(replicas, replicas)


@pytest.mark.parametrize("replicas", [1, 2, 3, 7])
def test_in_peace_each_judges_its_own(replicas):
    cohort = Cohort(*range(replicas), replicas=replicas)
    assert not cohort.settle(60)
    for ordinal, duty in cohort.duties.items():
        assert duty.mine == frozenset(shards_of(ordinal, replicas))


@pytest.mark.parametrize("replicas", [2, 3, 5])
def test_a_frozen_worker_is_stood_in_for_by_the_next_and_gets_its_shards_back(replicas):
    cohort = Cohort(*range(replicas), replicas=replicas, joins=0.25)
    cohort.settle()
    for victim in range(replicas):
        cohort.frozen = {victim}
        assert PATIENCE - 1 <= cohort.longest_unowned(10) <= 6
        own = frozenset(shards_of(victim, replicas))
        assert own <= cohort.duties[(victim + 1) % replicas].mine
        assert all(not own & d.mine for o, d in cohort.duties.items() if o not in (victim, (victim + 1) % replicas))
        cohort.frozen = set()
        assert cohort.longest_unowned(10) == 0
        assert all(d.mine == frozenset(shards_of(o, replicas)) for o, d in cohort.duties.items())


def test_owner_and_standby_both_gone_the_next_one_takes_over():
    cohort = Cohort(0, 1, 2, replicas=3, joins=0.25)
    cohort.settle()
    cohort.frozen = {0, 1}
    assert cohort.longest_unowned(20) <= 2 * PATIENCE + 1
    assert cohort.duties[2].mine == frozenset(range(SHARDS))


def test_one_to_three_to_two_nothing_is_unowned():
    cohort = Cohort(0, replicas=1)
    cohort.settle(5)
    for ordinal in (1, 2):
        cohort.start(ordinal, 3)
    assert cohort.longest_unowned(5) == 0, "the first has not heard of it, and goes on"
    cohort.duties[0].replicas = 3
    assert cohort.longest_unowned(20) == 0
    assert [len(d.mine) for d in cohort.duties.values()] == [21, 21, 22]
    cohort.stop(2)  # Kubernetes ends the pod before the others have read their new configuration
    assert cohort.longest_unowned(10) <= 6 + cohort.joins
    cohort.duties[0].replicas = cohort.duties[1].replicas = 2
    assert cohort.longest_unowned(20) == 0
    assert [len(d.mine) for d in cohort.duties.values()] == [32, 32]


@pytest.mark.parametrize("replicas", [2, 3, 5])
def test_one_that_is_told_to_end_goes_on_until_its_standby_judges(replicas):
    cohort = Cohort(*range(replicas), replicas=replicas)
    cohort.settle()
    for ordinal in range(replicas):  # a rolling restart
        cohort.leave(ordinal)
        assert cohort.longest_unowned(6) == 0
        assert ordinal not in cohort.duties, "its standby did not wait for its silence"
        assert frozenset(shards_of(ordinal, replicas)) <= cohort.duties[(ordinal + 1) % replicas].mine
        cohort.start(ordinal, replicas)
        assert cohort.longest_unowned(10) == 0
    assert all(d.mine == frozenset(shards_of(o, replicas)) for o, d in cohort.duties.items())


def test_three_become_two_by_one_that_is_told_to_end():
    cohort = Cohort(0, 1, 2, replicas=3, joins=3.0)
    cohort.settle()
    cohort.leave(2)
    cohort.duties[0].replicas = cohort.duties[1].replicas = cohort.duties[2].replicas = 2
    assert cohort.longest_unowned(20) == 0
    assert [len(d.mine) for d in cohort.duties.values()] == [32, 32]


def test_all_are_told_to_end_and_nobody_waits():
    cohort = Cohort(0, 1, 2, replicas=3)
    cohort.settle()
    for ordinal in range(3):
        cohort.leave(ordinal)
    cohort.settle(3)
    assert not cohort.duties


def test_who_does_not_hear_takes_nobody_to_be_gone():
    duty = Duty(0, 2)
    assert duty.decide(1000.0, {1: Claim(frozenset(), 0.0)}, None) == frozenset(range(32))


def test_who_has_just_begun_to_listen_waits():
    duty = Duty(0, 2)
    assert duty.decide(100.0, {}, 98.0) == frozenset(range(32))
    assert duty.decide(103.0, {}, 98.0) == frozenset(range(64))


def test_unowned_is_what_nobody_says_it_judges():
    duty, live = Duty(0, 2), frozenset(range(32))
    other = {1: Claim(frozenset(range(32, 64)), 10.0)}
    assert duty.unowned(11.0, live, other, listening=True) == 0
    assert duty.unowned(10.0 + FRESH, live, other, listening=True) == 32
    assert duty.unowned(11.0, frozenset(), other, listening=True) == 32
    assert duty.unowned(11.0, live, {}, listening=False) == 0
    assert Duty(0, 1).unowned(11.0, live, {}, listening=False) == 32
