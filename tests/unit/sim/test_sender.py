import asyncio
import socket
from itertools import pairwise

import numpy as np
import pytest

from holter.chunk import LEAD_OFF, MICROSECONDS, Chunk
from holter.frame import Status, decode_one
from holter.ingest.body import parse_lines
from holter.sim.link import AccessError, Delivery, HttpLink, UdpLink, WebSocketLink, json_line
from holter.sim.sender import Schedule, Sender, play

T0 = 1_750_000_000_123_457


def chunks(device_id, n, fs=250):
    samples = (np.arange(fs) % 50 - 25).astype(np.int16)
    return [Chunk(device_id, T0 + i * MICROSECONDS, float(fs), samples, i) for i in range(n)]


@pytest.fixture
def waits():
    return []


@pytest.fixture
def sleep(waits):
    async def sleep(seconds):
        waits.append(seconds)
        await asyncio.sleep(0)

    return sleep


def connect(kind, url, key):
    if kind == "websocket":
        return lambda: WebSocketLink(url, key)
    return lambda: HttpLink(url, key, binary=kind == "binary")


async def send_all(sender, devices=3, n=20):
    async with sender:
        for group in zip(*(chunks(f"d{i}", n) for i in range(devices)), strict=True):
            for chunk in group:
                await sender.put(chunk)
        await sender.drain()


def everything(devices=3, n=20):
    return sorted((f"d{i}", seq) for i in range(devices) for seq in range(n))


@pytest.mark.parametrize("kind", ["http", "binary", "websocket"])
async def test_every_chunk_is_acknowledged_once_and_in_order(kind, ingest, device_key):
    sender = Sender(connect(kind, ingest.url, device_key), batch=8)
    await send_all(sender)
    assert sorted(ingest.taken) == everything()
    assert set(ingest.sent.values()) == {1}
    assert ingest.order("d1") == list(range(20))
    assert sender.counts.acknowledged == 60
    assert (sender.counts.refused, sender.counts.retries, sender.counts.waiting) == (0, 0, 0)


@pytest.mark.parametrize("kind", ["http", "binary"])
async def test_what_http_did_not_acknowledge_is_sent_again(kind, ingest, device_key, sleep, waits):
    ingest.faults.extend(["drop", (503, {"Retry-After": "42"}), None, (429, {"Retry-After": "43"}), "drop", (500, {})])
    sender = Sender(connect(kind, ingest.url, device_key), lanes=2, batch=8, sleep=sleep)
    await send_all(sender)
    assert sorted(ingest.taken) == everything()
    assert [ingest.order(f"d{i}") for i in range(3)] == [list(range(20))] * 3
    assert sender.counts.acknowledged == 60
    assert sender.counts.retries == len(waits) == 5
    assert {42.0, 43.0} <= set(waits)
    assert max(w for w in waits if w not in (42.0, 43.0)) <= 10


async def test_an_answer_that_was_lost_costs_a_repetition_but_no_chunk(ingest, device_key, sleep):
    ingest.faults.append("taken, then drop")
    sender = Sender(connect("binary", ingest.url, device_key), lanes=1, sleep=sleep)
    await send_all(sender, devices=1, n=3)
    assert set(ingest.taken) == {("d0", 0), ("d0", 1), ("d0", 2)}
    assert sender.counts.acknowledged == 3


async def test_a_server_that_is_not_there_yet(ingest, device_key, waits):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    links = []

    def make():
        links.append(HttpLink(nobody, device_key, binary=True))
        return links[0]

    async def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 3:
            links[0]._url = f"{ingest.url}/ingest"

    sender = Sender(make, lanes=1, sleep=sleep)
    await send_all(sender, devices=1, n=4)
    assert ingest.order("d0") == [0, 1, 2, 3]
    assert len(waits) == 3


async def test_one_bad_chunk_of_many_is_given_up_and_the_others_are_not(ingest, device_key):
    link = HttpLink(ingest.url, device_key, binary=False)
    ingest.faults.append({"index": 1, "field": "t0", "reason": "has to be recent"})
    delivery = await link.deliver(chunks("d0", 4))
    assert delivery == Delivery({0, 2, 3}, {1: "t0: has to be recent"})
    ingest.faults.append({"index": 0, "field": "device_id", "reason": "too many patients", "retry_after": 9})
    delivery = await link.deliver(chunks("d1", 3))
    assert delivery == Delivery({1, 2}, {}, 9.0)
    ingest.faults.append((400, {}))
    delivery = await link.deliver(chunks("d2", 2))
    assert not delivery.acknowledged
    assert delivery.refused.keys() == {0, 1}
    assert "400" in delivery.refused[0]
    await link.close()


class Scripted:
    """A link that answers what it was told."""

    def __init__(self, *deliveries):
        self.deliveries, self.attempts = list(deliveries), []

    async def deliver(self, batch):
        self.attempts.append([chunk.seq for chunk in batch])
        return self.deliveries.pop(0)

    async def close(self):
        pass


async def test_only_what_is_open_is_sent_again(sleep, waits):
    link = Scripted(Delivery({0}), Delivery({0, 2}, {1: "t0: no"}, 9.0), Delivery({0}))
    sender = Sender(lambda: link, lanes=1, buffer=9, batch=4, sleep=sleep)
    many = chunks("d0", 5)
    sender._queues[0].put_nowait(many[0])
    async with sender:
        await asyncio.sleep(0)
        for chunk in many[1:]:
            sender._queues[0].put_nowait(chunk)
        await sender.drain()
    assert link.attempts == [[0], [1, 2, 3, 4], [4]]
    assert (sender.counts.acknowledged, sender.counts.refused, sender.counts.retries) == (4, 1, 1)
    assert sender.counts.last_refusal == "d0: t0: no"
    assert waits == [9.0]


@pytest.mark.parametrize("code", [401, 403])
async def test_a_wrong_key_ends_the_sending(code, ingest, device_key, sleep):
    ingest.faults.append((code, {}))
    sender = Sender(connect("http", ingest.url, device_key), lanes=1, buffer=2, sleep=sleep)
    with pytest.raises(AccessError, match=str(code)):
        await send_all(sender, devices=1, n=50)


async def test_a_websocket_that_falls_is_opened_again(ingest, device_key, sleep, waits):
    ingest.faults.extend([None, "drop", None, Status.RETRY, None, "cut", Status.REFUSED])
    sender = Sender(connect("websocket", ingest.url, device_key), lanes=1, batch=4, sleep=sleep)
    await send_all(sender, devices=1, n=20)
    assert len(set(ingest.taken)) == 19
    assert sender.counts.acknowledged == 19
    assert sender.counts.refused == 1
    assert sender.counts.retries == 3
    assert 7.0 in waits


async def test_a_websocket_that_is_told_off_in_words_ends_the_sending(ingest, device_key, sleep):
    ingest.faults.append('{"error": {"field": "mac", "reason": "is not made with this device\'s key"}}')
    sender = Sender(connect("websocket", ingest.url, device_key), lanes=1, buffer=2, sleep=sleep)
    with pytest.raises(AccessError, match="is not made with"):
        await send_all(sender, devices=1, n=50)


async def test_udp_sends_one_frame_a_datagram(device_key):
    received = asyncio.Queue()

    class Receiver(asyncio.DatagramProtocol):
        def datagram_received(self, data, addr):
            received.put_nowait(data)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Receiver, local_addr=("127.0.0.1", 0))
    address = transport.get_extra_info("sockname")
    sender = Sender(lambda: UdpLink(address, device_key), lanes=1)
    await send_all(sender, devices=1, n=5)
    found = [decode_one(await asyncio.wait_for(received.get(), 5)).chunk for _ in range(5)]
    transport.close()
    assert [c.seq for c in found] == [0, 1, 2, 3, 4]
    assert sender.counts.acknowledged == 5


async def test_what_no_datagram_can_hold_is_refused_with_the_reason(device_key):
    link = UdpLink(("127.0.0.1", 9), device_key)
    delivery = await link.deliver(chunks("d0", 1, fs=1000))
    await link.close()
    assert not delivery.acknowledged
    assert "a datagram takes 1400" in delivery.refused[0]


def test_a_json_line_is_read_as_the_same_chunk(device_key):
    samples = np.array([-32767, -1, 0, 1, 1234, 32767], np.int16)
    chunk = Chunk("d0", T0, 360.0, samples, 77, LEAD_OFF)
    (post,) = parse_lines(json_line(chunk, device_key), 250.0)
    assert (post.chunk.t0, post.chunk.fs, post.chunk.seq, post.chunk.flags) == (T0, 360.0, 77, LEAD_OFF)
    assert np.array_equal(post.chunk.samples, samples)
    assert post.token is not None
    (bare,) = parse_lines(json_line(chunk, None), 250.0)
    assert bare.token is None


class Slow:
    """A link that waits to be let go."""

    def __init__(self):
        self.gate = asyncio.Event()
        self.batches = []

    async def deliver(self, batch):
        self.batches.append(len(batch))
        await self.gate.wait()
        return Delivery(set(range(len(batch))))

    async def close(self):
        pass


async def test_memory_is_bounded_by_waiting_not_by_dropping():
    link = Slow()
    sender = Sender(lambda: link, lanes=1, buffer=5, batch=3)
    async with sender:
        filling = asyncio.create_task(_put_all(sender, chunks("d0", 30)))
        for _ in range(200):
            await asyncio.sleep(0)
        assert not filling.done()
        # Five in the lane's queue, a batch under way.
        assert sender.counts.waiting == 5 + 3
        link.gate.set()
        await filling
        await sender.drain()
    assert sum(link.batches) == sender.counts.acknowledged == 30
    assert max(link.batches) == 3


async def _put_all(sender, many):
    for chunk in many:
        await sender.put(chunk)


class Clock:
    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        self.now += seconds


class Collector:
    def __init__(self, clock):
        self.clock, self.seen = clock, []

    async def put(self, chunk):
        self.seen.append((self.clock(), chunk))


@pytest.mark.parametrize("speed", [0.5, 1.0, 4.0])
async def test_history_leaves_at_once_and_the_present_when_it_has_come(speed):
    clock = Clock(1000.0)
    collector = Collector(clock)
    live = T0 + 5 * MICROSECONDS
    other = [Chunk(c.device_id, c.t0 + 300_000, c.fs, c.samples, c.seq) for c in chunks("b", 8)]
    await play(
        [iter(chunks("a", 8)), iter(other)], Schedule(1000.0, live, speed), collector, clock=clock, sleep=clock.sleep
    )
    assert len(collector.seen) == 16
    for first, second in pairwise(collector.seen):
        assert first[1].end <= second[1].end
    for at, chunk in collector.seen:
        assert at == pytest.approx(1000 + max(0, chunk.end - live) / MICROSECONDS / speed)
