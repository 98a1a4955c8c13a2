"""Back-pressure: what is refused is refused in words and counted, and what was accepted arrives."""

import asyncio
import os
import shutil
import subprocess
import threading
import time
from contextlib import suppress

import orjson
import pytest

from holter.frame import Status, decode_acks
from holter.ingest import wal
from holter.store.protocol import Written
from holter.store.sqlite import SqliteStore

T0 = 1_750_000_000_000
S = 1_000_000


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB: a full one cannot be had by a quota or a limit that every system has."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("not root: no small file system can be mounted")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(path):
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a thread changes it
            await asyncio.sleep(0.005)


async def test_a_full_disk_refuses_and_goes_on_when_there_is_room(start, document, frame, small_disk, monkeypatch):
    monkeypatch.setattr(wal, "_RESERVE", 0)  # else it refuses long before
    async with start(state=small_disk) as ingest:
        assert (await ingest.send(document(t0=T0))).code == 202
        monkeypatch.setattr(ingest.service.log, "check_room", lambda size: None)  # a neighbour was quicker
        other = small_disk / "of-a-neighbour"
        fill(other)
        response = await ingest.send(document(2500, t0=T0 + 1000))
        assert response.code == 503
        assert int(response.headers["Retry-After"]) > 0
        assert "disk of the log is full" in orjson.loads(response.body)["error"]["reason"]
        stream = await ingest.stream()
        await stream.write_message(b"".join(frame(t0=T0 * 1000 + i * S) for i in range(1, 11)), binary=True)
        acks = decode_acks(await stream.read_message())
        assert {(a.status, a.wait > 0) for a in acks} == {(Status.RETRY, True)}
        assert ingest.service.broken is None
        other.unlink()
        # What could not be kept is new when it comes again, and nothing is there twice.
        assert orjson.loads((await ingest.send(document(2500, t0=T0 + 1000))).body) == {"accepted": 2500}
        assert [c.t0 // 1000 - T0 for c in await ingest.stored()] == [1000 * i for i in range(11)]
        assert ingest.count("holter_ingest_rejected_total", reason="unavailable") >= 2
    shutil.rmtree(small_disk / "log")


async def test_a_disk_that_the_log_has_filled_is_free_again_when_the_store_has_taken_it(
    start, document, small_disk, monkeypatch
):
    monkeypatch.setattr(wal, "_RESERVE", 200_000)
    gate = threading.Event()
    write = SqliteStore.write_chunks
    monkeypatch.setattr(SqliteStore, "write_chunks", lambda *args: gate.wait(60) and write(*args))
    async with start(state=small_disk) as ingest:
        accepted = 0
        while (response := await ingest.send(document(2500, t0=T0 + 10_000 * accepted))).code == 202:
            accepted += 1
        assert response.code == 503
        assert "disk of the log has" in orjson.loads(response.body)["error"]["reason"]
        assert 50 < accepted < 200
        gate.set()
        assert len(await ingest.stored()) == 10 * accepted
        async with asyncio.timeout(10):
            while (await ingest.send(document(2500, t0=T0 + 10_000 * accepted))).code != 202:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert len(await ingest.stored()) == 10 * (accepted + 1)
        assert ingest.service._unready() is None


async def test_a_slow_disk_delays_answers_and_loses_nothing(start, document, monkeypatch):
    sync = os.fdatasync

    def slow(fd):
        time.sleep(0.15)
        sync(fd)

    async with start() as ingest:
        monkeypatch.setattr(os, "fdatasync", slow)
        posts = [ingest.send(document(t0=T0 + 1000 * i, device_id=f"d{i % 7}")) for i in range(100)]
        assert {r.code for r in await asyncio.gather(*posts)} == {202}
        # One commit has many: not a tenth of a second for each of them.
        assert ingest.count("holter_ingest_requests_total", transport="http", code="202") == 100
        assert len(await ingest.stored()) == 100


async def test_a_slow_store_fills_the_log_and_what_was_accepted_arrives(start, document, monkeypatch):
    write = SqliteStore.write_chunks
    gate = threading.Event()

    def slow(self, chunks) -> Written:
        gate.wait(60)
        return write(self, chunks)

    monkeypatch.setattr(SqliteStore, "write_chunks", slow)
    async with start(logBytes=100_000) as ingest:
        accepted = refused = 0
        for i in range(250):
            response = await ingest.send(document(t0=T0 + 1000 * i))
            accepted += response.code == 202
            refused += response.code == 503
        assert accepted + refused == 250
        assert refused > 50
        assert ingest.count("holter_ingest_rejected_total", reason="unavailable") == refused
        assert ingest.count("holter_ingest_requests_total", transport="http", code="503") == refused
        assert 0 < ingest.service.log.backlog <= 100_000
        gate.set()
        assert len(await ingest.stored()) == accepted


async def test_connections_that_take_too_long_are_closed(start, document, monkeypatch):
    from holter.ingest import door

    monkeypatch.setattr(door, "SWEEP_SECONDS", 0.05)
    monkeypatch.setattr(door, "IDLE_SECONDS", 0.3)
    monkeypatch.setattr(door, "BODY_SECONDS", 0.3)
    async with start() as ingest:
        silent, halfway = [await asyncio.open_connection("127.0.0.1", ingest.service.http_port) for _ in range(2)]
        halfway[1].write(b"POST /ingest HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        stream = await ingest.stream()
        for reader, writer in (silent, halfway):
            assert await asyncio.wait_for(reader.read(), 10) == b""
            writer.close()
        await until(lambda: not ingest.service.intake.requests)
        assert ingest.service.intake.body_bytes == 0
        # A stream says nothing for as long as it likes: pings tell whether it lives.
        await stream.write_message(b"garbage", binary=True)
        assert await asyncio.wait_for(stream.read_message(), 10) is not None
