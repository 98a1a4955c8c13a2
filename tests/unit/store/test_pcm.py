"""The text that holds a chunk: what goes in comes out, line protocol and CSV carry it, damage is refused."""

import csv
import io
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from line_protocol_parser import parse_line

from holter.chunk import Chunk
from holter.packed import of
from holter.store import pcm
from holter.store.layouts import LAYOUTS

T = 1_700_000_000_000_000
I16 = st.integers(-32768, 32767)
samples = st.one_of(
    st.lists(I16, min_size=1, max_size=100),
    st.lists(st.integers(-20, 20), min_size=1, max_size=100),
    st.tuples(I16, st.integers(1, 100)).map(lambda constant: [constant[0]] * constant[1]),
    st.lists(st.sampled_from([-32768, 32767]), min_size=1, max_size=100),
)
chunks = st.builds(
    Chunk,
    st.from_regex(r"[A-Za-z0-9._-]{1,32}", fullmatch=True),
    st.integers(0, (1 << 53) - 1),
    st.integers(100_000, 1_000_000).map(lambda mhz: mhz / 1000),
    samples.map(lambda some: np.array(some, np.int16)),
    st.integers(0, (1 << 32) - 1),
    st.integers(0, 3),
    st.integers(0, (1 << 53) - 1),
)


def told(chunk):
    return (chunk.device_id, chunk.t0, chunk.fs, chunk.samples.tolist(), chunk.seq, chunk.flags, chunk.arrived)


@settings(deadline=None)
@given(chunks)
def test_what_goes_in_comes_out(chunk):
    assert told(pcm.decode(chunk.device_id, chunk.t0, pcm.encode(chunk))) == told(chunk)


@settings(deadline=None)
@given(st.lists(chunks, min_size=1, max_size=5))
def test_a_batch_is_a_line_a_chunk_that_says_the_same_for_people(row):
    row = [c for c in row if len(c.samples) * 1000 <= round(c.fs * 1000)]
    lines = LAYOUTS["Chunks"].encode(of(row)).decode().splitlines()
    assert len(lines) == len(row)
    for line, chunk in zip(lines, row, strict=True):
        point = parse_line(line)
        assert (point["measurement"], point["time"]) == ("ecg_chunk", chunk.t0 * 1000)
        assert point["tags"] == {"device_id": chunk.device_id, "shard": str(chunk.shard)}
        text = point["fields"].pop("pcm")
        assert point["fields"] == {"n": len(chunk.samples), "fs": chunk.fs, "seq": chunk.seq}
        assert text == pcm.encode(chunk)


def test_every_character_passes_line_protocol_and_csv_as_it_is():
    alphabet = bytes(pcm._ALPHABET).decode()
    assert len(set(alphabet)) == 91
    assert parse_line(f'm f="{alphabet}" 1')["fields"]["f"] == alphabet
    out = io.StringIO()
    csv.writer(out).writerow([alphabet])
    assert out.getvalue() == alphabet + "\r\n"


def test_a_text_is_as_documented():
    """One number at a time, by the description in docs/store.md."""
    chunk = Chunk("a", T, 250.0, np.array([1, -2, 4, 4], np.int16), seq=300, flags=1, arrived=T + 5)
    text = pcm.encode(chunk)
    assert text[0] == "R"
    alphabet = "".join(chr(c) for c in range(33, 127) if chr(c) not in '",\\')
    pairs = zip(text[1::2], text[2::2], strict=True)
    bits = "".join(f"{alphabet.index(a) + 91 * alphabet.index(b):013b}"[::-1] for a, b in pairs)

    def take(width):
        nonlocal bits
        value, bits = int(bits[:width][::-1], 2), bits[width:]
        return value

    numbers = [take(8), take(8), take(8)]
    assert numbers == [1, 300 & 127 | 128, 300 >> 7]  # flags, seq
    assert [take(8), take(8), take(8)] == [250_000 & 127 | 128, 250_000 >> 7 & 127 | 128, 250_000 >> 14]
    assert [take(8), take(8)] == [2 * 5 + 1, 4]  # arrival, n
    assert (take(2), take(16)) == (1, 1)  # first differences; the first sample
    mean, differences = 256, []
    for _ in range(3):
        width = max(mean * 11 >> 8, 1).bit_length() - 1
        ones = 0
        while take(1):
            ones += 1
        u = ones << width | (take(width) if width else 0)
        mean += u - (mean >> 4)
        differences.append(u // 2 if u % 2 == 0 else -(u + 1) // 2)
    assert differences == [-3, 6, 0]
    assert len(bits) < 13
    assert "1" not in bits


@pytest.mark.parametrize("text", ["", "R", "R!!", "AgAAAA==", "X" + "!" * 40, "R" + "~" * 400, "Rä", "R" + '"' * 20])
def test_what_is_none_is_refused(text):
    with pytest.raises(ValueError, match="pcm of"):
        pcm.decode("a", T, text)


def test_damage_is_refused_or_read_as_other_samples_and_nothing_worse():
    rng = random.Random(1)
    chunk = Chunk("a", T, 250.0, np.cumsum(np.arange(250) % 7 - 3).astype(np.int16), 3, 0, T + 9)
    text = pcm.encode(chunk)
    for cut in range(len(text)):
        with pytest.raises(ValueError, match="pcm of"):
            pcm.decode("a", T, text[:cut])
    for _ in range(3000):
        at = rng.randrange(len(text))
        flipped = text[:at] + chr(rng.randrange(1, 256)) + text[at + 1 :]
        try:
            found = pcm.decode("a", T, flipped)
        except ValueError:
            continue
        assert 0 < len(found.samples) <= 1000
