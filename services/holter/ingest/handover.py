"""At its end, a process gives what the store would not take to another one of the cohort."""

import asyncio
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import structlog

from holter.feed import wire
from holter.feed.client import Address
from holter.feed.wire import Type, WireError
from holter.frame import HEADER_BYTES
from holter.ingest.records import TRAILER_BYTES
from holter.ingest.wal import Log, Page

_BLOCK_BYTES = 512 << 10
_CONNECT_SECONDS = 2.0
_ANSWER_SECONDS = 10.0
_AGAIN_SECONDS = 0.5
_log = structlog.get_logger()


async def hand_over(log: Log, peers: Sequence[Address], keys: Callable[[], Sequence[bytes]]) -> None:
    """Give away all of the log that is not stored, to whoever takes it; returns when nothing is left, or cancelled.

    What was taken is on the taker's disk and counts as stored here.
    """
    while log.backlog:
        for address in await _resolved(peers):
            try:
                await _give(log, address, keys()[0])
            except (OSError, TimeoutError, asyncio.IncompleteReadError, WireError) as error:
                _log.info("peer_takes_nothing", peer=f"{address[0]}:{address[1]}", reason=str(error) or "it hung up")
        if log.backlog:
            await asyncio.sleep(_AGAIN_SECONDS)
    _log.info("handed_over")


async def _give(log: Log, address: Address, key: bytes) -> None:
    """All to one peer.

    Raises:
        OSError, TimeoutError, asyncio.IncompleteReadError, WireError: it takes no (more).
    """
    async with asyncio.timeout(_CONNECT_SECONDS):
        reader, writer = await asyncio.open_connection(*address)
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            await _greet(reader, writer, key)
        given = 0
        while log.backlog:
            pending = log.pending
            of = pending.aside[0] if pending.aside else None
            start, end = (pending.live, None) if of is None else of
            page = await asyncio.to_thread(log.read, start, 1 << 30, end)
            for block, count in _blocks(page):
                writer.write(wire.message(Type.CHUNKS, wire.encode_batch(given, [block])))
                async with asyncio.timeout(_ANSWER_SECONDS):
                    kind, payload = await wire.receive(reader)
                if kind is not Type.TAKEN or wire.decode_taken(payload) != count:
                    raise WireError(f"{kind.name}: TAKEN of {count} records is expected")
                given += count
            with suppress(OSError):  # the mark: at worst a peer stores what this log still holds
                log.mark_stored(page.end, of)
        _log.info("given", peer=f"{address[0]}:{address[1]}", chunks=given)
    finally:
        writer.close()


def _blocks(page: Page) -> Iterator[tuple[bytes, int]]:
    """The page's records, some at a time, with their number."""
    chunks = page.chunks
    ends = (chunks.at + HEADER_BYTES + 2 * chunks.head["n"] + TRAILER_BYTES).tolist()
    block, size = [], 0
    for start, end in zip(chunks.at.tolist(), ends, strict=True):
        block.append(chunks.data[start:end])
        size += end - start
        if size >= _BLOCK_BYTES:
            yield b"".join(block), len(block)
            block, size = [], 0
    if block:
        yield b"".join(block), len(block)


async def _greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: bytes) -> None:
    """Both ends show that they know the cohort's key, as on the feed."""
    kind, payload = await wire.receive(reader)
    if kind is not Type.CHALLENGE:
        raise WireError(f"{kind.name}: a CHALLENGE is expected first")
    theirs, ours = wire.decode_challenge(payload), os.urandom(wire.NONCE_BYTES)
    writer.write(wire.message(Type.HELLO, ours + wire.proof(key, b"leaving", theirs, ours)))
    kind, payload = await wire.receive(reader)
    if kind is not Type.WELCOME or wire.proven(payload, [key], b"ingest", ours, theirs) is None:
        raise WireError("it does not know the cohort's device key")


async def _resolved(peers: Sequence[Address]) -> list[Address]:
    """Every address of the peers. Its own may be among them: a port that is closed by now."""
    found: set[Address] = set()
    for host, port in peers:
        with suppress(OSError):
            infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found |= {(str(info[4][0]), port) for info in infos}
    return sorted(found)
