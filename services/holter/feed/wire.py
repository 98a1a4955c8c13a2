"""What goes over a feed connection: framed messages, both ways. Pure but for `receive`. Specified in docs/feed.md.

A message is `u32 length of the payload, u8 type, payload`, little-endian. Ingest begins with CHALLENGE, the worker
answers HELLO, ingest WELCOME; then BEATs go one way, CHUNKS and PEERS the other.
"""

import asyncio
import hmac
import struct
import zlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from holter.batch.chunks import Chunks
from holter.batch.records import RecordError, read_records
from holter.chunk import SHARDS
from holter.frame import DEVICE_ID_SPAN

MAGIC = b"HFED"
VERSION = 1
NONCE_BYTES = MAC_BYTES = 32
MAX_PAYLOAD = 1 << 20

_HEAD = struct.Struct("<IB")
_CHALLENGE = struct.Struct("<4sB32s")
_BEAT, _PEER, _NUMBER = struct.Struct("<HHQQ"), struct.Struct("<HHQI"), struct.Struct("<Q")


class WireError(ValueError):
    """A message that cannot be read: the connection is of no more use."""


class Type(IntEnum):
    """What a message is."""

    CHALLENGE = 1
    HELLO = 2
    WELCOME = 3
    BEAT = 4
    CHUNKS = 5
    PEERS = 6
    TAKEN = 7


@dataclass(frozen=True, slots=True)
class Beat:
    """A worker lives, once a second and whenever this changes.

    Attributes:
        ordinal: its own.
        replicas: how many workers it believes there are; 0 when it is about to end, and others are to take its shards.
        wanted: shards whose chunks are to be sent to it.
        held: shards that it judges as they come.
    """

    ordinal: int
    replicas: int
    wanted: frozenset[int]
    held: frozenset[int]


@dataclass(frozen=True, slots=True)
class Peer:
    """A worker as an ingest process heard of it last.

    Attributes:
        ordinal: its own.
        replicas: see Beat.
        held: see Beat.
        age: seconds since its last beat.
    """

    ordinal: int
    replicas: int
    held: frozenset[int]
    age: float


@dataclass(frozen=True, slots=True)
class Batch:
    """Chunks in the order of their acceptance.

    Attributes:
        number: of the first, counted over all that were meant for this subscriber: a jump is what was dropped.
        chunks: samples are read-only views.
    """

    number: int
    chunks: Chunks


def message(kind: Type, payload: bytes) -> bytes:
    """One message."""
    return _HEAD.pack(len(payload), kind) + payload


def head(data: bytes) -> tuple[Type, int]:
    """Type and length of payload from a message's first `HEAD_BYTES`.

    Raises:
        WireError: an unknown type, or too long.
    """
    length, kind = _HEAD.unpack(data)
    if length > MAX_PAYLOAD:
        raise WireError(f"a message of {length} bytes: at most {MAX_PAYLOAD} are read")
    try:
        return Type(kind), length
    except ValueError:
        raise WireError(f"message type {kind}: expected 1..{max(Type)}") from None


HEAD_BYTES = _HEAD.size


async def receive(reader: asyncio.StreamReader) -> tuple[Type, bytes]:
    """The next message.

    Raises:
        WireError: it is none.
        OSError, asyncio.IncompleteReadError: the connection ended.
    """
    kind, length = head(await reader.readexactly(HEAD_BYTES))
    return kind, await reader.readexactly(length)


def encode_challenge(nonce: bytes) -> bytes:
    """Payload of CHALLENGE."""
    return _CHALLENGE.pack(MAGIC, VERSION, nonce)


def decode_challenge(payload: bytes) -> bytes:
    """The nonce of a CHALLENGE.

    Raises:
        WireError: it is none, or of another version.
    """
    if len(payload) != _CHALLENGE.size:
        raise WireError(f"a challenge of {len(payload)} bytes: {_CHALLENGE.size} are expected")
    magic, version, nonce = _CHALLENGE.unpack(payload)
    if magic != MAGIC or version != VERSION:
        raise WireError(f"{magic!r} version {version}: {MAGIC!r} version {VERSION} is expected")
    return bytes(nonce)


def proof(key: bytes, who: bytes, asked: bytes, own: bytes) -> bytes:
    """That `who` knows the key: HMAC-SHA256(feed key, who ‖ nonce it was asked ‖ own nonce).

    Args:
        key: the feed key.
        who: b"worker", b"ingest", or b"leaving", an ingest process that hands its log over.
        asked: the other end's nonce.
        own: its own.
    """
    return hmac.digest(key, who + asked + own, "sha256")


def proven(given: bytes, keys: Sequence[bytes], who: bytes, asked: bytes, own: bytes) -> bytes | None:
    """Which of the feed keys made this proof; None when none of them did. Compared in constant time."""
    for key in keys:
        if hmac.compare_digest(given, proof(key, who, asked, own)):
            return key
    return None


def encode_beat(beat: Beat) -> bytes:
    """Payload of BEAT."""
    return _BEAT.pack(beat.ordinal, beat.replicas, mask_of(beat.wanted), mask_of(beat.held))


def decode_beat(payload: bytes) -> Beat:
    """Read a BEAT.

    Raises:
        WireError: it is none.
    """
    if len(payload) != _BEAT.size:
        raise WireError(f"a beat of {len(payload)} bytes: {_BEAT.size} are expected")
    ordinal, replicas, wanted, held = _BEAT.unpack(payload)
    return Beat(ordinal, replicas, shards_in(wanted), shards_in(held))


def encode_peers(peers: Iterable[Peer]) -> bytes:
    """Payload of PEERS."""
    return b"".join(_PEER.pack(p.ordinal, p.replicas, mask_of(p.held), round(p.age * 1000)) for p in peers)


def decode_peers(payload: bytes) -> tuple[Peer, ...]:
    """Read PEERS.

    Raises:
        WireError: it is none.
    """
    if len(payload) % _PEER.size:
        raise WireError(f"peers of {len(payload)} bytes: a multiple of {_PEER.size} is expected")
    return tuple(
        Peer(ordinal, replicas, shards_in(held), age / 1000)
        for ordinal, replicas, held, age in _PEER.iter_unpack(payload)
    )


def encode_taken(count: int) -> bytes:
    """Payload of TAKEN: so many records are on the taker's disk."""
    return _NUMBER.pack(count)


def decode_taken(payload: bytes) -> int:
    """Read a TAKEN.

    Raises:
        WireError: it is none.
    """
    if len(payload) != _NUMBER.size:
        raise WireError(f"TAKEN of {len(payload)} bytes: {_NUMBER.size} are expected")
    return int(_NUMBER.unpack(payload)[0])


def encode_batch(number: int, records: Iterable[bytes]) -> bytes:
    """Payload of CHUNKS: the records as they are in ingest's log (`holter.ingest.records`), not made anew."""
    return _NUMBER.pack(number) + b"".join(records)


def records_of(payload: bytes) -> bytes:
    """The records of a CHUNKS, as they are.

    Raises:
        WireError: it is too short to be one.
    """
    if len(payload) < _NUMBER.size:
        raise WireError(f"chunks of {len(payload)} bytes: a number of {_NUMBER.size} bytes is expected first")
    return payload[_NUMBER.size :]


def decode_batch(payload: bytes) -> Batch:
    """Read CHUNKS.

    Raises:
        WireError: any of it is not a sound record.
    """
    if len(payload) < _NUMBER.size:
        raise WireError(f"chunks of {len(payload)} bytes: a number of {_NUMBER.size} bytes is expected first")
    (number,) = _NUMBER.unpack_from(payload)
    try:
        return Batch(number, read_records(payload, _NUMBER.size))
    except RecordError as error:
        raise WireError(str(error)) from error


def bit_of(record: bytes) -> int:
    """The bit of a record's shard in a mask, read from its header alone."""
    return _bit(record[DEVICE_ID_SPAN])


@lru_cache(1 << 17)
def _bit(device: bytes) -> int:
    return 1 << zlib.crc32(device.rstrip(b"\0")) % SHARDS


def mask_of(shards: Collection[int]) -> int:
    """A bit for each shard."""
    mask = 0
    for shard in shards:
        mask |= 1 << shard
    return mask


def shards_in(mask: int) -> frozenset[int]:
    """The shards of a mask."""
    return frozenset(shard for shard in range(SHARDS) if mask >> shard & 1)
