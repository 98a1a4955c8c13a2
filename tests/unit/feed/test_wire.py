"""The wire: what is written is read again, and garbage is refused and nothing worse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holter.chunk import Chunk, shard_of
from holter.feed import wire
from holter.feed.wire import Beat, Peer, Type, WireError
from holter.ingest.records import record

SHARDS = st.frozensets(st.integers(0, 63))
U16 = st.integers(0, 65535)
CHUNKS = st.builds(
    lambda device, t0, n, seq, arrived: Chunk(device, t0, 250.0, np.arange(n, dtype=np.int16), seq, 0, arrived),
    st.from_regex(r"[A-Za-z0-9._-]{1,32}", fullmatch=True),
    st.integers(0, (1 << 53) - 1),
    st.integers(1, 250),
    st.integers(0, (1 << 32) - 1),
    st.integers(0, (1 << 53) - 1),
)


@given(st.builds(Beat, U16, U16, SHARDS, SHARDS))
def test_beat(beat):
    assert wire.decode_beat(wire.encode_beat(beat)) == beat


@given(st.lists(st.builds(Peer, U16, U16, SHARDS, st.integers(0, 10**6).map(lambda ms: ms / 1000))))
def test_peers(peers):
    assert wire.decode_peers(wire.encode_peers(peers)) == tuple(peers)


@given(st.integers(0, 1 << 60), st.lists(CHUNKS, max_size=4))
def test_records_of_the_log_are_read_with_their_arrival(number, chunks):
    batch = wire.decode_batch(wire.encode_batch(number, [record(chunk) for chunk in chunks]))
    assert batch.number == number
    assert [c.device_id for c in batch.chunks.each()] == [c.device_id for c in chunks]
    for got, sent in zip(batch.chunks.each(), chunks, strict=True):
        assert (got.t0, got.seq, got.fs, got.arrived) == (sent.t0, sent.seq, sent.fs, sent.arrived)
        assert np.array_equal(got.samples, sent.samples)


@given(CHUNKS)
def test_the_shard_is_read_from_the_header_alone(chunk):
    assert wire.bit_of(record(chunk)) == 1 << shard_of(chunk.device_id)


@given(st.binary(max_size=300))
def test_garbage_is_refused(data):
    for decode in (wire.decode_beat, wire.decode_peers, wire.decode_batch, wire.decode_challenge):
        try:
            decode(data)
        except WireError:
            continue


@given(CHUNKS, st.data())
def test_a_flipped_bit_never_makes_another_chunk(chunk, data):
    payload = bytearray(wire.encode_batch(0, [record(chunk)]))
    at = data.draw(st.integers(8, len(payload) - 1))
    payload[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(WireError):
        wire.decode_batch(bytes(payload))


def test_a_message_that_is_too_long_or_unknown_is_refused_before_it_is_read():
    head = wire.message(Type.BEAT, b"")
    with pytest.raises(WireError, match="at most"):
        wire.head((1 << 30).to_bytes(4, "little") + head[4:5])
    with pytest.raises(WireError, match="message type 9"):
        wire.head(bytes(4) + b"\x09")


def test_a_proof_needs_the_key_and_is_of_one_end_and_two_nonces():
    key, asked, own = b"k" * 32, b"a" * 32, b"o" * 32
    proof = wire.proof(key, b"worker", asked, own)
    assert wire.proven(proof, [b"x" * 32, key], b"worker", asked, own) == key
    assert wire.proven(proof, [b"x" * 32], b"worker", asked, own) is None
    assert wire.proven(proof, [key], b"ingest", asked, own) is None
    assert wire.proven(proof, [key], b"worker", own, asked) is None
