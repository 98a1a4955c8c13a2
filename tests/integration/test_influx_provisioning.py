"""Buckets and tokens on a real InfluxDB 2: the rules of provisioning, damage and repair, and what each token may do."""

import os
import runpy
import shutil
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import urllib3

from holter.store.open import open_store
from holter.store.protocol import StoreRefusedError, Written
from holter_operator.build.given import Component, Connection
from holter_operator.io.influx import FirstUser, Influx, SetUp
from holter_operator.io.influx_api import Api
from holter_operator.io.influx_http import Http, InfluxError
from holter_operator.reconcile.provision_bucket import cohort_mark
from holter_operator.reconcile.provision_state import Access, Provisioned, Refused, Removed, Wanted

contract = runpy.run_path(str(Path(__file__).parents[1] / "unit" / "store" / "contract.py"))
_NEEDED = ("INFLUXDB_URL", "INFLUXDB_TOKEN", "INFLUXDB_ORG")
HOUR, DAY = 3600, 86400
EVERYBODY = frozenset(Component)


@pytest.fixture(scope="session")
def access():
    if missing := [name for name in _NEEDED if not os.environ.get(name)]:
        pytest.skip(f"{', '.join(missing)} not set: a real InfluxDB 2 is needed")
    return Access(os.environ["INFLUXDB_URL"], os.environ["INFLUXDB_ORG"], os.environ["INFLUXDB_TOKEN"])


@pytest.fixture(scope="session")
def http():
    http = Http()
    yield http
    http.close()


@pytest.fixture(scope="session")
def api(access, http):
    """InfluxDB as somebody else may use it."""
    return Api(http, access)


@pytest.fixture(scope="session")
def organisation(api):
    return api.organisation()


@pytest.fixture
def namespace(api, organisation):
    """A namespace of this test's own; its buckets and tokens are removed."""
    name = f"it-{uuid4().hex[:10]}"
    yield name
    for bucket in [one for one in api.buckets(organisation) if one.name.startswith(name)]:
        api.delete_bucket(bucket.id)
    for one in api.authorizations(organisation)[1]:
        if f"holter.dev/{name}" in one.description or one.description.startswith(name):
            api.delete_authorization(one.id)


@pytest.fixture
def asked(namespace):
    def ask(name="ward", **other):
        start = Wanted(
            f"{namespace}-{name}", namespace, name, f"{namespace}.{name}", 720 * HOUR, False, False, EVERYBODY
        )
        return replace(start, **other)

    return ask


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Operator:
    """What the operator does with provisioning: it keeps the Secrets."""

    def __init__(self, http, access, grace=timedelta(hours=1)):
        self.clock = Clock()
        self.access, self.secrets = access, {}
        self.influx = Influx(grace=grace, clock=self.clock, http=http)

    def reconcile(self, wanted, **other):
        """One reconcile, with a listing of its own, and the Secrets written."""
        self.clock.now += 60
        found = self.influx.ensure(wanted, other.get("access", self.access), self.secrets)
        if isinstance(found, Provisioned):
            self.secrets = {component: one.token for component, one in found.connections.items()}
        return found


@pytest.fixture
def operator(http, access):
    return Operator(http, access)


def reasons(found):
    return [change.reason for change in found.changes]


def marked(api, organisation, wanted):
    found = api.authorizations(organisation)[1]
    return [one for one in found if one.description.startswith(f"{cohort_mark(wanted.uid)}/")]


def named(api, organisation, name):
    return next((bucket for bucket in api.buckets(organisation) if bucket.name == name), None)


def call(connection, method, path, **options):
    headers = {"Authorization": f"Token {connection.token}", **options.pop("headers", {})}
    url = f"{connection.url}/api/v2/{path}"
    return urllib3.request(method, url, headers=headers, timeout=10, retries=False, **options)


def written(connection, bucket=None) -> int:
    query = f"org={connection.org}&bucket={bucket or connection.bucket}"
    return call(connection, "POST", f"write?{query}", body=b"probe value=1").status


def rows(connection, bucket=None) -> int | None:
    """How many rows are read; None when the token may not read."""
    flux = f'from(bucket: "{bucket or connection.bucket}") |> range(start: -1h)'
    headers = {"Content-Type": "application/vnd.flux"}
    answer = call(connection, "POST", f"query?org={connection.org}", body=flux.encode(), headers=headers)
    return answer.data.count(b"probe") if answer.status == 200 else None


class TestRights:
    def test_each_token_may_what_its_component_does_and_no_more(self, operator, asked, api, organisation):
        first, other = asked(), asked("other")
        connections = operator.reconcile(first).connections
        operator.secrets = {}
        elsewhere = operator.reconcile(other)
        assert isinstance(elsewhere, Provisioned)
        assert set(connections) == EVERYBODY
        assert len({one.token for one in connections.values()}) == 4
        may_write, may_read = {}, {}
        for component, one in connections.items():
            assert (one.url, one.org, one.bucket) == (operator.access.url, operator.access.org, first.bucket)
            may_write[component] = written(one) == 204
        for component, one in connections.items():
            may_read[component] = bool(rows(one))
        assert may_write == {
            Component.INGEST: True,
            Component.INFERENCE: True,
            Component.CONSOLE: True,
            Component.REFIT: False,
        }
        assert may_read == {
            Component.INGEST: False,
            Component.INFERENCE: True,
            Component.CONSOLE: True,
            Component.REFIT: True,
        }
        assert written(elsewhere.connections[Component.INGEST]) == 204
        assert rows(elsewhere.connections[Component.REFIT]) == 1
        for one in connections.values():
            assert written(one, other.bucket) in (401, 403, 404)
            assert rows(one, other.bucket) is None
            assert call(one, "GET", f"authorizations?orgID={organisation}").json()["authorizations"] == []
            assert call(one, "POST", "buckets", json={"orgID": organisation, "name": f"{other.bucket}x"}).status == 401
            mine = named(api, organisation, first.bucket)
            assert call(one, "DELETE", f"buckets/{named(api, organisation, other.bucket).id}").status in (401, 404)
            assert mine is not None

    def test_the_operator_s_token_needs_no_more_than_is_told(self, http, access, api, organisation, namespace, asked):
        """docs/influxdb.md says which rights an own connection's token needs: exactly these."""
        user = call(access, "GET", "me").json()["id"]
        enough = {
            ("read", "orgs", organisation),
            ("read", "users", user),
            ("write", "users", user),
            *((action, kind, "") for action in ("read", "write") for kind in ("buckets", "authorizations")),
        }

        def operator(rights):
            wanted = [
                {"action": action, "resource": {"type": kind, "orgID": organisation} | ({"id": one} if one else {})}
                for action, kind, one in rights
            ]
            body = {"orgID": organisation, "description": f"{namespace} minimal", "permissions": wanted}
            made = call(access, "POST", "authorizations", json=body).json()
            return Operator(http, replace(access, token=made["token"]), timedelta(0))

        wanted = asked()
        whole = operator(enough)
        assert isinstance(whole.reconcile(wanted), Provisioned)
        assert isinstance(whole.reconcile(replace(wanted, retention=48 * HOUR)), Provisioned)
        assert isinstance(whole.influx.remove(wanted.uid, whole.access, delete_bucket=True), Removed)
        refused = {}
        for right in sorted(enough):
            with_less = operator(enough - {right})
            found = with_less.reconcile(wanted)
            if isinstance(found, Provisioned):
                found = with_less.influx.remove(wanted.uid, with_less.access, delete_bucket=True)
            refused[right] = getattr(found, "reason", None)
            api_operator = Operator(http, access)
            assert isinstance(api_operator.influx.remove(wanted.uid, access, delete_bucket=True), Removed)
        assert all(refused.values()), refused
        assert set(refused.values()) <= {"InfluxDBUnauthorized", "InfluxDBOrgNotFound"}, refused


class TestBucket:
    def test_created_then_left_alone(self, operator, asked, api, organisation):
        wanted = asked()
        first = operator.reconcile(wanted)
        assert reasons(first) == ["BucketCreated", *["TokenIssued"] * 4]
        assert (first.bucket_name, first.adopted) == (wanted.bucket, False)
        bucket = named(api, organisation, wanted.bucket)
        assert (bucket.id, bucket.retention) == (first.bucket_id, 720 * HOUR)
        assert bucket.description == f"holter.dev/{wanted.uid} MonitoredCohort {wanted.namespace}/ward"
        before = marked(api, organisation, wanted)
        for _ in range(3):
            again = operator.reconcile(wanted)
            assert again == replace(first, changes=())
            assert operator.influx.settled(wanted, operator.access, operator.secrets)
        assert marked(api, organisation, wanted) == before
        assert (
            call(operator.access, "GET", f"buckets/{bucket.id}").json()["updatedAt"] <= before[-1].created.isoformat()
        )

    @pytest.mark.parametrize("hours", [1, 47, 48, 24 * 179, 24 * 365])
    def test_retention_is_followed_in_both_directions_and_drift_repaired(
        self, hours, operator, asked, api, organisation
    ):
        wanted = asked(retention=72 * HOUR)
        first = operator.reconcile(wanted)
        changed = operator.reconcile(replace(wanted, retention=hours * HOUR))
        assert reasons(changed) == ["BucketUpdated"]
        assert named(api, organisation, wanted.bucket).retention == hours * HOUR
        api.update_bucket(first.bucket_id, wanted.bucket, 30 * HOUR)
        operator.clock.now += 5
        assert not operator.influx.settled(replace(wanted, retention=hours * HOUR), operator.access, operator.secrets)
        repaired = operator.reconcile(replace(wanted, retention=hours * HOUR))
        assert reasons(repaired) == ["BucketUpdated"]
        bucket = named(api, organisation, wanted.bucket)
        assert (bucket.retention, bucket.id) == (hours * HOUR, first.bucket_id)
        assert repaired.connections == first.connections

    def test_renamed_is_named_back_with_its_data(self, operator, asked, api, organisation):
        wanted = asked()
        first = operator.reconcile(wanted)
        assert written(first.connections[Component.INGEST]) == 204
        api.update_bucket(first.bucket_id, f"{wanted.bucket}.old", wanted.retention)
        again = operator.reconcile(wanted)
        assert (again.bucket_id, reasons(again)) == (first.bucket_id, ["BucketUpdated"])
        assert rows(again.connections[Component.REFIT]) == 1

    def test_missing_is_created_anew_and_all_tokens_are_for_the_new_one(self, operator, asked, api, organisation):
        wanted = asked()
        first = operator.reconcile(wanted)
        api.delete_bucket(first.bucket_id)
        again = operator.reconcile(wanted)
        assert reasons(again) == ["BucketCreated", *["TokenIssued"] * 4]
        assert again.bucket_id != first.bucket_id
        assert written(again.connections[Component.INGEST]) == 204
        assert rows(again.connections[Component.REFIT]) == 1

    def test_found_among_more_than_a_page(self, operator, asked, api, organisation, namespace):
        """InfluxDB lists 20 unless told otherwise, and 100 at most."""
        for number in range(60):
            api.create_bucket(organisation, f"{namespace}.a{number:03}", "another's", HOUR)
        wanted = asked("m")
        first = operator.reconcile(wanted)
        for number in range(60):
            api.create_bucket(organisation, f"{namespace}.z{number:03}", "another's", HOUR)
        assert operator.reconcile(wanted) == replace(first, changes=())
        removed = operator.influx.remove(wanted.uid, operator.access, delete_bucket=True)
        assert reasons(removed) == [*["TokenRevoked"] * 4, "BucketDeleted"]
        assert named(api, organisation, wanted.bucket) is None
        assert sum(one.name.startswith(namespace) for one in api.buckets(organisation)) == 120

    def test_another_s_is_refused_and_untouched(self, operator, asked, api, organisation):
        wanted = asked()
        theirs = api.create_bucket(organisation, wanted.bucket, "another's", 5 * HOUR)
        for adopt in (False, True):
            refused = operator.reconcile(replace(wanted, adopt=adopt))
            assert isinstance(refused, Refused)
            assert (refused.reason, refused.changes, refused.transient) == ("BucketOwnedByAnother", (), False)
        assert named(api, organisation, wanted.bucket) == theirs
        assert marked(api, organisation, wanted) == []
        assert operator.influx.remove(wanted.uid, operator.access, delete_bucket=True) == Removed()
        assert named(api, organisation, wanted.bucket) == theirs

    def test_another_cohort_s_is_refused(self, operator, asked):
        assert isinstance(operator.reconcile(asked()), Provisioned)
        operator.secrets = {}
        refused = operator.reconcile(asked(uid="a-later-one"))
        assert (refused.reason, "with uid" in refused.message) == ("BucketOwnedByAnother", True)

    def test_another_namespace_s_is_refused(self, operator, asked, api, organisation, namespace):
        refused = operator.reconcile(asked(namespace=f"{namespace}-not"))
        assert refused.reason == "BucketOfAnotherNamespace"
        assert named(api, organisation, f"{namespace}.ward") is None

    def test_a_bucket_slipped_in_by_another_cohort_s_token_is_refused(self, operator, asked, api, organisation):
        """InfluxDB lets a token that reads and writes a bucket rename it and describe it anew."""
        victim, intruder = asked(), asked("intruder")
        theirs = operator.reconcile(intruder)
        operator.secrets = {}
        mine = operator.reconcile(victim)
        api.delete_bucket(mine.bucket_id)
        body = {"name": victim.bucket, "description": cohort_mark(victim.uid)}
        one = theirs.connections[Component.INFERENCE]
        assert call(one, "PATCH", f"buckets/{theirs.bucket_id}", json=body).status == 200
        refused = operator.reconcile(victim)
        assert isinstance(refused, Refused)
        assert (refused.reason, intruder.uid in refused.message) == ("BucketOwnedByAnother", True)
        assert isinstance(operator.influx.remove(intruder.uid, operator.access, delete_bucket=False), Removed)
        assert isinstance(operator.reconcile(victim), Provisioned)

    def test_adopted_is_used_as_it_is_and_outlives_the_cohort(self, operator, asked, api, organisation, namespace):
        theirs = api.create_bucket(organisation, f"{namespace}-theirs", "another's", 5 * HOUR)
        wanted = asked(bucket=theirs.name, adopt=True, own_connection=True)
        found = operator.reconcile(wanted)
        assert (found.adopted, found.bucket_id, reasons(found)) == (True, theirs.id, ["TokenIssued"] * 4)
        assert written(found.connections[Component.INGEST]) == 204
        operator.reconcile(replace(wanted, retention=DAY))
        removed = operator.influx.remove(wanted.uid, operator.access, delete_bucket=True)
        assert reasons(removed) == ["TokenRevoked"] * 4
        assert named(api, organisation, theirs.name) == theirs
        assert written(found.connections[Component.INGEST]) == 401


class TestTokens:
    @pytest.mark.parametrize("damage", ["lost", "edited", "another's"])
    def test_a_secret_that_is_damaged_gets_a_new_token(self, damage, operator, asked, api, organisation):
        wanted = asked()
        first = operator.reconcile(wanted)
        operator.reconcile(wanted)  # the Secret was seen with it, so it is not remembered any more
        operator.secrets[Component.INGEST] = {
            "lost": None,
            "edited": "edited",
            "another's": first.connections[Component.INFERENCE].token,
        }[damage]
        again = operator.reconcile(wanted)
        assert reasons(again) == ["TokenIssued"]
        assert "token 2 of ingest" in again.changes[0].message
        assert written(again.connections[Component.INGEST]) == 204
        changed = {one for one in Component if first.connections[one] != again.connections[one]}
        assert changed == {Component.INGEST}
        operator.reconcile(wanted)
        assert written(first.connections[Component.INGEST]) == 204, "pods may still use it"
        operator.influx = Influx(grace=timedelta(0), clock=operator.clock)
        assert reasons(operator.reconcile(wanted)) == ["TokenRevoked"]
        assert written(first.connections[Component.INGEST]) == 401
        assert written(again.connections[Component.INGEST]) == 204
        assert len(marked(api, organisation, wanted)) == 4

    @pytest.mark.parametrize("damage", ["deleted", "inactive"])
    def test_a_damaged_authorization_is_replaced(self, damage, operator, asked, api, organisation):
        wanted = asked()
        first = operator.reconcile(wanted)
        victim = next(one for one in marked(api, organisation, wanted) if "/refit/" in one.description)
        if damage == "deleted":
            api.delete_authorization(victim.id)
        else:
            call(operator.access, "PATCH", f"authorizations/{victim.id}", json={"status": "inactive"})
        written(first.connections[Component.INGEST])
        assert not rows(first.connections[Component.REFIT])
        again = operator.reconcile(wanted)
        assert reasons(again) == ["TokenIssued"]
        assert rows(again.connections[Component.REFIT]) == 1

    def test_rotation_with_two_valid_tokens(self, operator, asked, api, organisation):
        wanted = asked()
        first = operator.reconcile(wanted)
        # InfluxDB's Date header has whole seconds, so one may have to pass before the time has come.
        later = max(one.created for one in marked(api, organisation, wanted)) + timedelta(microseconds=1)
        asking = replace(wanted, issued_after=later)
        _until(lambda: api.authorizations(organisation)[0] >= later)
        second = operator.reconcile(asking)
        assert reasons(second) == ["TokenIssued"] * 4
        assert not {one.token for one in first.connections.values()} & {
            one.token for one in second.connections.values()
        }
        waiting = operator.reconcile(asking)
        assert waiting.changes == ()
        assert waiting.due_in > 3500
        for found in (first, second):
            assert written(found.connections[Component.INGEST]) == 204
            assert rows(found.connections[Component.REFIT]) is not None
        operator.influx = Influx(grace=timedelta(0), clock=operator.clock)
        over = operator.reconcile(asking)
        assert (reasons(over), over.due_in, over.connections) == (["TokenRevoked"] * 4, None, second.connections)
        assert written(first.connections[Component.INGEST]) == 401
        assert written(second.connections[Component.INGEST]) == 204
        assert operator.reconcile(asking).changes == ()

    def test_while_the_secret_cannot_be_written_the_same_token_is_handed_out(self, operator, asked, api, organisation):
        wanted = asked()
        found = operator.reconcile(wanted)
        for _ in range(3):
            operator.secrets = {}
            assert operator.reconcile(wanted) == replace(found, changes=())
        assert len(marked(api, organisation, wanted)) == 4

    def test_an_operator_killed_before_the_secret_leaves_nothing(self, http, access, asked, api, organisation):
        wanted = asked()
        for _ in range(10):
            assert isinstance(Operator(http, access).reconcile(wanted), Provisioned)
            assert len(marked(api, organisation, wanted)) <= 4 * 4
        last = Operator(http, access, timedelta(0))
        first = last.reconcile(wanted)
        last.reconcile(wanted)
        assert len(marked(api, organisation, wanted)) == 4
        assert written(first.connections[Component.INGEST]) == 204

    def test_a_component_that_is_off_loses_its_token(self, operator, asked, api, organisation):
        wanted = asked()
        first = operator.reconcile(wanted)
        fewer = operator.reconcile(replace(wanted, components=EVERYBODY - {Component.CONSOLE}))
        assert reasons(fewer) == ["TokenRevoked"]
        assert written(first.connections[Component.CONSOLE]) == 401


class TestServices:
    """The data plane's own store runs on these tokens."""

    @pytest.fixture
    def open_as(self, tmp_path):
        """A component's store; its Secret's keys are the files of a folder."""
        stores = []

        def opened(component: Component, connection: Connection):
            mount(tmp_path / component, connection)
            stores.append(open_store(f"influxdb:{tmp_path / component}", layout="Chunks", writer="here-0"))
            return stores[-1]

        yield opened
        for store in stores:
            store.close()

    def test_each_component_can_do_its_work(self, operator, asked, open_as):
        connections = operator.reconcile(asked(retention=24 * 365 * 5 * HOUR)).connections
        stores = {component: open_as(component, one) for component, one in connections.items()}
        for store in stores.values():
            store.health()
        chunk = contract["chunk"]()
        assert stores[Component.INGEST].write_chunks([chunk]) == Written(1, 0)
        worker = stores[Component.INFERENCE]
        found, _ = contract["drain"](worker, contract["just_before_now"](worker))
        assert contract["plain"](found) == contract["plain"]([chunk])
        worker.write_scores(contract["windows"](["a"], [chunk.t0 + 10 * contract["SECOND"]]))
        refit = stores[Component.REFIT]
        assert refit.list_devices(chunk.t0) == ("a",)
        assert len(refit.read_windows(chunk.t0, 10, 1).device_ids) == 1
        with pytest.raises(StoreRefusedError):
            refit.write_scores(contract["windows"](["b"], [chunk.t0]))

    def test_a_service_lives_through_a_rotation(self, operator, asked, open_as, tmp_path):
        wanted = asked(retention=24 * 365 * 5 * HOUR)
        first = operator.reconcile(wanted)
        operator.reconcile(wanted)
        ingest = open_as(Component.INGEST, first.connections[Component.INGEST])
        chunks = [contract["chunk"](t0=contract["T"] + number * contract["SECOND"]) for number in range(3)]
        assert ingest.write_chunks(chunks[:1]) == Written(1, 0)
        operator.secrets = {}
        second = operator.reconcile(wanted)
        assert ingest.write_chunks(chunks[1:2]) == Written(1, 0), "the new one is not mounted yet"
        mount(tmp_path / Component.INGEST, second.connections[Component.INGEST])
        operator.influx = Influx(grace=timedelta(0), clock=operator.clock)
        assert reasons(operator.reconcile(wanted)) == ["TokenRevoked"] * 4
        assert ingest.write_chunks(chunks[2:]) == Written(1, 0)


def mount(folder: Path, connection: Connection):
    """What a kubelet does with a component's Secret."""
    folder.mkdir(exist_ok=True)
    for key in ("url", "org", "bucket", "token"):
        (folder / key).write_text(getattr(connection, key))


class TestRemoval:
    @pytest.mark.parametrize("delete", [True, False])
    def test_tokens_go_and_the_bucket_if_asked_for(self, delete, operator, asked, api, organisation):
        wanted, other = asked(), asked("other")
        found = operator.reconcile(wanted)
        operator.secrets = {}
        beside = operator.reconcile(other)
        written(found.connections[Component.INGEST])
        removed = operator.influx.remove(wanted.uid, operator.access, delete_bucket=delete)
        assert reasons(removed) == ["TokenRevoked"] * 4 + ["BucketDeleted"] * delete
        assert (named(api, organisation, wanted.bucket) is None) == delete
        assert marked(api, organisation, wanted) == []
        assert {written(found.connections[one]) for one in Component} == {401}
        assert operator.influx.remove(wanted.uid, operator.access, delete_bucket=delete) == Removed()
        assert written(beside.connections[Component.INGEST]) == 204
        if not delete:
            admin = replace(found.connections[Component.REFIT], token=operator.access.token)
            assert rows(admin) == 1


class TestTrouble:
    def test_nobody_there(self, operator, asked, http):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{unused.getsockname()[1]}"
            dead = replace(operator.access, url=url)
            found = operator.reconcile(asked(), access=dead)
            removed = operator.influx.remove(asked().uid, dead, delete_bucket=True)
        for refused in (found, removed):
            assert isinstance(refused, Refused)
            assert (refused.reason, refused.transient) == ("InfluxDBUnavailable", True)
            assert url in refused.message
            assert "Connection refused" in refused.message

    def test_wrong_token_and_organisation(self, operator, asked):
        wrong = operator.reconcile(asked(), access=replace(operator.access, token="no-such-token"))
        assert (wrong.reason, wrong.transient) == ("InfluxDBUnauthorized", False)
        assert "no-such-token" not in wrong.message
        none = operator.reconcile(asked(), access=replace(operator.access, org="no-such-org"))
        assert none.reason == "InfluxDBOrgNotFound"
        assert "'no-such-org'" in none.message

    def test_a_bucket_that_goes_or_comes_behind_a_listing(self, operator, asked, api, organisation):
        """Up to 5 seconds old: what it says is missing may be there, and what is there may be gone."""
        wanted = asked()
        operator.reconcile(asked("first"))
        operator.secrets = {}
        api.create_bucket(organisation, wanted.bucket, cohort_mark(wanted.uid), wanted.retention)
        found = operator.influx.ensure(wanted, operator.access, {})
        assert reasons(found) == ["TokenIssued"] * 4
        tokens = {component: one.token for component, one in found.connections.items()}
        api.delete_bucket(found.bucket_id)
        again = operator.influx.ensure(replace(wanted, retention=DAY), operator.access, tokens)
        assert reasons(again) == ["BucketCreated", *["TokenIssued"] * 4]
        assert written(again.connections[Component.INGEST]) == 204

    @pytest.mark.parametrize("remembers", [True, False])
    def test_answers_that_get_lost_leave_nothing_behind(self, remembers, access, asked, api, organisation):
        """The n-th write is done, but its answer is lost; the operator lives on, or is killed with it."""

        class Losing(Http):
            left = -1

            def request(self, access, method, path, query=None, body=None):
                answer = super().request(access, method, path, query, body)
                self.left -= method != "GET"
                if method != "GET" and self.left == 0:
                    raise InfluxError("InfluxDBUnavailable", "the answer is lost", transient=True)
                return answer

        http = Losing()
        for lost in range(1, 11):
            wanted = asked(f"ward-{lost}")
            operator = Operator(http, access, timedelta(0))
            http.left = lost
            first = operator.reconcile(wanted)
            assert isinstance(first, Refused) == (lost <= 9), "a bucket, and two writes for each of four tokens"
            http.left = -1
            if not remembers:
                operator = Operator(http, access, timedelta(0))
            found = operator.reconcile(wanted)
            operator.reconcile(wanted)
            assert len(marked(api, organisation, wanted)) == 4
            assert sum(one.name == wanted.bucket for one in api.buckets(organisation)) == 1
            assert written(found.connections[Component.INGEST]) == 204
            http.left = lost
            operator.influx.remove(wanted.uid, access, delete_bucket=True)
            http.left = -1
            assert isinstance(operator.influx.remove(wanted.uid, access, delete_bucket=True), Removed)
            assert marked(api, organisation, wanted) == []
            assert named(api, organisation, wanted.bucket) is None
        http.close()

    def test_many_cohorts_share_one_listing_from_threads(self, access, asked):
        class Counting(Http):
            def __init__(self):
                super().__init__()
                self.listings = 0

            def request(self, access, method, path, query=None, body=None):
                self.listings += (method, path) == ("GET", "authorizations")
                return super().request(access, method, path, query, body)

        http = Counting()
        influx = Influx(clock=Clock(), http=http)
        cohorts = [asked(f"ward-{number}") for number in range(24)]
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda wanted: influx.ensure(wanted, access, {}), cohorts))
        assert all(isinstance(one, Provisioned) for one in found), found
        assert len({one.bucket_id for one in found}) == 24
        assert len({each.token for one in found for each in one.connections.values()}) == 24 * 4
        assert http.listings == 1
        for wanted in cohorts:
            assert isinstance(influx.remove(wanted.uid, access, delete_bucket=True), Removed)
        http.close()


@contextmanager
def _influxd(folder):
    binary = os.environ.get("INFLUXD") or shutil.which("influxd")
    if not binary:
        pytest.skip("no influxd on PATH nor in INFLUXD: an empty InfluxDB 2 is needed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    paths = {"bolt-path": "influxd.bolt", "sqlite-path": "influxd.sqlite", "engine-path": "engine"}
    options = [f"--{name}={folder / path}" for name, path in paths.items()]
    environment = {**os.environ, "INFLUXD_REPORTING_DISABLED": "true", "HOME": str(folder)}
    with subprocess.Popen(
        [binary, f"--http-bind-address={address}", "--log-level=error", *options],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield f"http://{address}"
        finally:
            process.terminate()
            process.wait(20)


def _until(true):
    for _ in range(300):
        if true():
            return
        time.sleep(0.1)
    pytest.fail("it did not come to it in 30 s")


class TestSetUp:
    def test_an_empty_influxdb_is_set_up_once(self, tmp_path, http, asked):
        with _influxd(tmp_path) as url:
            operator = Operator(http, Access(url, "hospital", "the-operator-s-token"))
            first = FirstUser("admin", "a-long-password")

            def up():
                try:
                    return Api(http, operator.access).may_be_set_up()
                except InfluxError:
                    return False

            _until(up)
            wanted = asked("ward", namespace="st-mary", bucket="st-mary.ward", uid="u-1")
            empty = operator.reconcile(wanted)
            assert empty.reason == "InfluxDBNotSetUp"
            assert operator.influx.set_up(operator.access, first) == SetUp(now=True)
            assert operator.influx.set_up(operator.access, first) == SetUp(now=False)
            found = operator.reconcile(wanted)
            assert isinstance(found, Provisioned), found
            assert written(found.connections[Component.INGEST]) == 204
            other = replace(operator.access, token="another")
            assert operator.influx.set_up(other, first).reason == "InfluxDBUnauthorized"
            assert operator.reconcile(wanted, access=other).reason == "InfluxDBUnauthorized"

    def test_a_bad_password_is_told(self, tmp_path, http):
        with _influxd(tmp_path) as url:
            access = Access(url, "hospital", "the-operator-s-token")
            _until(lambda: isinstance(Influx(http=http).set_up(access, FirstUser("admin", "short")), Refused))
            _until(lambda: Influx(http=http).set_up(access, FirstUser("admin", "short")).reason == "InfluxDBRefused")
            refused = Influx(http=http).set_up(access, FirstUser("admin", "short"))
            assert "password" in refused.message


def test_the_clock_of_influxdb_is_used(api, organisation):
    at, _ = api.authorizations(organisation)
    assert abs(at - datetime.now(UTC)) < timedelta(minutes=5)
