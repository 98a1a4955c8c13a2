"""The giving end: sends what ingest has accepted to the workers that want it, and tells them of each other.

A worker that does not keep up costs nobody else anything: its buffer is bounded and forgets its oldest chunks, which
the worker then reads from the store.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import structlog

from holter.feed import wire
from holter.feed.wire import Beat, Peer, Type, WireError

BEAT_SECONDS = 1.0
SILENT_SECONDS = 15.0
"""A worker that has not been heard of for this long has gone: its connection is closed, its claim forgotten."""
BUFFER_BYTES = 16 << 20
"""Of each worker: 16 s of 1,700 patients."""
MESSAGE_BYTES = 256 << 10
MAX_WORKERS = 256
_HANDSHAKE_SECONDS = 5.0
_FLUSH_SECONDS = 1.0
_log = structlog.get_logger()


class Subscriber:
    """One worker's buffer. Pure.

    Attributes:
        mask: shards wanted.
        dropped: records forgotten so far.
    """

    def __init__(self, limit: int = BUFFER_BYTES) -> None:
        """Args: the most bytes to keep."""
        self.mask = 0
        self.dropped = 0
        self._limit = limit
        self._records: deque[bytes] = deque()
        self._bytes = 0
        self._number = 0  # of the first record

    def __len__(self) -> int:
        return len(self._records)

    def add(self, record: bytes) -> int:
        """Keep a record; how many of the oldest had to go for it."""
        self._records.append(record)
        self._bytes += len(record)
        gone = 0
        while self._bytes > self._limit:
            self._bytes -= len(self._records.popleft())
            gone += 1
        self._number += gone
        self.dropped += gone
        return gone

    def take(self, limit: int = MESSAGE_BYTES) -> bytes | None:
        """Payload of the next CHUNKS, of about `limit` bytes; None when there is nothing."""
        number, taken, size = self._number, [], 0
        while self._records and size < limit:
            record = self._records.popleft()
            taken.append(record)
            size += len(record)
        self._bytes -= size
        self._number += len(taken)
        return wire.encode_batch(number, taken) if taken else None


class Hub:
    """The port `feed` of one ingest process; lives on its event loop.

    Args:
        keys: gives the feed keys that are valid now, see `holter.keys.feed_keys`.
        dropped: called with the number of chunks that a buffer forgot.
        clock: monotonic seconds.
        limit: bytes of each worker's buffer.
        take_over: takes what another ingest process could not store before its end: records of its log; how many
            they were, once they are on this one's disk. It raises what tells why not.
    """

    def __init__(
        self,
        keys: Callable[[], Sequence[bytes]],
        dropped: Callable[[int], None],
        clock: Callable[[], float] = time.monotonic,
        limit: int = BUFFER_BYTES,
        take_over: Callable[[bytes], Awaitable[int]] | None = None,
    ) -> None:
        self._take_over = take_over
        self._keys, self._dropped, self._clock, self._limit = keys, dropped, clock, limit
        self._subscribers: dict[Subscriber, asyncio.Event] = {}
        self._beats: dict[int, tuple[Beat, float]] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def listen(self, address: str, port: int) -> None:
        """Begin to serve.

        Raises:
            OSError: the port cannot be had.
        """
        self._server = await asyncio.start_server(self._connected, address, port)
        self.port = self._server.sockets[0].getsockname()[1]

    def publish(self, records: Sequence[bytes]) -> None:
        """These records of the log are on disk: queue them for whoever wants their shards."""
        if not self._subscribers:
            return
        bits = [wire.bit_of(record) for record in records]
        for subscriber, wake in self._subscribers.items():
            mask, gone, before = subscriber.mask, 0, len(subscriber)
            for bit, record in zip(bits, records, strict=True):
                if mask & bit:
                    gone += subscriber.add(record)
            if gone:
                self._dropped(gone)
            if len(subscriber) != before or gone:
                wake.set()

    def peers(self) -> tuple[Peer, ...]:
        """The workers that were heard of lately, by ordinal."""
        now = self._clock()
        self._beats = {o: (beat, at) for o, (beat, at) in self._beats.items() if now - at < SILENT_SECONDS}
        return tuple(
            Peer(ordinal, beat.replicas, beat.held, now - at) for ordinal, (beat, at) in sorted(self._beats.items())
        )

    async def close(self) -> None:
        """Send what is buffered, within a second, and end."""
        if self._server is not None:
            self._server.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_SECONDS):
                while any(len(subscriber) for subscriber in self._subscribers):  # noqa: ASYNC110 - at most a second
                    await asyncio.sleep(0.02)
        for task in tuple(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        where = writer.get_extra_info("peername")
        try:
            if len(self._connections) > MAX_WORKERS:
                raise WireError(f"{MAX_WORKERS} workers are connected already")
            async with asyncio.timeout(_HANDSHAKE_SECONDS):
                leaving = await self._welcome(reader, writer)
            if leaving:
                await self._inherit(reader, writer)
            else:
                await self._feed(reader, writer)
        except WireError as error:
            _log.warning("feed_refused", peer=str(where), reason=str(error))
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # it will connect again
        finally:
            writer.close()

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Each end shows the other that it knows the key, which is never sent. Says whether it is a leaving ingest."""
        ours = os.urandom(wire.NONCE_BYTES)
        writer.write(wire.message(Type.CHALLENGE, wire.encode_challenge(ours)))
        kind, payload = await _receive_small(reader)
        if kind is not Type.HELLO or len(payload) != wire.NONCE_BYTES + wire.MAC_BYTES:
            raise WireError("a HELLO is expected first")
        theirs, given = payload[: wire.NONCE_BYTES], payload[wire.NONCE_BYTES :]
        keys = self._keys()
        worker = wire.proven(given, keys, b"worker", ours, theirs)
        proven = worker or wire.proven(given, keys, b"leaving", ours, theirs)
        if proven is None:
            raise WireError("it does not know the cohort's device key")
        # With the key that it has shown to know: ours may be newer than its.
        writer.write(wire.message(Type.WELCOME, wire.proof(proven, b"ingest", theirs, ours)))
        await writer.drain()
        return worker is None

    async def _inherit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take another process's log, block by block; each is acknowledged when it is on this one's disk."""
        if self._take_over is None:
            raise WireError("nothing is taken over here")
        while True:
            async with asyncio.timeout(SILENT_SECONDS):
                kind, payload = await wire.receive(reader)
            if kind is not Type.CHUNKS:
                raise WireError(f"{kind.name} from a leaving ingest: CHUNKS are expected")
            try:
                count = await self._take_over(wire.records_of(payload))
            except Exception as error:
                raise WireError(f"not taken over: {error}") from error
            writer.write(wire.message(Type.TAKEN, wire.encode_taken(count)))
            await writer.drain()

    async def _feed(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        subscriber, wake = Subscriber(self._limit), asyncio.Event()
        self._subscribers[subscriber] = wake
        sending = asyncio.create_task(self._send(subscriber, wake, writer))
        listening = asyncio.create_task(self._listen(subscriber, reader))
        try:
            done, _ = await asyncio.wait({sending, listening}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            del self._subscribers[subscriber]
            sending.cancel()
            listening.cancel()
            await asyncio.gather(sending, listening, return_exceptions=True)

    async def _listen(self, subscriber: Subscriber, reader: asyncio.StreamReader) -> None:
        while True:
            async with asyncio.timeout(SILENT_SECONDS):
                kind, payload = await _receive_small(reader)
            if kind is not Type.BEAT:
                raise WireError(f"{kind.name} from a worker: a BEAT is expected")
            beat = wire.decode_beat(payload)
            subscriber.mask = wire.mask_of(beat.wanted)
            self._beats[beat.ordinal] = (beat, self._clock())

    async def _send(self, subscriber: Subscriber, wake: asyncio.Event, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        next_peers = 0.0
        while True:
            if loop.time() >= next_peers:
                writer.write(wire.message(Type.PEERS, wire.encode_peers(self.peers())))
                next_peers = loop.time() + BEAT_SECONDS
            wake.clear()
            payload = subscriber.take()
            if payload is not None:
                writer.write(wire.message(Type.CHUNKS, payload))
            await writer.drain()
            if not len(subscriber):
                timer = loop.call_at(next_peers, wake.set)
                await wake.wait()
                timer.cancel()


async def _receive_small(reader: asyncio.StreamReader) -> tuple[Type, bytes]:
    """What workers send is small: nobody makes this process hold a megabyte for it."""
    kind, length = wire.head(await reader.readexactly(wire.HEAD_BYTES))
    if length > 1024:
        raise WireError(f"{kind.name} of {length} bytes: at most 1024 are expected from a worker")
    return kind, await reader.readexactly(length)
