"""The log's records: a packed chunk, its arrival and a CRC-32, found again behind any damage. Pure."""

import struct
import sys
import zlib
from dataclasses import dataclass

from holter import packed
from holter.chunk import Chunk
from holter.frame import HEADER_BYTES, MAGIC, MAX_SAMPLES, VERSION, pack
from holter.packed import Batch

_ARRIVED, _CRC = struct.Struct("<q"), struct.Struct("<I")
TRAILER_BYTES = _ARRIVED.size + _CRC.size
_BEGINNING = MAGIC + bytes([VERSION])
MAX_RECORD_BYTES = HEADER_BYTES + 2 * MAX_SAMPLES + TRAILER_BYTES


@dataclass(frozen=True, slots=True)
class Scan:
    """What a block of the log holds.

    Attributes:
        chunks: those that could be read.
        used: bytes of the block that are done with.
        damaged: bytes of them that could not be read.
    """

    chunks: Batch
    used: int
    damaged: int


def record(chunk: Chunk) -> bytes:
    """Header and samples as in a frame, the arrival, CRC-32 of all that; the header's `n` gives the length."""
    return sealed(pack(chunk), chunk.arrived)


def sealed(packed: bytes, arrived: int) -> bytes:
    """The record of a packed chunk."""
    body = packed + _ARRIVED.pack(arrived)
    return body + _CRC.pack(zlib.crc32(body))


def scan(block: bytes, *, final: bool, limit: int = sys.maxsize) -> Scan:
    """Read the records of a block that begins with one.

    A record that is torn or was flipped costs itself alone: reading goes on at the next magic that begins a sound one.

    Args:
        block: bytes of a segment.
        final: nothing follows the block; else what may be a record cut by its end is left for the next block.
        limit: chunks to read at most.
    """
    places: list[int] = []
    arrivals: list[int] = []
    offset = damaged = 0
    view, size = memoryview(block), len(block)
    while offset < size and len(places) < limit:
        end = _end_of(block, view, offset)
        if end is not None:
            places.append(offset)
            arrivals.append(_ARRIVED.unpack_from(block, end - TRAILER_BYTES)[0])
            offset = end
            continue
        if not final and size - offset < MAX_RECORD_BYTES:
            break
        found = block.find(MAGIC, offset + 1)
        # Without another magic all the rest is damage, but for the first bytes of one that the block may have cut.
        beyond = found if found >= 0 else size if final else size - len(MAGIC) + 1
        damaged += beyond - offset
        offset = beyond
    return Scan(packed.over(block, places, arrivals), offset, damaged)


def _end_of(block: bytes, view: memoryview, offset: int) -> int | None:
    """Where the record that begins at `offset` ends; None when none does that is whole and of this version."""
    if len(block) - offset < HEADER_BYTES or not block.startswith(_BEGINNING, offset):
        return None
    crc = offset + HEADER_BYTES + 2 * (block[offset + 6] | block[offset + 7] << 8) + _ARRIVED.size
    if crc + _CRC.size > len(block) or _CRC.unpack_from(block, crc)[0] != zlib.crc32(view[offset:crc]):
        return None
    return crc + _CRC.size
