"""The frame codec: round trip, every wrong field named, garbage never costs a good frame."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holter.chunk import GAP_BEFORE, LEAD_OFF, Chunk
from holter.frame import (
    HEADER_BYTES,
    MAC_BYTES,
    Ack,
    FrameError,
    Status,
    decode,
    decode_acks,
    decode_one,
    encode,
    encode_ack,
)

KEY, OTHER = b"k" * 32, b"o" * 32
CHUNK = Chunk("wearable-1", 1_700_000_000_123_456, 250.0, np.arange(-125, 125, dtype=np.int16), 7, LEAD_OFF)


@st.composite
def chunks(draw):
    fs = draw(st.integers(100_000, 1_000_000))
    n = draw(st.integers(1, fs // 1000))
    seed = draw(st.integers(0, 1000))
    return Chunk(
        draw(st.from_regex(r"[A-Za-z0-9._-]{1,32}", fullmatch=True)),
        draw(st.integers(0, (1 << 53) - 1)),
        fs / 1000,
        np.random.default_rng(seed).integers(-32768, 32768, n).astype(np.int16),
        draw(st.integers(0, 2**32 - 1)),
        draw(st.sampled_from([0, LEAD_OFF, GAP_BEFORE, LEAD_OFF | GAP_BEFORE])),
    )


def same(a: Chunk, b: Chunk) -> bool:
    return np.array_equal(a.samples, b.samples) and (a.device_id, a.t0, a.fs, a.seq, a.flags) == (
        b.device_id,
        b.t0,
        b.fs,
        b.seq,
        b.flags,
    )


@given(chunks(), st.booleans())
def test_round_trip(chunk, timed):
    frame = decode_one(encode(chunk, KEY, timed=timed))
    assert frame.timed is timed
    assert same(frame.chunk, chunk if timed else replace(chunk, t0=0))
    assert frame.is_signed_by(OTHER, KEY)
    assert not frame.is_signed_by(OTHER)


@given(chunks(), st.data())
def test_any_flipped_bit_is_noticed(chunk, data):
    raw = bytearray(encode(chunk, KEY))
    bit = data.draw(st.integers(0, 8 * len(raw) - 1))
    raw[bit // 8] ^= 1 << bit % 8
    try:
        frame = decode_one(bytes(raw))
    except FrameError:
        return
    assert not frame.is_signed_by(KEY)


@given(st.data())
def test_every_truncation_is_an_error(data):
    raw = encode(CHUNK, KEY)
    with pytest.raises(FrameError, match="cut short"):
        decode(raw[: data.draw(st.integers(0, len(raw) - 1))])


@pytest.mark.parametrize(
    ("offset", "value", "field"),
    [
        (0, b"XXXX", "magic"),
        (4, b"\x02", "version"),
        (5, b"\x40", "flags"),
        (6, b"\x00\x00", "n"),
        (6, b"\xfb\x00", "n"),
        (12, (99_999).to_bytes(4, "little"), "fs"),
        (12, (1_000_001).to_bytes(4, "little"), "fs"),
        (16, (-1).to_bytes(8, "little", signed=True), "t0"),
        (16, (1 << 53).to_bytes(8, "little"), "t0"),
        (24, b"\0", "device_id"),
        (24, b"a/", "device_id"),
    ],
)
def test_a_wrong_field_is_named(offset, value, field):
    raw = bytearray(encode(CHUNK, KEY))
    raw[offset : offset + len(value)] = value
    with pytest.raises(FrameError) as error:
        decode(bytes(raw))
    assert error.value.field == field


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"device_id": "a b"}, "device_id"),
        ({"seq": 1 << 32}, "seq"),
        ({"fs": 99.0}, "fs"),
        ({"fs": 249.0}, "n"),
        ({"samples": np.empty(0, np.int16)}, "n"),
        ({"t0": -1}, "t0"),
        ({"flags": 64}, "flags"),
    ],
)
def test_encode_refuses_what_decode_would(change, field):
    with pytest.raises(FrameError) as error:
        encode(replace(CHUNK, **change), KEY)
    assert error.value.field == field


def test_one_means_one():
    with pytest.raises(FrameError, match="followed by 1 more"):
        decode_one(encode(CHUNK, KEY) + b"\0")


@given(st.binary(max_size=4 * (HEADER_BYTES + MAC_BYTES)))
def test_garbage_raises_nothing_but_frame_errors(data):
    for read in (decode, decode_one, decode_acks):
        try:
            read(data)
        except FrameError:
            continue


def test_acknowledgements_round_trip():
    acks = (Ack("a", 7, 123), Ack("b", 2**32 - 1, 0, Status.RETRY, 30), Ack("c", 0, 1, Status.REFUSED))
    assert decode_acks(b"".join(map(encode_ack, acks))) == acks


@pytest.mark.parametrize("change", [{"status": 9}, {"status": 1, "magic": b"XXXX"}])
def test_a_wrong_acknowledgement_is_refused(change):
    raw = bytearray(encode_ack(Ack("a", 1, 2)))
    raw[5] = change["status"]
    raw[:4] = change.get("magic", raw[:4])
    with pytest.raises(FrameError):
        decode_acks(bytes(raw))
