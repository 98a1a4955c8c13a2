"""Both ends over real sockets, and the bounded buffer."""

import asyncio

import numpy as np
import pytest

from holter.chunk import MICROSECONDS, Chunk
from holter.feed import client, wire
from holter.feed.client import Feed, PeersError, parse_peers
from holter.feed.hub import Hub, Subscriber
from holter.feed.wire import Beat
from holter.ingest.records import record

KEY, OTHER = (b"k" * 32,), (b"x" * 32,)
ALL = frozenset(range(64))


def chunk(device, second, n=250):
    return Chunk(device, second * MICROSECONDS, 250.0, np.full(n, second, np.int16), second, 0, second + 1)


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - any condition
            await asyncio.sleep(0.005)


class Ends:
    """A hub and its workers' ends."""

    def __init__(self):
        self.dropped, self.hubs, self.tasks = 0, [], []

    async def hub(self, keys=KEY, port=0, **options):
        hub = Hub(lambda: keys, self.drop, **options)
        await hub.listen("127.0.0.1", port)
        self.hubs.append(hub)
        return hub

    def drop(self, count):
        self.dropped += count

    def feed(self, *hubs, keys=KEY, **options):
        feed = Feed([("127.0.0.1", hub.port) for hub in hubs], lambda: keys, **options)
        self.tasks.append(asyncio.create_task(feed.run()))
        return feed

    async def close(self):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for hub in self.hubs:
            await hub.close()


@pytest.fixture
async def ends(monkeypatch):
    monkeypatch.setattr(client, "RESOLVE_SECONDS", 0.05)
    monkeypatch.setattr(client, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr("holter.feed.hub.BEAT_SECONDS", 0.05)
    ends = Ends()
    yield ends
    await ends.close()


def subscribed(hub, count=1):
    return lambda: sum(1 for s in hub._subscribers if s.mask) == count


def beat(ordinal=0, wanted=ALL, held=ALL):
    return Beat(ordinal, 2, frozenset(wanted), frozenset(held))


async def test_a_worker_gets_the_chunks_of_its_shards_once_they_are_published(ends):
    hub = await ends.hub()
    feed = ends.feed(hub)
    mine, others = chunk("a", 1), chunk("b", 1)
    assert mine.shard != others.shard
    feed.say(beat(wanted={mine.shard}))
    await until(subscribed(hub))
    hub.publish([record(mine), record(others), record(chunk("a", 2))])
    got = []
    await until(lambda: len(got_of(feed, got)) == 2)
    assert [(c.device_id, c.seq, c.arrived) for c in got] == [("a", 1, 2), ("a", 2, 3)]


def got_of(feed, got):
    got += feed.take().each()
    return got


async def test_workers_hear_of_each_other_through_every_hub(ends):
    one, two = await ends.hub(), await ends.hub()
    first, second = ends.feed(one), ends.feed(one, two)
    first.say(beat(0, held=range(32)))
    second.say(beat(1, held=range(32, 64)))
    await until(lambda: {0, 1} <= second.claims.keys() and {0, 1} <= first.claims.keys())
    assert first.claims[1].held == frozenset(range(32, 64))
    assert second.claims[0].held == frozenset(range(32))
    assert first.listening_since is not None
    assert [peer.ordinal for peer in two.peers()] == [1]


async def test_who_does_not_get_on_sends_no_beat(ends, monkeypatch):
    monkeypatch.setattr(client, "STALE_SECONDS", 0.1)
    hub = await ends.hub()
    stuck = ends.feed(hub)
    stuck.say(beat(0))
    await until(lambda: hub.peers() and hub.peers()[0].age > 0.5)


@pytest.mark.parametrize(("ingest", "worker"), [(KEY, OTHER), (OTHER, KEY)])
async def test_without_the_key_nothing_is_given(ends, ingest, worker):
    hub = await ends.hub(keys=ingest)
    feed = ends.feed(hub, keys=worker)
    feed.say(beat())
    await asyncio.sleep(0.4)
    hub.publish([record(chunk("a", 1))])
    assert not hub._subscribers
    assert not len(feed.take())
    assert not feed.whole


async def test_a_worker_that_still_has_the_previous_key_is_let_in(ends):
    hub = await ends.hub(keys=OTHER + KEY)
    feed = ends.feed(hub, keys=KEY)
    feed.say(beat())
    await until(subscribed(hub))


async def test_garbage_on_the_port_costs_that_connection_alone(ends):
    hub = await ends.hub()
    feed = ends.feed(hub)
    feed.say(beat())
    await until(subscribed(hub))
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", bytes(100), wire.message(wire.Type.HELLO, bytes(64)), b""):
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
        writer.write(garbage)
        writer.write_eof()
        await reader.read()
        writer.close()
    hub.publish([record(chunk("a", 1))])
    await until(lambda: feed.take())


async def test_a_restarted_ingest_is_found_again_and_the_feed_is_not_whole_meanwhile(ends, monkeypatch):
    monkeypatch.setattr(client, "MEND_SECONDS", 0.2)
    hub = await ends.hub()
    feed = ends.feed(hub)
    feed.say(beat())
    await until(lambda: feed.whole)
    lost_at = feed.lost_at
    await hub.close()
    await until(lambda: not feed.whole)
    again = await ends.hub(port=hub.port)
    await until(subscribed(again))
    assert feed.lost_at > lost_at
    await until(lambda: feed.whole)
    again.publish([record(chunk("a", 9))])
    await until(lambda: feed.take())


async def test_a_slow_worker_loses_the_oldest_and_knows(ends, monkeypatch):
    monkeypatch.setattr(client, "ROOM", 50)
    monkeypatch.setattr(client, "MEND_SECONDS", 0.0)
    size = len(record(chunk("a", 1)))
    hub = await ends.hub(limit=200 * size)
    feed = ends.feed(hub)
    feed.say(beat())
    await until(subscribed(hub))
    lost_at, sent = feed.lost_at, 30_000  # far more than the kernel holds
    for first in range(0, sent, 100):
        hub.publish([record(chunk("a", second)) for second in range(first, first + 100)])
        await asyncio.sleep(0)
    assert ends.dropped > 0
    got = []
    await until(lambda: got_of(feed, got) and got[-1].seq == sent - 1)
    assert len(got) == sent - ends.dropped, "what was not dropped came, in order, and once"
    assert [c.seq for c in got] == sorted({c.seq for c in got})
    assert feed.lost_at > lost_at


def test_the_buffer_is_bounded_in_bytes_and_numbers_what_is_missing():
    subscriber = Subscriber(limit=1000)
    records = [record(chunk("a", second, n=10)) for second in range(30)]
    gone = sum(subscriber.add(r) for r in records)
    assert gone == subscriber.dropped == 30 - len(subscriber)
    assert sum(map(len, records[gone:])) <= 1000
    first = wire.decode_batch(subscriber.take(limit=1))
    rest = wire.decode_batch(subscriber.take())
    assert first.number == gone
    assert [c.seq for c in first.chunks.each()] == [gone]
    assert rest.number == gone + 1
    assert [c.seq for c in rest.chunks.each()] == list(range(gone + 1, 30))
    assert subscriber.take() is None


def test_peers_are_hosts_and_ports():
    assert parse_peers("ward-ingest-headless:9091, 127.0.0.1:1") == (("ward-ingest-headless", 9091), ("127.0.0.1", 1))
    for wrong in ("", "host", "host:0", "host:x", ":1", "a:1,,b:2"):
        with pytest.raises(PeersError, match="host:port"):
            parse_peers(wrong)
