"""kill -9 of the worker in the middle of a load: no patient is lost, and each alert is told once.

Two kills of a fed worker in `make test`; ten, and ten of one that polls the store, with HOLTER_FULL=1.
"""

import asyncio
import importlib.util
import os
import random
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import orjson
import pytest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

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


def load_machine():
    # The repository's root is on no path: the two halves' folders would shadow what is installed.
    path = Path(__file__).parents[1] / "machine.py"
    spec = importlib.util.spec_from_file_location("holter_test_machine", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Machine


class _Handler(RequestHandler):
    def initialize(self, requests):
        self.requests = requests

    def post(self):
        self.requests.append((self.request.headers["Holter-Event-Id"], self.request.body))


@pytest.fixture
async def receiver():
    requests = []
    server = HTTPServer(Application([("/", _Handler, {"requests": requests})], log_function=lambda _: None))
    (socket,) = bind_sockets(0, "127.0.0.1")
    server.add_socket(socket)
    yield f"http://127.0.0.1:{socket.getsockname()[1]}/", requests
    server.stop()
    await server.close_all_connections()


@pytest.fixture(params=SOURCES)
def machine(tmp_path, receiver, request):
    machine = load_machine()(tmp_path, source=request.param, webhooks=[{"name": "ward", "url": receiver[0]}])
    yield machine
    machine.close()


async def crash(machine, rng):
    """Kill the worker again and again, each time somewhere else in its work."""
    for _ in range(KILLS):
        await asyncio.sleep(rng.uniform(0.2, BETWEEN))
        await asyncio.to_thread(machine.kill, "infer")
        machine.start("infer")
        await asyncio.to_thread(machine.wait_ready, "infer")


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
    machine.start("ingest", "infer")
    await asyncio.to_thread(machine.wait_ready, "ingest", "infer")
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
    _, requests = receiver
    sick = {bed.truth.device_id: bed.truth for bed in beds if bed.truth.latest is not None}

    def told():
        bodies = [orjson.loads(body) for _, body in requests]
        return {(b["device_id"], b["kind"]) for b in bodies if b["event"] == "raised"}

    def all_told():
        return all(any((device, kind) in told() for kind in truth.expected) for device, truth in sick.items())

    await until(lambda: all_told() and scored(machine) == devices)
    await asyncio.to_thread(machine.stop, "infer", "ingest")

    assert sender.counts.refused == 0
    assert scored(machine) == devices, "every patient is in the scores"
    for device, truth in sick.items():
        assert any((device, kind) in told() for kind in truth.expected), f"{device} was alerted on"

    contents = Counter(event for event, _ in set(requests))
    assert {event for event, times in contents.items() if times > 1} == set(), "the same id has the same content"
    once = [orjson.loads(body) for body in dict(requests).values()]
    raised = Counter(body["alert"] for body in once if body["event"] == "raised")
    assert max(raised.values()) == 1, "dropping repeated ids, each alert was raised once"
    # The same condition, found again after a restart, would be raised under another onset and so another id.
    onsets = {}
    for body in once:
        if body["event"] == "raised":
            onsets.setdefault((body["device_id"], body["kind"]), []).append(body["onset"])
    cleared = Counter((body["device_id"], body["kind"]) for body in once if body["event"] == "cleared")
    again = {key: times for key, times in onsets.items() if len(times) > 1 + cleared[key]}
    assert again == {}, "nothing is raised anew while it is open"
    stored = {event.id for event in machine.alerts()}
    assert {body["id"] for body in once} <= stored, "what was told is in the store"
