"""From the log to the store: outages lose nothing, a refused chunk blocks nobody. The fake does what SQLite cannot."""

import asyncio
import time
from types import SimpleNamespace

import pytest

from holter.config import IngestConfig
from holter.ingest import wal as module_wal
from holter.ingest import writer as module
from holter.ingest.measures import Measures
from holter.ingest.records import record
from holter.ingest.wal import Log
from holter.ingest.writer import Drain, Writer
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


class Stumbling(FakeStore):
    """Takes nothing until `down` is False; notes the order in which chunks come, and holds up each write."""

    def __init__(self):
        super().__init__()
        self.down = True
        self.order = []

    def write_chunks(self, chunks):
        written = super().write_chunks(chunks)
        self.order += [c.t0 for c in chunks]
        time.sleep(0.02)
        return written


@pytest.fixture
async def writing(log, measures, monkeypatch):
    store = Stumbling()
    config = IngestConfig(cohort="ward", namespace="test", batch_size=1, flush_interval=0.02)
    writer = Writer(Drain(log, lambda: store, measures), log, config, measures)
    writer.patience = 0.05
    running = asyncio.create_task(writer.run())
    yield store, writer
    store.down = False
    writer.close()
    await asyncio.wait_for(running, 20)
    writer.shutdown()


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a thread changes it
            await asyncio.sleep(0.005)


async def test_after_an_outage_what_comes_does_not_wait_for_what_is_behind(log, writing, chunk, monkeypatch):
    monkeypatch.setattr(module, "ASIDE_BYTES", 10_000)
    store, writer = writing
    log.write(b"".join(record(chunk(t0=10**15 + i)) for i in range(300)))
    await until(lambda: writer.fault is not None)
    store.down = False
    await until(lambda: store.order)
    log.write(record(chunk(t0=2 * 10**15)))
    writer.committed(1)
    await until(lambda: not log.backlog)
    place = store.order.index(2 * 10**15)
    assert place < 200, "it came long before the last of those that were behind"
    assert sorted(c.t0 for c in store.chunks) == [10**15 + i for i in range(300)] + [2 * 10**15]
    old = [t0 for t0 in store.order if t0 < 2 * 10**15]
    assert old == sorted(old), "those came in their order"
    assert writer.fault is None


async def test_what_was_set_aside_outlives_the_process(tmp_path, log, chunk):
    log.write(b"".join(record(chunk(t0=10**15 + i)) for i in range(10)))
    log.set_aside()
    log.write(record(chunk(t0=10**15 + 10)))
    log.mark_stored(log.read(log.pending.live, 10).end)
    of = log.pending.aside[0]
    log.mark_stored(log.read(of.start, 4, of.end).end, of)
    size = len(record(chunk()))
    assert log.backlog == 6 * size
    log.close()
    log.__init__(tmp_path / "log", 1 << 30)
    (of,) = log.pending.aside
    assert [c.t0 - 10**15 for c in log.read(of.start, 99, of.end).chunks] == [4, 5, 6, 7, 8, 9]
    assert log.live_backlog == 0


def test_segments_between_what_is_not_stored_are_removed(tmp_path, chunk):
    """Live chunks that are stored must not fill the log while an old stretch is still on its way."""
    now = [time.time()]
    log = Log(tmp_path / "aside", 1 << 30, lambda: now[0])
    log.write(record(chunk(t0=10**15)))
    log.set_aside()
    for i in range(4):
        now[0] += 61  # each segment is closed by its age
        log.write(record(chunk(t0=10**15 + 1 + i)))
        while (page := log.read(log.pending.live, 9)).end != log.pending.live:
            log.mark_stored(page.end)
    now[0] += module_wal.TAIL + 61
    log.mark_stored(log.pending.live)
    assert len(list((tmp_path / "aside").glob("*.log"))) <= 3
    (of,) = log.pending.aside
    assert [c.t0 for c in log.read(of.start, 9, of.end).chunks] == [10**15]
    log.close()


@pytest.mark.parametrize(("error", "least", "most"), [
    (StoreUnavailableError("busy", 7.0), 7.0, 8.0),
    (StoreUnavailableError("busy", 3600.0), 60.0, 61.0),
    (StoreUnavailableError("timed out"), 0.0, 15.0),
    (OSError("disk"), 0.0, 15.0),
])  # fmt: skip
def test_the_wait_is_what_the_store_asked_for_or_grows_at_random(log, measures, error, least, most):
    config = IngestConfig(cohort="ward", namespace="test")
    writer = Writer(Drain(log, lambda: None, measures), log, config, measures)
    for attempt in (1, 3, 10):
        state = SimpleNamespace(outcome=SimpleNamespace(exception=lambda: error), attempt_number=attempt)
        assert least <= writer._wait(state) <= most
    writer.shutdown()
