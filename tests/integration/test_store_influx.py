"""The store contract on a real InfluxDB, in both layouts, and what is InfluxDB's own."""

import os
import re
import runpy
import threading
import time
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from influxdb_client import BucketRetentionRules, InfluxDBClient, Permission, PermissionResource

from holter.store import flux
from holter.store.client import Connection, RejectedError
from holter.store.influx import InfluxStore
from holter.store.open import open_store
from holter.store.protocol import StoreRefusedError, Written

contract = runpy.run_path(str(Path(__file__).parents[1] / "unit" / "store" / "contract.py"))
T, SECOND, ALL = contract["T"], contract["SECOND"], contract["ALL"]
chunk, plain, drain, windows = contract["chunk"], contract["plain"], contract["drain"], contract["windows"]
just_before_now = contract["just_before_now"]

_NEEDED = ("INFLUXDB_URL", "INFLUXDB_TOKEN", "INFLUXDB_ORG")


@pytest.fixture(scope="session")
def admin():
    if missing := [name for name in _NEEDED if not os.environ.get(name)]:
        pytest.skip(f"{', '.join(missing)} not set: a real InfluxDB 2 is needed")
    client = InfluxDBClient(*(os.environ[name] for name in _NEEDED[:2]), org=os.environ["INFLUXDB_ORG"])
    yield client
    client.close()


@pytest.fixture
def make_bucket(admin):
    made = []

    def make(retention: int = 0):
        rules = BucketRetentionRules(type="expire", every_seconds=retention)
        made.append(admin.buckets_api().create_bucket(bucket_name=f"holter-test.{uuid4()}", retention_rules=rules))
        return made[-1]

    yield make
    for bucket in made:
        admin.buckets_api().delete_bucket(bucket)


@pytest.fixture
def secret(tmp_path):
    def write(bucket, token: str = "") -> Path:
        values = {"url": os.environ["INFLUXDB_URL"], "org": os.environ["INFLUXDB_ORG"], "bucket": bucket.name}
        for name, value in {**values, "token": token or os.environ["INFLUXDB_TOKEN"]}.items():
            (tmp_path / name).write_text(f"{value}\n")
        return tmp_path

    return write


@pytest.fixture
def folder(make_bucket, secret):
    return secret(make_bucket())


@pytest.fixture
def layout(request):
    return getattr(request.cls, "layout", "Chunks")


@pytest.fixture
def store(folder, layout):
    store = open_store(f"influxdb:{folder}", layout=layout, writer="here-0")
    yield store
    store.close()


@pytest.fixture
def other(folder, layout):
    other = open_store(f"influxdb:{folder}", layout=layout, writer="there-1")
    yield other
    other.close()


class TestChunks(contract["Contract"]):
    layout = "Chunks"


class TestSamples(contract["Contract"]):
    layout = "Samples"

    def test_samples_are_points_4_ms_apart_in_millivolts(self, store, folder):
        c = chunk("a", T + 1, n=250)
        store.write_chunks([c])
        query = flux.select(store._connection.bucket, "ecg_signal", 0, flux.FAR, flux.any_of("_field", ["voltage"]))
        (table,) = store._connection.query("test", query)
        assert set(np.diff(table.times())) == {4_000_000}
        assert table.times()[0] == (T + 1) * 1000
        np.testing.assert_allclose(table.floats("_value"), c.samples / 1000, rtol=0, atol=1e-12)
        assert set(table.texts("shard")) == {str(c.shard)}


def test_what_another_instance_wrote_is_repeated_once_and_then_known(store, other):
    cursor = just_before_now(store)
    store.write_chunks([chunk("a")])
    first = store.read_chunks(ALL, cursor)
    assert len(first.chunks) == 1
    assert store.read_chunks(ALL, first.cursor) == type(first)((), first.cursor)
    # Another process does not know what that cursor's reader had, so the overlap comes again.
    assert len(other.read_chunks(ALL, first.cursor).chunks) == 1
    # The same cursor again, as after a failure, gives the same again.
    assert len(store.read_chunks(ALL, cursor).chunks) == 1


def test_one_far_behind_finds_its_way(store, monkeypatch):
    cursor = just_before_now(store) - 3 * 86400 * SECOND * 1000
    store.write_chunks([chunk("a"), chunk("b")])
    asked = []
    query = Connection.query
    monkeypatch.setattr(Connection, "query", lambda self, call, text: (asked.append(call), query(self, call, text))[1])
    assert len(drain(store, cursor)[0]) == 2
    assert asked.count("read_chunks (arrival)") < 15


def test_points_beyond_retention_are_refused_and_cost_no_others(make_bucket, secret):
    store = InfluxStore(secret(make_bucket(retention=3600)), "Chunks", "here-0")
    now = time.time_ns() // 1000
    cursor = just_before_now(store)
    old, young = [chunk(f"old{i}", now - 86400 * SECOND) for i in range(5)], [chunk(f"d{i}", now) for i in range(6)]
    mixed = [*young[:2], *old[:2], *young[2:], *old[2:]]
    assert store.write_chunks(mixed) == Written(stored=6, conflicts=0, refused=5)
    assert store.write_chunks(old) == Written(stored=0, conflicts=0, refused=5)
    assert plain(drain(store, cursor)[0]) == plain(young)
    store.close()


def test_a_bad_line_costs_no_others(store):
    cursor = just_before_now(store)
    good = [chunk(f"d{i}") for i in range(6)]
    # A line that InfluxDB cannot read makes it refuse the whole body.
    layout = store._layout
    store._layout = replace(layout, encode=lambda some: re.sub(rb"(id=bad\S*) \w+=", rb"\1 pcm=?", layout.encode(some)))
    assert store.write_chunks([*good[:4], chunk("bad"), *good[4:]]) == Written(stored=6, conflicts=0, refused=1)
    assert plain(drain(store, cursor)[0]) == plain(good)


def test_a_field_of_another_type_is_told_by_name(store):
    store._connection.write("foreign", f'ecg_score,device_id=a,shard=0 score="text" {T * 1000}\n'.encode())
    scores = windows(["a"], [T])
    store._connection.write("foreign", b'ecg_score,device_id=a,shard=51 score="text" 1\n')
    with pytest.raises(RejectedError, match=r"write_scores on .*422 .*field type conflict.*\"score\""):
        store.write_scores(scores)


def test_a_token_that_may_only_write_suffices_for_ingest(admin, make_bucket, secret):
    bucket = make_bucket()
    resource = PermissionResource(type="buckets", id=bucket.id, org_id=bucket.org_id)
    permission = Permission(action="write", resource=resource)
    authorization = admin.authorizations_api().create_authorization(org_id=bucket.org_id, permissions=[permission])
    try:
        store = open_store(f"influxdb:{secret(bucket, authorization.token)}", layout="Chunks", writer="ingest-0")
        assert store.write_chunks([chunk(), chunk(), chunk(seed=3)]) == Written(2, 1)
        store.health()
        with pytest.raises(StoreRefusedError, match="read_span on"):
            store.read_span("a", T, T + 1)
        store.close()
    finally:
        admin.authorizations_api().delete_authorization(authorization)


def test_a_rotated_token_is_taken_up(make_bucket, secret):
    bucket = make_bucket()
    store = InfluxStore(secret(bucket, "no-longer-good"), "Chunks", "here-0")
    with pytest.raises(StoreRefusedError, match=r"write_chunks on .*401"):
        store.write_chunks([chunk()])
    secret(bucket)
    assert store.write_chunks([chunk()]) == Written(1, 0)
    store.close()


def test_a_bucket_that_is_gone_is_refused(folder):
    (folder / "bucket").write_text("holter-test.none")
    store = InfluxStore(folder, "Chunks", "here-0")
    with pytest.raises(StoreRefusedError, match=r"write_chunks on .*404.*holter-test.none"):
        store.write_chunks([chunk()])
    with pytest.raises(StoreRefusedError, match=r"read_alerts on .*404.*holter-test.none"):
        store.read_alerts(0)
    store.close()


def test_a_query_that_cannot_be_run_is_refused_in_influxdbs_words(store):
    store.write_chunks([chunk("a")])
    points = flux.select(store._connection.bucket, "ecg_chunk", 0, flux.FAR, flux.any_of("_field", ["n"]))
    with pytest.raises(StoreRefusedError, match=r"test on .*400 .*divide by zero"):
        store._connection.query("test", points + " |> map(fn: (r) => ({r with _value: 1 / (r._value - r._value)}))")


def test_threads_share_one_store(store):
    cursor = just_before_now(store)
    batches = [[chunk(f"t{i}-{j}", T + i * SECOND, n=10) for j in range(4)] for i in range(12)]
    threads = [threading.Thread(target=store.write_chunks, args=(batch,)) for batch in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert plain(drain(store, cursor)[0]) == plain([c for batch in batches for c in batch])
