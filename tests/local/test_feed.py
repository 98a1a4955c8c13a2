"""The feed with real processes: alarms while the store takes nothing, and a worker that freezes."""

import asyncio
import signal
import sqlite3
import time
from collections import Counter
from contextlib import ExitStack, asynccontextmanager

import pytest
from tests.machine import Machine

from holter.chunk import MICROSECONDS, shard_of
from holter.signal.features import LOOKAHEAD
from holter.sim.sender import Schedule, Sender, play
from holter.sim.ward import ward
from holter.store.open import open_store

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
async def machines(tmp_path, receiver):
    stack = ExitStack()

    async def start(workers=1):
        hooks = [{"name": "ward", "url": receiver.url}]
        machine = stack.enter_context(Machine(tmp_path, workers, source="Feed", webhooks=hooks))
        names = ["infer-0", *(f"infer-{i}" for i in range(1, workers))]
        machine.start("ingest-0", *names)
        await asyncio.to_thread(machine.wait_ready, "ingest-0", *names)
        return machine

    with stack:
        yield start


async def until(condition, seconds=60.0):
    async with asyncio.timeout(seconds):
        while not (found := await asyncio.to_thread(condition)):  # noqa: ASYNC110 - other processes
            await asyncio.sleep(0.1)
    return found


@asynccontextmanager
async def load(machine, beds, speed):
    """Patients who send, `speed` times as fast as they live."""
    start = time.time()
    async with Sender(machine.target.connect, lanes=2) as sender:
        schedule = Schedule(start, min(bed.base for bed in beds), speed)
        playing = asyncio.create_task(play([b.patient.chunks(b.base) for b in beds], schedule, sender, clock=time.time))
        try:
            yield sender
        finally:
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)
        await asyncio.wait_for(sender.drain(), 30)
    assert sender.counts.refused == 0


def bodies(receiver, event="raised"):
    return [body for _, body in receiver.once() if body["event"] == event]


@asynccontextmanager
async def store_taken(machine):
    """Nobody can write to the store; gives one to look at it with."""
    store = open_store(machine.store_url, layout="Chunks", writer="test")
    lock = sqlite3.connect(machine.folder / "store.db", isolation_level=None, timeout=10)
    lock.execute("BEGIN IMMEDIATE")
    try:
        yield store
    finally:
        lock.execute("ROLLBACK")
        lock.close()
        store.close()


def windows(machine):
    store = open_store(machine.store_url, layout="Chunks", writer="test")
    try:
        scores = store.read_windows(0, 10_000, 0)
    finally:
        store.close()
    return list(zip(scores.device_ids, (scores.ends // MICROSECONDS).tolist(), strict=True))


def missing_windows(machine):
    """Of each device: windows that should have been scored, by its chunks in the store, and were not."""
    scored, missing = set(windows(machine)), {}
    for device, times in machine.stored().items():
        first, last = -(-min(times) // MICROSECONDS), (max(times) + MICROSECONDS) // MICROSECONDS
        wanted = {(device, end) for end in range(first + 11, last + 1 - LOOKAHEAD) if end % 5 == 0}
        if wanted - scored:
            missing[device] = sorted(end for _, end in wanted - scored)
    return missing


def metric(machine, name, series):
    found = [line for line in (machine.fetch(name, "/metrics") or "").splitlines() if line.startswith(series)]
    return float(found[0].rpartition(" ")[2]) if found else None


async def test_the_store_takes_nothing_and_alarms_go_out(machines, receiver):
    machine = await machines()
    speed, onset = 5.0, 16.0
    base = round((time.time() - 60) * MICROSECONDS)
    beds = ward(("resting", "vt"), base=base, onset=onset, seed=4)
    sick = beds[1].truth
    async with load(machine, beds, speed):
        await until(lambda: sum(map(len, machine.stored().values())) >= 8)
        async with store_taken(machine) as store:
            before = store.read_chunks(range(64), 0).cursor
            alert = await until(lambda: [b for b in bodies(receiver) if b["kind"] == "ventricular_tachycardia"])
            page = store.read_chunks(range(64), 0)
            assert page.cursor == before
            assert max(c.end for c in page.chunks if c.device_id == sick.device_id) < sick.onset, (
                "of it nothing is stored"
            )
            assert not store.read_alerts(0)
    assert alert[0]["device_id"] == sick.device_id
    await until(lambda: {a["id"] for a in bodies(receiver)} <= {a.id for a in machine.alerts()})
    await until(lambda: not missing_windows(machine))
    stored = machine.stored()
    for device, times in stored.items():
        assert len(times) == round((max(times) - min(times)) / MICROSECONDS) + 1, f"{device}: no chunk is missing"
    event = next(a for a in machine.alerts() if a.kind == "ventricular_tachycardia")
    assert event.decided_at - sick.onset < 10 * MICROSECONDS
    receiver.assert_each_alert_once()
    assert metric(machine, "ingest-0", "holter_feed_dropped_chunks_total{") == 0
    await asyncio.to_thread(machine.stop, "infer-0", "ingest-0")


async def test_a_frozen_worker_is_stood_in_for_and_goes_on_afterwards(machines, receiver):
    machine = await machines(workers=2)
    speed, onset = 4.0, 38.0
    base = round((time.time() - 60) * MICROSECONDS)
    beds = ward(("vt", "vt", "resting", "vf", "resting", "vt"), base=base, onset=onset, seed=4)
    devices = {bed.truth.device_id for bed in beds}
    of_first = {device for device in devices if shard_of(device) < 32}
    assert of_first, "some are the first worker's"
    assert devices - of_first, "and some the second's"
    sick = {bed.truth.device_id: bed.truth for bed in beds if bed.truth.latest is not None}
    assert of_first & sick.keys()

    def told():
        return {(b["device_id"], b["kind"]) for b in bodies(receiver)}

    def unowned():
        return metric(machine, "infer-1", "holter_shards_unowned{")

    async with load(machine, beds, speed):
        await until(lambda: metric(machine, "infer-0", "holter_inference_patients{") == len(of_first))
        await until(lambda: unowned() == 0)
        frozen = machine.processes["infer-0"]
        frozen.send_signal(signal.SIGSTOP)
        try:
            await until(lambda: (unowned() or 0) > 0)
            await until(lambda: unowned() == 0)
            assert '"shards_gained"' in machine.log("infer-1")
            await until(lambda: all(any((d, k) in told() for k in t.expected) for d, t in sick.items()))
        finally:
            frozen.send_signal(signal.SIGCONT)
        await until(lambda: '"released"' in machine.log("infer-1"))
        await until(lambda: metric(machine, "infer-1", "holter_inference_patients{") == len(devices - of_first))
        assert unowned() == 0
        await asyncio.sleep(0.5)
    await until(lambda: not missing_windows(machine))
    await asyncio.to_thread(machine.stop, "infer-0", "infer-1", "ingest-0")
    receiver.assert_each_alert_once()
    raised = Counter((b["device_id"], b["kind"]) for b in bodies(receiver))
    assert max(raised.values()) == 1, f"nothing is raised twice: {raised}"
