"""The text that holds a chunk in InfluxDB, and the line around it (docs/store.md). Compiled; pure.

A text begins with a letter that names its encoding. `R`: bits, the lowest first, 13 of them as two characters of an
alphabet of 91. First the header as numbers of 7 bits each with one that says whether more follow: flags, seq, rate in
mHz, arrival (0: not known; else its distance from `t0`, zigzag, plus 1), number of samples; then 2 bits, which
difference of the samples follows; the first sample, 16 bits; the differences, zigzag, as a Rice code whose parameter
follows the mean of what came before.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from holter.chunk import FS_MAX, FS_MIN, Chunk
from holter.frame import HEADER_BYTES, NO_T0
from holter.model.jit import njit
from holter.packed import Batch, of

MARK = "R"
_MARK = ord(MARK)
# Printable, and nothing that line protocol or CSV would quote or escape.
_ALPHABET = np.array([c for c in range(33, 127) if chr(c) not in '",\\'], np.uint8)
_VALUE = np.full(256, -1, np.int64)
_VALUE[_ALPHABET] = np.arange(len(_ALPHABET))
_BASE = len(_ALPHABET)
_BITS = 13  # 91² is just above 2¹³
_MEAN = 256  # of the differences before the first, times 16
_WIDTH = np.array([max(i, 1).bit_length() - 1 for i in range(4096)], np.int64)  # of a remainder, by mean × ln 2
_ESCAPE = 20  # ones in a row: the whole number follows
_RAW = 20  # its bits; a second difference of int16, zigzag, has 18
_MOST = int(FS_MAX)
_LEAST_FS, _MOST_FS = round(FS_MIN * 1000), round(FS_MAX * 1000)
_BOUND = 400 + 8 * _MOST
"""Characters of one line at most, key and fields included."""


def chunk_lines(chunks: Batch, keys: list[bytes]) -> bytes:
    """Points of the layout `Chunks`, each with its newline.

    Args:
        chunks: what to write.
        keys: measurement and tags of each, as line protocol.
    """
    head = chunks.head
    out = np.empty(sum(map(len, keys)) + int((300 + 7 * head["n"].astype(np.int64)).sum()), np.uint8)
    columns = [np.ascontiguousarray(head[name], np.int64) for name in ("n", "seq", "fs", "flags", "t0")]
    size: int = _lines(  # type: ignore[call-arg]  # numba's stub knows a fixed number of them
        out,
        np.frombuffer(b"".join(keys), np.uint8),
        np.array(list(map(len, keys)), np.int64),
        np.frombuffer(chunks.data, np.uint8),
        chunks.at + HEADER_BYTES,
        *columns,
        chunks.arrived,
    )
    return out[:size].tobytes()


def encode(chunk: Chunk) -> str:
    """The text of one chunk."""
    out = np.empty(300 + 7 * len(chunk.samples), np.uint8)
    samples = np.ascontiguousarray(chunk.samples, "<i2").view(np.uint8)
    size = _encode(
        out, 0, samples, 0, len(chunk.samples), chunk.seq, round(chunk.fs * 1000), chunk.flags, chunk.t0, chunk.arrived
    )
    return out[:size].tobytes().decode()


def decode(device_id: str, t0: int, text: str) -> Chunk:
    """The inverse of `encode`.

    Raises:
        ValueError: of another encoding, damaged, or cut short.
    """
    (chunk,) = decode_all([device_id], [t0], [text])
    if chunk is None:
        raise ValueError(f"pcm {reason(text)}")
    return chunk


def decode_all(device_ids: Sequence[str], t0s: Sequence[int], texts: Sequence[str]) -> list[Chunk | None]:
    """The same for many; None for one that is not sound (see `reason`). Samples are views of one array."""
    raw = [text.encode() for text in texts]
    sizes = np.array(list(map(len, raw)), np.int64)
    numbers = np.zeros((len(raw), 5), np.int64)
    samples = np.empty(_MOST * len(raw), np.int16)
    used = _decode_all(np.frombuffer(b"".join(raw), np.uint8), sizes, numbers, samples)
    samples = samples[:used].copy()
    chunks: list[Chunk | None] = []
    at = 0
    for device_id, t0, (flags, seq, fs, arrived, n) in zip(device_ids, t0s, numbers.tolist(), strict=True):
        if n < 0:
            chunks.append(None)
            continue
        since = arrived - 1
        when = t0 + ((since >> 1) ^ -(since & 1)) if arrived else 0
        chunks.append(Chunk(device_id, t0, fs / 1000, samples[at : at + n], seq, flags & ~NO_T0, when))
        at += n
    return chunks


def reason(text: str) -> str:
    """Why a text is not sound, as far as that can be said."""
    return f"of {len(text)} characters, {text[:1]!r} first: expected a sound text of encoding {MARK!r}"


@njit()
def _lines(
    out: Any,
    keys: Any,
    key_sizes: Any,
    data: Any,
    places: Any,
    n: Any,
    seq: Any,
    fs: Any,
    flags: Any,
    t0: Any,
    arrived: Any,
) -> int:
    at = key = 0
    for i in range(len(places)):
        for j in range(key, key + key_sizes[i]):
            out[at] = keys[j]
            at += 1
        key += key_sizes[i]
        at = _text(out, at, _PCM)
        at = _encode(out, at, data, places[i], n[i], seq[i], fs[i], flags[i], t0[i], arrived[i])
        at = _text(out, at, _N)
        at = _decimal(out, at, n[i])
        at = _text(out, at, _FS)
        at = _decimal(out, at, fs[i] // 1000)
        at = _text(out, at, _POINT)
        for place in (100, 10, 1):
            out[at] = 48 + fs[i] // place % 10
            at += 1
        at = _text(out, at, _SEQ)
        at = _decimal(out, at, seq[i])
        at = _text(out, at, _TIME)
        at = _decimal(out, at, t0[i])
        at = _text(out, at, _END)
    return at


_PCM, _N, _FS, _POINT, _SEQ, _TIME, _END = (
    np.frombuffer(text, np.uint8) for text in (b' pcm="', b'",n=', b"i,fs=", b".", b",seq=", b"i ", b"000\n")
)


@njit()
def _text(out: Any, at: int, text: Any) -> int:
    for c in text:
        out[at] = c
        at += 1
    return at


@njit()
def _decimal(out: Any, at: int, value: int) -> int:
    size, rest = 1, value // 10
    while rest:
        size += 1
        rest //= 10
    for i in range(size):
        out[at + size - 1 - i] = 48 + value % 10
        value //= 10
    return at + size


@njit()
def _encode(
    out: Any, at: int, data: Any, place: int, n: int, seq: int, fs: int, flags: int, t0: int, arrived: int
) -> int:
    """Write the text of the chunk whose samples begin at `place`; returns where it ends."""
    out[at] = _MARK
    at += 1
    bits, held = np.uint64(0), 0
    since = arrived - t0
    known = ((since << 1) ^ (since >> 63)) + 1 if arrived else 0
    for value in (flags, seq, fs, known, n):
        rest = value
        while rest > 127:
            at, bits, held = _put(out, at, bits, held, (rest & 127) | 128, 8)
            rest >>= 7
        at, bits, held = _put(out, at, bits, held, rest, 8)
    order = _order(data, place, n)
    at, bits, held = _put(out, at, bits, held, order, 2)
    x = _sample(data, place, 0)
    at, bits, held = _put(out, at, bits, held, x & 65535, 16)
    mean, before = _MEAN, 0
    for i in range(1, n):
        y = _sample(data, place, i)
        step = y - x
        v = step - before if order == 2 else step
        x, before = y, step
        u = (v << 1) ^ (v >> 63)
        width = _WIDTH[min(mean * 11 >> 8, 4095)]
        q = u >> width
        if q < _ESCAPE:
            code = (1 << q) - 1 | (u & (1 << width) - 1) << q + 1
            at, bits, held = _put(out, at, bits, held, code, q + 1 + width)
        else:
            at, bits, held = _put(out, at, bits, held, (1 << _ESCAPE) - 1, _ESCAPE)
            at, bits, held = _put(out, at, bits, held, u, _RAW)
        mean += u - (mean >> 4)
    if held:
        at, bits, held = _put(out, at, bits, held, 0, _BITS - held)
    return at


@njit()
def _put(out: Any, at: int, bits: Any, held: int, value: int, width: int) -> Any:
    """Append `width` bits, at most 32: where the text now ends, what is not written yet, and how many bits that is."""
    bits |= np.uint64(value) << np.uint64(held)
    held += width
    while held >= _BITS:
        two = np.int64(bits & np.uint64((1 << _BITS) - 1))
        out[at] = _ALPHABET[two % _BASE]
        out[at + 1] = _ALPHABET[two // _BASE]
        at += 2
        bits >>= np.uint64(_BITS)
        held -= _BITS
    return at, bits, held


@njit()
def _sample(data: Any, place: int, i: int) -> int:
    value = np.int64(data[place + 2 * i]) | np.int64(data[place + 2 * i + 1]) << 8
    signed: int = int(value - ((value & 32768) << 1))
    return signed


@njit()
def _order(data: Any, place: int, n: int) -> int:
    """Which difference is smaller in sum: the first, or the second."""
    first = second = before = 0
    x = _sample(data, place, 0)
    for i in range(1, n):
        y = _sample(data, place, i)
        step = y - x
        first += abs(step)
        second += abs(step - before)
        x, before = y, step
    return 1 if first <= second else 2


@njit()
def _decode_all(texts: Any, sizes: Any, numbers: Any, samples: Any) -> int:
    """Fill a row of `numbers` for each text, n = -1 where it is not sound; samples lie behind each other."""
    at = used = 0
    for i in range(len(sizes)):
        n = _decode(texts[at : at + sizes[i]], numbers[i], samples[used : used + _MOST])
        sound = n > 0 and _LEAST_FS <= numbers[i, 2] <= _MOST_FS
        numbers[i, 4] = n if sound else -1
        if sound:
            used += n
        at += sizes[i]
    return used


@njit()
def _decode(text: Any, numbers: Any, samples: Any) -> int:
    """Fill `numbers` and `samples`; the number of samples, or -1 for a text that is not sound."""
    if len(text) % 2 == 0 or text[0] != _MARK:
        return -1
    at, bits, held = 1, np.uint64(0), 0
    for i in range(len(numbers)):
        shift = 0
        while True:
            at, bits, held = _fill(text, at, bits, held)
            if held < 8 or shift > 56:
                return -1
            numbers[i] |= np.int64(bits & np.uint64(127)) << shift
            more = bits & np.uint64(128)
            bits >>= np.uint64(8)
            held -= 8
            shift += 7
            if not more:
                break
    n = numbers[-1]
    at, bits, held = _fill(text, at, bits, held)
    order = np.int64(bits & np.uint64(3))
    if not 0 < n <= len(samples) or not 1 <= order <= 2 or held < 18:
        return -1
    x = np.int64(bits >> np.uint64(2) & np.uint64(65535))
    x -= (x & 32768) << 1
    bits >>= np.uint64(18)
    held -= 18
    samples[0] = x
    mean, before = _MEAN, 0
    for i in range(1, n):
        at, bits, held = _fill(text, at, bits, held)
        q = 0
        while q < _ESCAPE and bits >> np.uint64(q) & np.uint64(1):
            q += 1
        width = _WIDTH[min(mean * 11 >> 8, 4095)]
        used = q + 1 + width if q < _ESCAPE else _ESCAPE + _RAW
        if used > held:
            return -1
        if q < _ESCAPE:
            u = q << width | np.int64(bits >> np.uint64(q + 1)) & (1 << width) - 1
        else:
            u = np.int64(bits >> np.uint64(_ESCAPE)) & (1 << _RAW) - 1
        bits >>= np.uint64(used)
        held -= used
        mean += u - (mean >> 4)
        v = u >> 1 ^ -(u & 1)
        before = v + before if order == 2 else v
        x += before
        if not -32768 <= x <= 32767:
            return -1
        samples[i] = x
    return n if at == len(text) and held < _BITS else -1


@njit()
def _fill(text: Any, at: int, bits: Any, held: int) -> Any:
    """Read on until 51 bits are held, or the text ends."""
    while held <= 51 and at + 1 < len(text):
        low, high = _VALUE[text[at]], _VALUE[text[at + 1]]
        if low < 0 or high < 0:
            return len(text) + 1, bits, held
        bits |= np.uint64(low + _BASE * high & (1 << _BITS) - 1) << np.uint64(held)
        at += 2
        held += _BITS
    return at, bits, held


def warm() -> None:
    """Compile everything, or read it from the cache: a second or more in which a process should not serve yet."""
    chunk = Chunk("warm", 0, FS_MIN, np.zeros(2, np.int16))
    chunk_lines(of([chunk]), [b"ecg_chunk"])
    decode(chunk.device_id, chunk.t0, encode(chunk))
