"""The log's records: a packed chunk, its arrival and a CRC-32, found again behind any damage. Pure."""

import struct
import sys
import zlib
from dataclasses import dataclass, replace

from holter.chunk import Chunk
from holter.frame import HEADER_BYTES, MAGIC, MAX_SAMPLES, FrameError, pack, unpack

_ARRIVED, _CRC = struct.Struct("<q"), struct.Struct("<I")
_TRAILER_BYTES = _ARRIVED.size + _CRC.size
MAX_RECORD_BYTES = HEADER_BYTES + 2 * MAX_SAMPLES + _TRAILER_BYTES


@dataclass(frozen=True, slots=True)
class Scan:
    """What a block of the log holds.

    Attributes:
        chunks: those that could be read.
        used: bytes of the block that are done with.
        damaged: bytes of them that could not be read.
    """

    chunks: list[Chunk]
    used: int
    damaged: int


def record(chunk: Chunk) -> bytes:
    """Header and samples as in a frame, the arrival, CRC-32 of all that; the header's `n` gives the length."""
    packed = pack(chunk) + _ARRIVED.pack(chunk.arrived)
    return packed + _CRC.pack(zlib.crc32(packed))


def scan(block: bytes, *, final: bool, limit: int = sys.maxsize) -> Scan:
    """Read the records of a block that begins with one.

    A record that is torn or was flipped costs itself alone: reading goes on at the next magic that begins a sound one.

    Args:
        block: bytes of a segment.
        final: nothing follows the block; else what may be a record cut by its end is left for the next block.
        limit: chunks to read at most.
    """
    chunks: list[Chunk] = []
    offset = damaged = 0
    while offset < len(block) and len(chunks) < limit:
        try:
            chunk, _, end = unpack(block, offset, _TRAILER_BYTES)
            (arrived,) = _ARRIVED.unpack_from(block, end)
            end += _ARRIVED.size
            if _CRC.unpack_from(block, end)[0] != zlib.crc32(memoryview(block)[offset:end]):
                raise FrameError("crc", "does not match")
        except FrameError:
            if not final and len(block) - offset < MAX_RECORD_BYTES:
                break
            found = block.find(MAGIC, offset + 1)
            # Without another magic all the rest is damage, but for the first bytes of one that the block may have cut.
            beyond = found if found >= 0 else len(block) if final else len(block) - len(MAGIC) + 1
            damaged += beyond - offset
            offset = beyond
            continue
        chunks.append(replace(chunk, arrived=arrived))
        offset = end + _CRC.size
    return Scan(chunks, offset, damaged)
