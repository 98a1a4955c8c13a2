"""The contract on SQLite, and what is SQLite's own: processes, versions, retention, failures."""

import runpy
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from holter.store.database import VERSION
from holter.store.open import open_store
from holter.store.protocol import StoreRefusedError, StoreUnavailableError, Strip, Written
from holter.store.sqlite import SqliteStore

contract = runpy.run_path(str(Path(__file__).with_name("contract.py")))
T, SECOND, chunk, windows = contract["T"], contract["SECOND"], contract["chunk"], contract["windows"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "store.db"


@pytest.fixture
def store(path):
    store = open_store(f"sqlite:{path}", layout="Chunks", writer="here")
    yield store
    store.close()


@pytest.fixture
def other(path, store):
    other = open_store(f"sqlite:{path}", layout="Samples", writer="there")
    yield other
    other.close()


class TestContract(contract["Contract"]):
    pass


def test_first_write_wins_across_instances(store, other):
    assert store.write_chunks([chunk(seed=1)]) == Written(1, 0)
    assert other.write_chunks([chunk(seed=2)]) == Written(0, 1)


_WRITER = """
import sys
from pathlib import Path
import numpy as np
from holter.chunk import Chunk
from holter.store.sqlite import SqliteStore
store = SqliteStore(Path(sys.argv[1]))
for i in range(40):
    store.write_chunks([Chunk(f"p{sys.argv[2]}", i * 1_000_000, 250.0, np.full(250, i, np.int16))])
"""


def test_several_processes_make_the_file_and_write_at_once(path):
    writers = [subprocess.Popen([sys.executable, "-c", _WRITER, str(path), str(i)]) for i in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    store = SqliteStore(path)
    found, _ = contract["drain"](store, 0, limit=17)
    assert sorted((c.device_id, c.t0) for c in found) == [(f"p{i}", t * SECOND) for i in range(3) for t in range(40)]
    store.close()


def test_all_is_there_after_opening_again(path, store):
    store.write_chunks([chunk()])
    store.close()
    again = SqliteStore(path)
    assert contract["plain"](again.read_span("a", T, T + 1)) == contract["plain"]([chunk()])
    again.close()


def test_a_clock_set_back_disorders_nothing(path):
    times = iter([1000, 10, 2000])
    store = SqliteStore(path, clock=lambda: next(times))
    for device in ("a", "b", "c"):
        store.write_chunks([chunk(device)])
    assert [c.device_id for c in store.read_chunks(range(64), store.cursor_at(1000)).chunks] == ["a", "b", "c"]
    assert [c.device_id for c in store.read_chunks(range(64), store.cursor_at(1001)).chunks] == ["c"]
    store.close()


def test_pruning_keeps_what_is_young_and_never_reuses_a_cursor(path):
    times = iter([1000, 2000, 3000])
    store = SqliteStore(path, clock=lambda: next(times))
    store.write_chunks([chunk("old"), chunk("old", T + SECOND)])
    store.write_chunks([chunk("young")])
    cursor = store.read_chunks(range(64), 0).cursor
    store.write_scores(windows(["a", "a"], [1999, 2000]))
    store.write_strip(Strip("abc", chunk("a", 5)))
    assert store.prune(2000) == 4
    assert [c.device_id for c in store.read_chunks(range(64), 0).chunks] == ["young"]
    assert store.read_windows(0, 9, 0).ends.tolist() == [2000]
    assert store.prune(1 << 60) == 2
    assert store.read_chunks(range(64), cursor).cursor == cursor
    store.write_chunks([chunk("next")])
    assert [c.device_id for c in store.read_chunks(range(64), cursor).chunks] == ["next"]
    store.close()


def test_writers_get_their_turn_while_much_is_pruned(path, monkeypatch):
    monkeypatch.setattr("holter.store.sqlite._PRUNED_AT_ONCE", 2)
    times = iter([1000, 5000, 5001])
    store, other = SqliteStore(path, clock=lambda: next(times)), SqliteStore(path, clock=lambda: 5000)
    store.write_chunks([chunk(t0=T + i * SECOND, n=2) for i in range(5)])
    pauses = []

    def write_meanwhile(seconds):
        pauses.append(seconds)
        assert other.write_chunks([chunk("b", T + len(pauses), n=2)]) == Written(1, 0)

    monkeypatch.setattr("holter.store.sqlite.time.sleep", write_meanwhile)
    assert store.prune(2000) == 5
    assert len(pauses) == 2
    assert min(pauses) > 0
    assert {c.device_id for c in store.read_chunks(range(64), 0).chunks} == {"b"}
    store.close()
    other.close()


def test_closing_ends_a_pruning(path, monkeypatch):
    monkeypatch.setattr("holter.store.sqlite._PRUNED_AT_ONCE", 1)
    store = SqliteStore(path, clock=lambda: 1000)
    store.write_chunks([chunk("a"), chunk("b"), chunk("c")])
    monkeypatch.setattr("holter.store.sqlite.time.sleep", lambda _: store.close())
    with pytest.raises(StoreRefusedError, match="is closed"):
        store.prune(2000)
    again = SqliteStore(path)
    assert len(again.read_chunks(range(64), 0).chunks) == 2
    again.close()


def test_a_commit_is_on_disk_and_the_file_is_private(path, store):
    with store._database.read("test") as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    store.write_chunks([chunk()])
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


@pytest.mark.parametrize("version", [VERSION - 1, VERSION + 1])
def test_another_schema_is_refused(path, store, version):
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    with pytest.raises(StoreRefusedError, match=f"schema {version}, this Holter reads {VERSION}"):
        SqliteStore(path)


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "x.db").write_bytes(b"no database " * 1000)
    with pytest.raises(StoreRefusedError, match=r"open on .*x\.db: file is not a database"):
        SqliteStore(tmp_path / "x.db")


def test_a_place_that_cannot_be_is_unavailable(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailableError, match="open on"):
        SqliteStore(tmp_path / "file" / "store.db")


def test_a_lock_held_too_long_is_unavailable_and_then_over(path, store, monkeypatch):
    monkeypatch.setattr("holter.store.database.BUSY_TIMEOUT", 0.05)
    hasty = SqliteStore(path)
    with store._database.write("hold"), pytest.raises(StoreUnavailableError, match=r"write_chunks on .*locked"):
        hasty.write_chunks([chunk()])
    assert hasty.write_chunks([chunk()]) == Written(1, 0)
    hasty.close()


def test_a_failed_batch_leaves_nothing(store):
    with pytest.raises(OverflowError):
        store.write_chunks([chunk(), chunk("b", 1 << 62, n=1, seq=1 << 70)])
    assert store.read_span("a", T, T + 1) == ()
    assert store.write_chunks([chunk()]) == Written(1, 0)


def test_a_closed_store_says_so(path):
    store = SqliteStore(path)
    store.close()
    with pytest.raises(StoreRefusedError, match="is closed"):
        store.health()


@pytest.mark.parametrize("url", ["", "sqlite:", "influxdb:", "postgres:x", "store.db"])
def test_an_unknown_url_is_refused(url):
    with pytest.raises(StoreRefusedError, match="expected sqlite:<file> or influxdb:<folder>"):
        open_store(url, layout="Chunks", writer="x")
