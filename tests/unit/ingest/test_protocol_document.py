"""docs/protocol.md: its vectors are verified by an independent reading of its own tables, and by the codec."""

import base64
import hashlib
import hmac
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from holter.chunk import Chunk
from holter.frame import Ack, Status, decode_acks, decode_one, encode, encode_ack
from holter.ingest.refusal import REASONS
from holter.keys import bearer, mac_key

TEXT = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text()
KEY = bytes.fromhex(re.search(r"Device key: `([0-9a-f]{64})`", TEXT)[1])


def table(first_columns: str) -> list[list[str]]:
    """The rows of the table whose header begins so."""
    lines = TEXT.split(f"\n| {first_columns}", 1)[1].split("\n")[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
    assert rows
    return rows


def test_the_keys_text_is_the_key():
    text = re.search(r"as in the Secret: `([^`]+)`", TEXT)[1]
    assert base64.urlsafe_b64decode(text + "=") == KEY


@pytest.mark.parametrize(("device_id", "token", "key"), table("device id | bearer token"))
def test_tokens(device_id, token, key):
    digest = hmac.new(KEY, f"bearer:{device_id}".encode(), hashlib.sha256).digest()
    assert base64.urlsafe_b64encode(digest).decode().rstrip("=") == token == bearer(KEY, device_id)
    assert (
        hmac.new(KEY, f"mac:{device_id}".encode(), hashlib.sha256).hexdigest() == key == mac_key(KEY, device_id).hex()
    )


@pytest.mark.parametrize(
    ("device_id", "t0", "fs", "seq", "flags", "samples", "frame"), table("device id | t0 (µs) | fs (Hz)")
)
def test_frames(device_id, t0, fs, seq, flags, samples, frame):
    raw = bytes.fromhex(frame)
    values = [int(x) for x in samples.split(",")]
    timed = t0 != "none"
    # by hand, from the layout table
    header = b"HLTR" + struct.pack(
        "<BBHIIq",
        1,
        int(flags) | (0 if timed else 128),
        len(values),
        int(seq),
        round(float(fs) * 1000),
        int(t0) if timed else 0,
    )
    signed = header + device_id.encode().ljust(32, b"\0") + struct.pack(f"<{len(values)}h", *values)
    key = hmac.new(KEY, f"mac:{device_id}".encode(), hashlib.sha256).digest()
    assert raw == signed + hmac.new(key, signed, hashlib.sha256).digest()[:8]
    # by the codec
    chunk = Chunk(device_id, int(t0) if timed else 0, float(fs), np.array(values, np.int16), int(seq), int(flags))
    assert encode(chunk, mac_key(KEY, device_id), timed=timed) == raw
    read = decode_one(raw)
    assert read.is_signed_by(mac_key(KEY, device_id))
    assert (read.timed, read.chunk.samples.tolist(), read.chunk.flags) == (timed, values, int(flags))


@pytest.mark.parametrize(
    ("device_id", "t0", "seq", "status", "wait", "raw"), table("device id | t0 (µs) | seq | status")
)
def test_acknowledgements(device_id, t0, seq, status, wait, raw):
    ack = Ack(device_id, int(seq), int(t0), Status(int(status)), int(wait))
    assert encode_ack(ack).hex() == raw
    assert decode_acks(bytes.fromhex(raw)) == (ack,)
    by_hand = b"HACK" + struct.pack("<BBHIq", 1, int(status), int(wait), int(seq), int(t0))
    assert (by_hand + device_id.encode().ljust(32, b"\0")).hex() == raw


@pytest.mark.parametrize(("title", "size"), [("Frame", "56"), ("Acknowledgement", "52")])
def test_the_layout_tables_add_up(title, size):
    section = TEXT.split(f"## {title}, version 1")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \| (\S[^|]*?) \|", section, re.MULTILINE)
    assert rows
    at = 0
    for offset, count in rows:
        assert int(offset) == at
        if not count.isdigit():
            break
        at += int(count)
    assert str(at) == size


def test_every_status_is_told_what_to_do():
    told = {int(code) for row in table("status | means | do") for code in re.findall(r"\d{3}", row[0])}
    assert told == {202, *REASONS}
