"""What the store would not take goes to another process at the end of this one; nothing is lost if none is there."""

import base64

import pytest

from holter.ingest import service as module
from holter.ingest.handover import _blocks, hand_over
from holter.ingest.records import record
from holter.ingest.wal import Log

T0 = 1_750_000_000_000_000
S = 1_000_000


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch):
    monkeypatch.setattr(module, "STORE_SECONDS", 0.2)
    monkeypatch.setattr(module, "ILL_STORE_SECONDS", 0.2)
    monkeypatch.setattr(module, "HAND_OVER_SECONDS", 2.0)


@pytest.fixture
def nowhere(tmp_path):
    """A store that cannot be opened."""
    (tmp_path / "file").write_text("")
    return f"sqlite:{tmp_path / 'file' / 'no.db'}"


async def fill(ingest, frame, devices=3, seconds=40, first=0):
    for device in range(devices):
        body = [frame(T0 + i * S, device_id=f"d{device}", first=i) for i in range(first, first + seconds)]
        assert (await ingest.frames(*body)).code == 202


def held(chunks):
    return sorted((c.device_id, (c.t0 - T0) // S, int(c.samples[0])) for c in chunks)


def expected(devices=3, seconds=40):
    return sorted((f"d{device}", i, i) for device in range(devices) for i in range(seconds))


async def test_a_peer_takes_over_and_knows_what_it_took(start, frame, nowhere):
    async with start(name="stays") as stays:
        peer = f"127.0.0.1:{stays.service.hub.port}"
        async with start(nowhere, name="leaves", peers=f"127.0.0.1:1,{peer}") as leaves:
            await fill(leaves, frame)
            arrived = [c.arrived for c in leaves.service.log.read(leaves.service.log.pending.live, 1).chunks]
        assert leaves.service.log.backlog == 0
        chunks = await stays.stored()
        assert held(chunks) == expected()
        assert chunks[0].arrived == arrived[0]
        # Devices connect anew and send again what they are not sure of.
        await fill(stays, frame, seconds=41)
        assert stays.count("holter_ingest_repeated_samples_total") == 3 * 40 * 250
        assert held(await stays.stored()) == expected(seconds=41)
        # Workers had them from the process that accepted them.
        assert stays.count("holter_ingest_samples_total") == 3 * 250
    # The next life of the one that left has nothing to do.
    async with start(name="leaves") as again:
        assert again.service.log.backlog == 0


async def test_where_nobody_takes_it_the_log_keeps_it(start, frame, nowhere):
    async with start(nowhere, name="other", maxPatients=10) as closed:
        pass
    async with start(nowhere, name="leaves", peers=f"127.0.0.1:{closed.service.hub.port}") as leaves:
        await fill(leaves, frame, devices=1)
    assert leaves.service.log.backlog
    async with start(name="leaves") as again:
        assert held(await again.stored()) == expected(devices=1)


async def test_a_peer_of_another_cohort_is_given_nothing(start, frame, nowhere):
    async with start(name="stranger") as stranger:
        (stranger.folder / "keys" / "current").write_bytes(base64.urlsafe_b64encode(b"x" * 32))
        stranger.service._keys.refresh()
        async with start(nowhere, name="leaves", peers=f"127.0.0.1:{stranger.service.hub.port}") as leaves:
            await fill(leaves, frame, devices=1)
        assert leaves.service.log.backlog
        assert await stranger.stored() == ()


async def test_a_peer_that_has_no_room_takes_some_and_the_log_keeps_the_rest(start, frame, nowhere, monkeypatch):
    monkeypatch.setattr("holter.ingest.handover._BLOCK_BYTES", 10_000)
    async with start(nowhere, name="small", logBytes=150_000) as small:
        async with start(nowhere, name="leaves", peers=f"127.0.0.1:{small.service.hub.port}") as leaves:
            await fill(leaves, frame, devices=12)
            before = leaves.service.log.backlog
        assert 0 < small.service.log.backlog <= 150_000
        assert leaves.service.log.backlog == before  # a page is marked as a whole; storing twice is harmless
    async with start(name="leaves") as again:
        assert held(await again.stored()) == expected(devices=12)


async def test_a_block_that_is_not_sound_is_not_taken(ingest, chunk):
    block = bytearray(record(chunk()) * 2)
    block[100] ^= 1
    with pytest.raises(ValueError, match="no record"):
        await ingest.service.intake.take_over(bytes(block))
    assert await ingest.stored() == ()


async def test_what_was_set_aside_goes_too_and_damage_is_left_behind(start, tmp_path, chunk):
    log = Log(tmp_path / "leaving", 1 << 30)
    rows = [chunk(T0 + i * S, first=i, device_id="d0") for i in range(6)]
    log.write(b"".join(map(record, rows[:2])))
    log.set_aside()
    log.write(record(rows[2]) + b"damage" * 20 + record(rows[3]))
    log.set_aside()
    log.write(b"".join(map(record, rows[4:])))
    assert len(log.pending.aside) == 2
    assert [count for _, count in _blocks(log.read(log.pending.live, 10))] == [2]
    async with start(name="stays") as stays:
        await hand_over(log, [("127.0.0.1", stays.service.hub.port)], stays.service._feed_keys)
        assert log.backlog == 0
        assert held(await stays.stored()) == expected(devices=1, seconds=6)
    log.close()
