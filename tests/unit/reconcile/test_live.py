"""The cache: what is newer wins, whichever way it comes."""

import pytest

from holter_operator.build.meta import COHORT_LABEL
from holter_operator.reconcile.kinds import CONFIG_MAP, SECRET
from holter_operator.reconcile.live import Cache, trim


def told(name="a", version=1, uid="u1", cohort="ward", kind=CONFIG_MAP, **more):
    metadata = {
        "name": name,
        "namespace": "st-mary",
        "uid": uid,
        "resourceVersion": str(version),
        "labels": {COHORT_LABEL: cohort} if cohort else {},
    }
    return trim(kind, {"kind": kind.name, "metadata": metadata, **more})


@pytest.fixture
def cache():
    return Cache()


def names(cache, cohort="ward"):
    return {key[2]: live.version for key, live in cache.of("st-mary", cohort).items()}


def test_only_news_is_news(cache):
    assert cache.put(told(version=2))
    assert not cache.put(told(version=2)), "our own write, told again by the watch"
    assert not cache.put(told(version=1)), "a watch that lags behind our own write"
    assert cache.put(told(version=3))
    assert names(cache) == {"a": 3}


def test_what_is_gone_does_not_come_back_by_an_older_list(cache):
    cache.put(told(version=2))
    assert cache.remove(told(version=4))
    assert not cache.put(told(version=2))
    assert not cache.remove(told(version=4)), "gone already"
    assert cache.put(told(version=5, uid="u2")), "made anew"


def test_a_late_deletion_does_not_take_the_next_incarnation(cache):
    cache.put(told(version=9, uid="u2"))
    assert not cache.remove(told(version=4, uid="u1"))
    assert names(cache) == {"a": 9}


def test_a_list_removes_what_a_watch_has_missed_and_spares_what_is_newer(cache):
    cache.put(told("stays", 1))
    cache.put(told("missed", 2))
    cache.put(told("newer", 8))
    changed = cache.replace(CONFIG_MAP, [told("stays", 1), told("unseen", 4, cohort="other")], 5, [])
    assert names(cache) == {"stays": 1, "newer": 8}
    assert changed == {("st-mary", "ward"), ("st-mary", "other")}
    assert (
        cache.replace(CONFIG_MAP, [told("stays", 1), told("newer", 8), told("unseen", 4, cohort="other")], 9, [])
        == set()
    )


def test_a_list_of_another_namespace_or_kind_removes_nothing(cache):
    cache.put(told())
    assert cache.replace(CONFIG_MAP, [], 5, ["elsewhere"]) == set()
    assert cache.replace(SECRET, [], 5, []) == set()
    assert names(cache) == {"a": 1}


def test_a_child_that_loses_its_label_is_told_of_once(cache):
    cache.put(told(version=1))
    assert cache.unlabelled(told(version=2, cohort=None)) == "ward"
    assert cache.unlabelled(told(version=3, cohort=None)) is None
    assert names(cache) == {}


def test_metadata_alone_is_filled_in_by_the_whole(cache):
    data = {"data": {"token": "c2VjcmV0"}}
    cache.put(trim(SECRET, {"kind": "PartialObjectMetadata", "metadata": _metadata()}))
    (live,) = cache.of("st-mary", "ward").values()
    assert live.data is None
    cache.put(told("a", 1, kind=SECRET, **data))
    (live,) = cache.of("st-mary", "ward").values()
    assert live.data == {"token": "secret"}


def _metadata():
    return {
        "name": "a",
        "namespace": "st-mary",
        "uid": "u1",
        "resourceVersion": "1",
        "labels": {COHORT_LABEL: "ward"},
    }


def test_a_secret_shows_nothing_in_a_log():
    assert "hush" not in repr(told(kind=SECRET, data={"token": "aHVzaA=="}))
