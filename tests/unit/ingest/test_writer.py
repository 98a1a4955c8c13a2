"""From the log to the store: outages lose nothing, a refused chunk blocks nobody. The fake does what SQLite cannot."""

import pytest

from holter.ingest.measures import Measures
from holter.ingest.records import record
from holter.ingest.wal import Log
from holter.ingest.writer import Drain
from holter.store.protocol import StoreRefusedError, StoreUnavailableError, Written


class FakeStore:
    """Refuses chunks whose device is in `refuses`; is down while `down`."""

    def __init__(self):
        self.chunks, self.batches, self.refuses, self.down, self.closed = [], [], set(), False, 0

    def write_chunks(self, chunks):
        self.batches.append(len(chunks))
        if self.down:
            raise StoreUnavailableError("write_chunks: down")
        if any(c.device_id in self.refuses for c in chunks):
            raise StoreRefusedError("write_chunks: bad chunk")
        self.chunks += [c for c in chunks if (c.device_id, c.t0) not in {(k.device_id, k.t0) for k in self.chunks}]
        return Written(len(chunks), 0)

    def close(self):
        self.closed += 1


@pytest.fixture
def store():
    return FakeStore()


@pytest.fixture
def log(tmp_path):
    opened = Log(tmp_path / "log", 1 << 30)
    yield opened
    opened.close()


@pytest.fixture
def measures():
    return Measures("ward")


@pytest.fixture
def drain(log, store, measures):
    return Drain(log, lambda: store, measures)


def rejected(measures, reason):
    return measures.metrics.registry.get_sample_value(
        "holter_ingest_rejected_total", {"cohort": "ward", "reason": reason}
    )


def run(drain, batch=4):
    while drain.step(batch):
        pass


def test_the_log_goes_to_the_store_in_batches(log, store, drain, chunk):
    log.write(b"".join(record(chunk(t0=10**15 + i)) for i in range(10)))
    run(drain)
    assert store.batches == [4, 4, 2]
    assert [c.t0 for c in store.chunks] == [10**15 + i for i in range(10)]
    assert log.backlog == 0
    assert drain.step(4) is False


def test_an_outage_loses_nothing(log, store, drain, chunk):
    store.down = True
    log.write(record(chunk()))
    for _ in range(3):
        with pytest.raises(StoreUnavailableError):
            drain.step(4)
    assert log.backlog
    store.down = False
    run(drain)
    assert len(store.chunks) == 1


def test_a_store_that_cannot_be_opened_is_tried_again(log, store, measures, chunk):
    tries = iter([StoreRefusedError("no url"), StoreUnavailableError("no network"), store])

    def open_store():
        found = next(tries)
        if isinstance(found, Exception):
            raise found
        return found

    drain = Drain(log, open_store, measures)
    log.write(record(chunk()))
    for _ in range(2):
        with pytest.raises(StoreUnavailableError):
            drain.step(4)
    run(drain)
    assert len(store.chunks) == 1


def test_refused_chunks_are_left_and_counted_and_the_good_are_stored(log, store, drain, measures, chunk):
    store.refuses = {"bad"}
    row = [chunk(t0=10**15 + i, device_id="bad" if i in (3, 4, 11) else "good") for i in range(16)]
    log.write(b"".join(map(record, row)))
    run(drain, 16)
    assert sorted(c.t0 for c in store.chunks) == [c.t0 for c in row if c.device_id == "good"]
    assert rejected(measures, "store_refused") == 3
    assert log.backlog == 0


def test_when_all_is_refused_nothing_is_given_up(log, store, drain, measures, chunk):
    """Rights are missing, or the bucket is gone: acknowledged chunks wait until somebody has mended it."""
    store.refuses = {"wearable-1"}
    log.write(b"".join(record(chunk(t0=10**15 + i)) for i in range(8)))
    for _ in range(3):
        with pytest.raises(StoreUnavailableError, match="all of"):
            drain.step(4)
    assert rejected(measures, "store_refused") == 0
    store.refuses = set()
    run(drain)
    assert len(store.chunks) == 8


def test_a_batch_of_bad_chunks_alone_does_not_block_the_good_behind_it(log, store, drain, measures, chunk):
    store.refuses = {"bad"}
    row = [chunk(t0=10**15 + i, device_id="bad" if i < 4 else "good") for i in range(8)]
    log.write(b"".join(map(record, row)))
    with pytest.raises(StoreUnavailableError):
        drain.step(4)
    run(drain)
    assert [c.device_id for c in store.chunks] == ["good"] * 4
    assert rejected(measures, "store_refused") == 4


def test_damage_is_counted_and_costs_only_itself(log, store, drain, measures, tmp_path, chunk):
    row = [record(chunk(t0=10**15 + i)) for i in range(3)]
    broken = bytearray(row[1])
    broken[100] ^= 1
    log.write(row[0] + bytes(broken) + row[2])
    run(drain)
    assert [c.t0 for c in store.chunks] == [10**15, 10**15 + 2]
    assert rejected(measures, "damaged") == 1


def test_the_next_process_goes_on_where_this_one_stopped(log, store, drain, measures, tmp_path, chunk):
    log.write(b"".join(record(chunk(t0=10**15 + i)) for i in range(4)))
    drain.step(4)
    log.write(record(chunk(t0=10**15 + 4)))
    log.close()
    again = Log(tmp_path / "log", 1 << 30)
    run(Drain(again, lambda: store, measures))
    assert store.batches == [4, 1]
    again.close()
    log.__init__(tmp_path / "log", 1 << 30)  # for the fixture to close
