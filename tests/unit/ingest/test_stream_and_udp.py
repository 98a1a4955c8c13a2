"""WebSocket and UDP over real sockets into a real SQLite store."""

import asyncio
import socket
import sys

import orjson
import pytest

from holter.frame import Status, decode_acks

T0 = 1_750_000_000_000_000


async def acks_of(stream, count):
    found = []
    while len(found) < count:
        message = await asyncio.wait_for(stream.read_message(), 10)
        assert isinstance(message, bytes), message
        found += decode_acks(message)
    return found


async def test_a_frame_is_acknowledged_when_it_is_on_disk(ingest, frame):
    stream = await ingest.stream()
    await stream.write_message(frame(seq=7), binary=True)
    (ack,) = await acks_of(stream, 1)
    assert (ack.device_id, ack.seq, ack.t0, ack.status) == ("wearable-1", 7, T0, Status.ACCEPTED)
    assert ingest.service.commits.pending() is None
    await stream.write_message(frame(seq=8), binary=True)  # the same chunk again
    (again,) = await acks_of(stream, 1)
    assert (again.seq, again.status) == (8, Status.ACCEPTED)
    assert len(await ingest.stored()) == 1


async def test_a_message_of_many_and_many_messages_are_all_acknowledged(ingest, frame):
    stream = await ingest.stream()
    await stream.write_message(b"".join(frame(T0 + i * 1_000_000, seq=i) for i in range(50)), binary=True)
    for i in range(50, 100):
        await stream.write_message(frame(T0 + i * 1_000_000, seq=i), binary=True)
    acks = await acks_of(stream, 100)
    assert sorted(a.seq for a in acks) == list(range(100))
    assert {a.status for a in acks} == {Status.ACCEPTED}
    assert len(await ingest.stored()) == 100


async def test_a_device_without_a_clock_is_told_where_its_chunk_was_placed(ingest, frame):
    stream = await ingest.stream()
    await stream.write_message(frame(timed=False) + frame(timed=False, seq=1), binary=True)
    first, second = await acks_of(stream, 2)
    assert second.t0 == first.t0 + 1_000_000
    assert [c.t0 for c in await ingest.stored()] == [first.t0, second.t0]


async def test_a_conflict_and_a_wrong_clock_are_refused_for_good(ingest, frame):
    stream = await ingest.stream()
    await stream.write_message(frame() + frame(first=1, seq=1) + frame(t0=5, seq=2), binary=True)
    acks = {a.seq: a for a in await acks_of(stream, 3)}
    assert [acks[i].status for i in range(3)] == [Status.ACCEPTED, Status.REFUSED, Status.REFUSED]


async def test_too_many_patients_are_asked_to_come_back(start, frame):
    async with start(maxPatients=1) as ingest:
        stream = await ingest.stream()
        await stream.write_message(frame(device_id="a") + frame(device_id="b"), binary=True)
        acks = {a.device_id: a for a in await acks_of(stream, 2)}
        assert acks["a"].status is Status.ACCEPTED
        assert (acks["b"].status, acks["b"].wait > 0) == (Status.RETRY, True)


async def test_what_has_no_genuine_sender_is_told_in_text(ingest, frame):
    stream = await ingest.stream()
    for message, field in ((frame(key=b"x" * 32), "mac"), (b"garbage", "frame"), (b"g" * 100, "magic")):
        await stream.write_message(message, binary=True)
        assert orjson.loads(await stream.read_message())["error"]["field"] == field
    await stream.write_message("hello")
    assert orjson.loads(await stream.read_message())["error"]["field"] == "message"
    assert ingest.count("holter_ingest_rejected_total", reason="forbidden") == 1
    assert ingest.count("holter_ingest_requests_total", transport="websocket", code="400") == 3


async def test_a_device_that_sends_nothing_but_garbage_is_disconnected(ingest):
    stream = await ingest.stream()
    for _ in range(200):
        try:
            await stream.write_message(b"garbage", binary=True)
        except Exception:
            break
    while await asyncio.wait_for(stream.read_message(), 10) is not None:
        pass
    assert stream.close_code == 1008


async def test_a_message_that_is_too_large_ends_the_connection(ingest):
    stream = await ingest.stream()
    await stream.write_message(b"x" * (300 << 10), binary=True)
    assert await asyncio.wait_for(stream.read_message(), 10) is None


async def test_streams_are_said_goodbye(start, frame):
    async with start() as ingest:
        stream = await ingest.stream()
        await stream.write_message(frame(), binary=True)
        await acks_of(stream, 1)
    assert await stream.read_message() is None
    assert stream.close_code == 1001


@pytest.fixture
def udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setblocking(False)
        yield s


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a counter
            await asyncio.sleep(0.005)


async def test_datagrams_are_authenticated_counted_and_never_answered(ingest, frame, udp):
    where = ("127.0.0.1", ingest.service.udp_port)
    for i in range(200):
        udp.sendto(frame(T0 + i * 1_000_000), where)
    too_long = frame(n=669, fs=1000.0)
    assert len(too_long) > 1400
    for bad in (frame(key=b"x" * 32), b"garbage", b"", too_long, frame() + b"x"):
        udp.sendto(bad, where)
    await until(lambda: ingest.count("holter_ingest_rejected_total", reason="too_large") == 1)
    await until(lambda: ingest.count("holter_ingest_requests_total", transport="udp", code="400") == 3)
    assert ingest.count("holter_ingest_requests_total", transport="udp", code="202") == 200
    assert ingest.count("holter_ingest_rejected_total", reason="forbidden") == 1
    assert len(await ingest.stored()) == 200
    with pytest.raises(BlockingIOError):
        udp.recv(1)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how many datagrams a socket had no room for")
async def test_what_the_kernel_has_no_room_for_is_counted(ingest, udp):
    where, sent = ("127.0.0.1", ingest.service.udp_port), 60_000
    for _ in range(sent):  # the loop does not read meanwhile
        udp.sendto(bytes(500), where)

    def received():
        return ingest.count("holter_ingest_requests_total", transport="udp", code="400")

    await until(lambda: received() + ingest.count("holter_ingest_datagrams_dropped_total") == sent)
    assert 0 < received() < sent


async def test_what_has_arrived_is_taken_before_the_port_closes(start, frame, udp):
    async with start() as ingest:
        where = ("127.0.0.1", ingest.service.udp_port)
        for i in range(100):
            udp.sendto(frame(T0 + i * 1_000_000), where)
        ingest.stop.set()
        await ingest.task
        assert ingest.count("holter_ingest_requests_total", transport="udp", code="202") == 100
        assert ingest.count("holter_ingest_wal_bytes") == 0


async def test_udp_can_be_off(start):
    async with start(udp=False) as ingest:
        assert ingest.service.udp_port is None
