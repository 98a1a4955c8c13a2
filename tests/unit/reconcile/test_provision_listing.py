"""The shared listing: how old, kept true to own writes, and what waits while InfluxDB is down."""

import threading
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from holter_operator.io.influx import FirstUser, Influx, SetUp
from holter_operator.io.influx_http import Answer, InfluxError
from holter_operator.io.influx_listing import Listing, SharedListing
from holter_operator.reconcile.provision_state import Access, Authorization, Bucket

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def bucket(number, uid="u", name=None, description=None):
    return Bucket(f"b{number}", name or f"ns.{number}", description or f"holter.dev/{uid} MonitoredCohort x/y", 3600)


def authorization(number, uid="u", description=None):
    return Authorization(f"a{number}", description or f"holter.dev/{uid}/ingest/1", True, NOW, frozenset())


class FakeApi:
    """InfluxDB with a few buckets; fails while `down`."""

    access = Access("http://influxdb", "hospital", "t")

    def __init__(self):
        self.listings, self.down, self.empty = 0, None, False
        self.kept = [bucket(1), bucket(2, "v")]

    def organisation(self):
        self.listings += 1
        if self.down:
            raise self.down
        return "o"

    def authorizations(self, organisation):
        return NOW, [authorization(1), authorization(2, "v"), authorization(3, description="admin's Token")]

    def buckets(self, organisation):
        return iter(self.kept)

    def may_be_set_up(self):
        return self.empty


@pytest.fixture
def api():
    return FakeApi()


@pytest.fixture
def clock():
    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    return Clock()


@pytest.fixture
def listing(api, clock):
    return SharedListing(api, clock, 5)


def test_each_cohort_sees_its_own_and_the_bucket_it_names(listing):
    observed = listing.observed("u", "ns.2")
    assert observed.named == bucket(2, "v")
    assert observed.marked == (bucket(1),)
    assert [one.id for one in observed.authorizations] == ["a1"]
    assert listing.observed("nobody", "ns.3").named is None
    assert listing.organisation == "o"


def test_listed_once_in_five_seconds_for_all(api, clock, listing):
    for number in range(100):
        listing.observed(f"u{number}", "x")
    clock.now = 4.9
    listing.observed("u", "x")
    assert api.listings == 1
    clock.now = 5
    listing.observed("u", "x")
    assert api.listings == 2
    listing.forget()
    listing.observed("u", "x")
    assert api.listings == 3


def test_own_writes_are_seen_without_listing(api, listing):
    listing.observed("u", "x")
    listing.write(lambda it: it.put_bucket(bucket(3)))
    listing.write(lambda it: it.put_authorization(authorization(4)))
    observed = listing.observed("u", "ns.3")
    assert (observed.named, len(observed.marked), len(observed.authorizations)) == (bucket(3), 2, 2)
    listing.write(lambda it: it.drop_bucket("b3"))
    listing.write(lambda it: it.drop_authorization("u", "a4"))
    listing.write(lambda it: it.drop_authorization("u", "a4"))
    observed = listing.observed("u", "ns.3")
    assert (observed.named, len(observed.marked), len(observed.authorizations)) == (None, 1, 1)
    assert api.listings == 1


def test_a_renamed_or_handed_over_bucket_is_in_one_place():
    listing = Listing(NOW, [bucket(1)], [])
    listing.put_bucket(bucket(1, name="ns.new"))
    assert listing.observed("u", "ns.1").named is None
    assert listing.observed("u", "ns.new").named == bucket(1, name="ns.new")
    listing.put_bucket(bucket(1, uid="v"))
    assert listing.observed("u", "x").marked == ()
    assert listing.observed("v", "x").marked == (bucket(1, uid="v"),)
    listing.put_bucket(bucket(1, description="nobody's"))
    assert listing.observed("v", "x").marked == ()


def test_who_has_a_token_for_a_bucket():
    def opening(number, uid, *buckets):
        return replace(authorization(number, uid), permissions=frozenset(("read", "buckets", one) for one in buckets))

    listing = Listing(
        NOW, [bucket(1), bucket(2)], [opening(1, "u", "b1"), opening(2, "v", "b1"), opening(3, "v", "b9")]
    )
    assert listing.observed("u", "ns.2").tenants == {"b1": {"u", "v"}, "b2": frozenset()}
    listing.drop_authorization("v", "a2")
    listing.put_authorization(opening(4, "w", "b2"))
    assert listing.observed("x", "ns.2").tenants == {"b2": {"w"}}
    assert listing.observed("u", "x").tenants == {"b1": {"u"}, "b2": {"w"}}


def test_a_failure_is_shared_as_long_as_a_listing(api, clock, listing):
    api.down = InfluxError("InfluxDBUnavailable", "down", transient=True)
    raised = []
    for _ in range(3):
        with pytest.raises(InfluxError, match="down") as caught:
            listing.observed("u", "x")
        raised.append(caught.value)
    assert api.listings == 1
    assert len(set(map(id, raised))) == 3, "one exception raised in many threads would collect their tracebacks"
    api.down, clock.now = None, 5
    assert listing.observed("u", "ns.1").named == bucket(1)


@pytest.mark.parametrize(
    ("status", "empty", "reason"), [(401, True, "InfluxDBNotSetUp"), (401, False, "x"), (503, True, "x")]
)
def test_an_empty_influxdb_is_told(api, listing, status, empty, reason):
    api.down, api.empty = InfluxError("x", "no", status=status), empty
    with pytest.raises(InfluxError) as caught:
        listing.observed("u", "x")
    assert caught.value.reason == reason


def test_known_to_be_down_one_thread_tries_and_nobody_waits(api, clock, listing):
    api.down = InfluxError("InfluxDBUnavailable", "down", transient=True)
    with pytest.raises(InfluxError):
        listing.observed("u", "x")
    clock.now = 5
    trying, end = threading.Event(), threading.Event()

    def hang():
        trying.set()
        assert end.wait(30)
        return "o"

    api.organisation = hang
    one = threading.Thread(target=listing.observed, args=("u", "x"))
    one.start()
    assert trying.wait(30)
    with pytest.raises(InfluxError, match="down"):
        listing.observed("v", "x")
    end.set()
    one.join(30)
    assert listing.observed("v", "ns.2").named == bucket(2, "v")


@pytest.mark.parametrize(("empty_after", "expected"), [(False, SetUp(now=False)), (True, "InfluxDBRefused")])
def test_a_set_up_that_is_refused_was_done_by_another_or_cannot_be_done(empty_after, expected):
    class EmptyInflux:
        asked = 0

        def request(self, access, method, path, query=None, body=None):
            if path == "setup" and method == "GET":
                self.asked += 1
                return Answer({"allowed": self.asked == 1 or empty_after}, NOW)
            if path == "setup":
                raise InfluxError("InfluxDBRefused", "no", status=422)
            raise InfluxError("InfluxDBUnauthorized", "no", status=401)

    found = Influx(http=EmptyInflux()).set_up(FakeApi.access, FirstUser("admin", "password"))
    assert getattr(found, "reason", found) == expected


def test_set_up_asks_nothing_while_influxdb_is_known_to_be_down(clock):
    class Dead:
        requests = 0

        def request(self, access, method, path, query=None, body=None):
            self.requests += 1
            raise InfluxError("InfluxDBUnavailable", "down", transient=True)

    http = Dead()
    influx = Influx(http=http, clock=clock)
    for _ in range(5):
        assert influx.set_up(FakeApi.access, FirstUser("admin", "password")).reason == "InfluxDBUnavailable"
    assert http.requests == 1
