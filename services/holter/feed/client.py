"""The taking end: connections to every ingest process that can be found, as they come and go."""

import asyncio
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from holter.batch.chunks import Chunks
from holter.feed import wire
from holter.feed.wire import Beat, Peer, Type, WireError

BEAT_SECONDS = 1.0
RESOLVE_SECONDS = 2.0
DEAD_SECONDS = 5.0
"""Ingest tells of peers each second: one that has said nothing for this long is not there."""
MEND_SECONDS = 4.0
"""After a loss the store is read closely for this long: by then ingest has brought it what the feed did not."""
STALE_SECONDS = 3.0
"""A worker that has not got on for this long sends no beat: somebody else has to take over."""
ROOM = 20_000
"""Chunks that wait to be judged; beyond it nothing is read, and ingest's buffer fills."""
_CONNECT_SECONDS = 3.0
_LONGEST_WAIT = 2.0
_log = structlog.get_logger()

Address = tuple[str, int]
_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class PeersError(ValueError):
    """HOLTER_FEED_PEERS is not a list of host:port."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What is known of another worker.

    Attributes:
        held: shards that it judges.
        at: when it was heard of, in this process's monotonic seconds.
        leaving: since when it has been about to end, in the same; None when it is not.
    """

    held: frozenset[int]
    at: float
    leaving: float | None = None


def parse_peers(text: str) -> tuple[Address, ...]:
    """`host:port`, several joined by commas; a host may have many addresses.

    Raises:
        PeersError: names the part that is wrong.
    """
    peers = []
    for part in text.split(","):
        host, _, port = part.strip().rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 1 << 16:
            raise PeersError(f"HOLTER_FEED_PEERS: {part!r}: host:port is expected, several joined by commas")
        peers.append((host, int(port)))
    return tuple(peers)


class Feed:
    """All connections of one worker; lives on its event loop.

    Args:
        peers: names that ingest processes are found by, looked up again and again.
        keys: gives the feed keys that are valid now, the one to use first.
        clock: monotonic seconds.

    Attributes:
        claims: other workers and this one, by ordinal.
        lost_at: when chunks may last have gone by unseen (monotonic s).
        brought: of each connection that brings chunks: when (monotonic s), and up to which arrival at ingest (µs).
    """

    def __init__(
        self,
        peers: Sequence[Address],
        keys: Callable[[], Sequence[bytes]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._peers, self._keys, self._clock = peers, keys, clock
        self._links: dict[Address, asyncio.Task[None]] = {}
        self._up: dict[Address, asyncio.StreamWriter] = {}
        self._known: frozenset[Address] = frozenset()
        self._chunks: list[Chunks] = []
        self._waiting = 0
        self.brought: dict[Address, tuple[float, int]] = {}
        self._room = asyncio.Event()
        self._room.set()
        self.lost_at = self._widened_at = clock()
        self._beat: Beat | None = None
        self._said_at = float("-inf")
        self._listening: float | None = None
        self._heard = float("-inf")
        self.claims: dict[int, Claim] = {}

    @property
    def whole(self) -> bool:
        """Whether every chunk of the wanted shards has come this way for some time: the store need not be asked."""
        complete = bool(self._known) and self._known <= self._up.keys()
        return complete and self._clock() - max(self.lost_at, self._widened_at) > MEND_SECONDS

    @property
    def listening_since(self) -> float | None:
        """Since when ingest has been telling of workers without a break (monotonic s); None when it does not."""
        return self._listening if self._clock() - self._heard <= STALE_SECONDS else None

    def behind(self, now: int) -> int:
        """The wall clock (µs) up to which all has been brought here, or `now` when nothing is on its way.

        A connection that has brought nothing for some time has nothing to bring.
        """
        recent = [arrived for at, arrived in self.brought.values() if self._clock() - at < STALE_SECONDS]
        return min([now, *recent])

    def take(self) -> Chunks:
        """All that has come since the last call, in the order of arrival."""
        taken, self._chunks, self._waiting = Chunks.join(self._chunks), [], 0
        self._room.set()
        return taken

    def say(self, beat: Beat) -> None:
        """This worker gets on; to be called with each of its cycles."""
        self._said_at = self._clock()
        if beat != self._beat:
            if self._beat is None or beat.wanted - self._beat.wanted:
                self._widened_at = self._said_at  # what was accepted before this was not sent here
            self._beat = beat
            self._send_beat()

    async def run(self) -> None:
        """Find, connect, listen, beat; until cancelled."""
        resolving, beating = asyncio.create_task(self._resolve()), asyncio.create_task(self._pulse())
        try:
            await asyncio.gather(resolving, beating)
        finally:
            tasks = (resolving, beating, *self._links.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pulse(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            if self._clock() - self._said_at < STALE_SECONDS:
                self._send_beat()

    def _send_beat(self) -> None:
        if self._beat is not None:
            for writer in self._up.values():
                writer.write(wire.message(Type.BEAT, wire.encode_beat(self._beat)))

    async def _resolve(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            found: set[Address] = set()
            for host, port in self._peers:
                try:
                    infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                except OSError as error:
                    _log.info("feed_peers_not_found", host=host, reason=str(error))
                else:
                    found |= {(str(info[4][0]), port) for info in infos}
            self._known = frozenset(found)
            for address in found - self._links.keys():
                self.lost_at = self._clock()
                self._links[address] = asyncio.create_task(self._link(address))
            # One that is no longer named but still speaks is draining: it ends by itself.
            for address in self._links.keys() - found - self._up.keys():
                self._links.pop(address).cancel()
            await asyncio.sleep(RESOLVE_SECONDS)

    async def _link(self, address: Address) -> None:
        while True:
            streams = await self._connected(address)
            self._up[address] = streams[1]
            self.lost_at = self._clock()
            self._send_beat()
            _log.info("feed_connected", peer=f"{address[0]}:{address[1]}")
            try:
                await self._receive(streams[0], address)
            except (OSError, TimeoutError, asyncio.IncompleteReadError, WireError) as error:
                _log.info("feed_ended", peer=f"{address[0]}:{address[1]}", reason=str(error) or type(error).__name__)
            finally:
                del self._up[address]
                self.brought.pop(address, None)
                self.lost_at = self._clock()
                streams[1].close()

    async def _connected(self, address: Address) -> _Streams:
        """A connection that is let in, however long it takes."""

        def tell(state: RetryCallState) -> None:
            if state.attempt_number == 3:
                error = state.outcome and state.outcome.exception()
                _log.warning("feed_not_reached", peer=f"{address[0]}:{address[1]}", reason=str(error))

        retrying = AsyncRetrying(
            retry=retry_if_exception_type((OSError, TimeoutError, asyncio.IncompleteReadError, WireError)),
            wait=wait_random_exponential(multiplier=0.1, max=_LONGEST_WAIT),
            before_sleep=tell,
        )
        streams: _Streams = await retrying(self._connect, address)
        return streams

    async def _connect(self, address: Address) -> _Streams:
        async with asyncio.timeout(_CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(*address)
            try:
                await self._greet(reader, writer)
            except BaseException:
                writer.close()
                raise
        return reader, writer

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kind, payload = await wire.receive(reader)
        if kind is not Type.CHALLENGE:
            raise WireError(f"{kind.name} from ingest: a CHALLENGE is expected first")
        theirs, ours, key = wire.decode_challenge(payload), os.urandom(wire.NONCE_BYTES), self._keys()[0]
        writer.write(wire.message(Type.HELLO, ours + wire.proof(key, b"worker", theirs, ours)))
        kind, payload = await wire.receive(reader)
        if kind is not Type.WELCOME or wire.proven(payload, [key], b"ingest", ours, theirs) is None:
            raise WireError("ingest does not know the cohort's device key")

    async def _receive(self, reader: asyncio.StreamReader, address: Address) -> None:
        expected = 0
        while True:
            async with asyncio.timeout(DEAD_SECONDS):
                kind, payload = await wire.receive(reader)
            if kind is Type.PEERS:
                self._hear(wire.decode_peers(payload))
            elif kind is Type.CHUNKS:
                batch = wire.decode_batch(payload)
                if batch.number != expected:
                    _log.warning("feed_dropped", chunks=batch.number - expected, instead="the store is read")
                    self.lost_at = self._clock()
                expected = batch.number + len(batch.chunks)
                self._chunks.append(batch.chunks)
                self._waiting += len(batch.chunks)
                if len(batch.chunks):
                    self.brought[address] = (self._clock(), int(batch.chunks.head["arrived"][-1]))
                if self._waiting >= ROOM:
                    self._room.clear()
                    await self._room.wait()
            else:
                raise WireError(f"{kind.name} from ingest: CHUNKS or PEERS are expected")

    def _hear(self, peers: Sequence[Peer]) -> None:
        now = self._clock()
        if self._listening is None or now - self._heard > STALE_SECONDS:
            self._listening = now
        self._heard = now
        for peer in peers:
            known, at = self.claims.get(peer.ordinal), now - peer.age
            if known is None or at > known.at:
                since = at if known is None or known.leaving is None else known.leaving
                self.claims[peer.ordinal] = Claim(peer.held, at, None if peer.replicas else since)
