"""kill -9 of the worker in the middle of a load: no patient is lost, and each alert is told once.

Two kills of a fed worker in `make test`; ten, and ten of one that polls the store, with HOLTER_FULL=1.
"""

import asyncio
import os
import random
import time
from contextlib import suppress

import pytest
from tests.machine import Machine

from holter.chunk import MICROSECONDS
from holter.sim.sender import Schedule, Sender, play
from holter.sim.ward import ward
from holter.store.open import open_store

FULL = bool(os.environ.get("HOLTER_FULL"))
KILLS = 10 if FULL else 2
SOURCES = ("Feed", "Store") if FULL else ("Feed",)
RHYTHMS = ("resting", "resting", "vt", "vf", "asystole", "loose-lead", "pvcs")
ONSET = 12.0
BETWEEN = 5.0


@pytest.fixture(params=SOURCES)
def machine(tmp_path, receiver, request):
    with Machine(tmp_path, source=request.param, webhooks=[{"name": "ward", "url": receiver.url}]) as machine:
        yield machine


async def crash(machine, rng):
    """Kill the worker again and again, each time somewhere else in its work."""
    for _ in range(KILLS):
        await asyncio.sleep(rng.uniform(0.2, BETWEEN))
        await asyncio.to_thread(machine.kill, "infer-0")
        machine.start("infer-0")
        await asyncio.to_thread(machine.wait_ready, "infer-0")


def scored(machine):
    store = open_store(machine.store_url, layout="Chunks", writer="test")
    try:
        return set(store.list_devices(0))
    finally:
        store.close()


async def until(condition, seconds=90.0):
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.25)


@pytest.mark.timeout(900)
async def test_kill_9_of_the_worker_loses_no_patient_and_repeats_no_alert(machine, receiver):
    rng = random.Random(5)
    machine.start("ingest-0", "infer-0")
    await asyncio.to_thread(machine.wait_ready, "ingest-0", "infer-0")
    start = time.time()
    beds = ward(RHYTHMS, base=round(start * MICROSECONDS), onset=ONSET)
    devices = {bed.truth.device_id for bed in beds}
    async with Sender(machine.target.connect, lanes=2) as sender:
        streams = [bed.patient.chunks(bed.base) for bed in beds]
        playing = asyncio.create_task(
            play(streams, Schedule(start, round(start * MICROSECONDS)), sender, clock=time.time)
        )
        await asyncio.sleep(ONSET - BETWEEN / 2)
        await crash(machine, rng)
        await asyncio.sleep(12)
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
        await asyncio.wait_for(sender.drain(), 30)
    sick = {bed.truth.device_id: bed.truth for bed in beds if bed.truth.latest is not None}

    def told():
        return {(b["device_id"], b["kind"]) for _, b in receiver.once() if b["event"] == "raised"}

    def all_told():
        return all(any((device, kind) in told() for kind in truth.expected) for device, truth in sick.items())

    await until(lambda: all_told() and scored(machine) == devices)
    await asyncio.to_thread(machine.stop, "infer-0", "ingest-0")

    assert sender.counts.refused == 0
    assert scored(machine) == devices, "every patient is in the scores"
    for device, truth in sick.items():
        assert any((device, kind) in told() for kind in truth.expected), f"{device} was alerted on"

    receiver.assert_each_alert_once()
    stored = {event.id for event in machine.alerts()}
    assert {body["id"] for _, body in receiver.once()} <= stored, "what was told is in the store"
