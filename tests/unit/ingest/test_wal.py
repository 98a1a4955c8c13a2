"""The log: every truncation and every flipped byte costs at most one record; bounds; what a new process finds."""

import os
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holter.chunk import Chunk
from holter.ingest.pending import Position
from holter.ingest.records import record, scan
from holter.ingest.wal import TAIL, Log, LogFullError

START = Position(0, 0)


class Clock:
    def __init__(self):
        self.now = time.time()  # files have real times

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def open_log(tmp_path, clock):
    opened = []

    def make(limit=1 << 30):
        while opened:
            opened.pop().close()
        opened.append(Log(tmp_path / "log", limit, clock))
        return opened[0]

    yield make
    while opened:
        opened.pop().close()


def everything(log, start=START):
    chunks, damaged = [], 0
    while True:
        page = log.read(start, 7)
        if page.end == start:
            return chunks, damaged, start
        chunks += page.chunks
        damaged += page.damaged
        start = page.end


def recent(log):
    return [chunk for chunks in log.recent() for chunk in chunks]


def keys(chunks):
    return [(c.device_id, c.t0, c.arrived, c.samples.tobytes()) for c in chunks]


@pytest.fixture
def row(chunk):
    first = 1_750_000_000_000_000
    return [chunk(t0=first + i * 1_000_000, n=4 + i, first=i, arrived=first + 7**i) for i in range(5)]


def test_every_truncation_keeps_every_whole_record(row):
    raw = b"".join(map(record, row))
    ends = np.cumsum([len(record(c)) for c in row])
    for cut in range(len(raw) + 1):
        found = scan(raw[:cut], final=True)
        whole = int((ends <= cut).sum())
        assert keys(found.chunks) == keys(row[:whole])
        assert found.used == cut
        assert found.damaged == cut - (ends[whole - 1] if whole else 0)


def test_every_flipped_byte_costs_at_most_its_own_record(row):
    raw = b"".join(map(record, row))
    ends = np.cumsum([len(record(c)) for c in row])
    for at in range(len(raw)):
        for flip in (0x01, 0x80, 0xFF):
            damaged = bytearray(raw)
            damaged[at] ^= flip
            found = scan(bytes(damaged), final=True)
            hit = int((ends <= at).sum())
            assert keys(found.chunks) == keys(row[:hit] + row[hit + 1 :])
            assert found.damaged == len(record(row[hit]))


@settings(max_examples=50)
@given(st.integers(1, 400), st.binary(max_size=100))
def test_blocks_of_any_size_read_the_same(size, garbage):
    row = [Chunk("a", i, 250.0, np.full(20 + i, i, np.int16)) for i in range(12)]
    raw = b"".join(map(record, row[:6])) + garbage + b"".join(map(record, row[6:]))
    chunks, offset, damaged = [], 0, 0
    while offset < len(raw):
        end = min(offset + 3000 + size, len(raw))
        found = scan(raw[offset:end], final=end == len(raw), limit=3)
        assert found.used > 0
        chunks += found.chunks
        damaged += found.damaged
        offset += found.used
    assert keys(chunks) == keys(row)
    assert damaged == len(garbage)


def test_a_new_process_reads_what_the_last_one_wrote(open_log, row):
    log = open_log()
    log.write(record(row[0]) + record(row[1]))
    log.write(record(row[2]))
    assert keys(everything(log)[0]) == keys(row[:3])
    log = open_log()
    log.write(record(row[3]))
    assert keys(everything(log)[0]) == keys(row[:4])
    assert keys(recent(log)) == keys(row[:4])


def test_a_torn_record_is_skipped_and_said(open_log, tmp_path, row):
    log = open_log()
    log.write(record(row[0]))
    torn = record(row[1])[:-3]
    (segment,) = (tmp_path / "log").glob("*.log")
    segment.write_bytes(segment.read_bytes() + torn)
    log = open_log()
    log.write(record(row[2]))
    chunks, damaged, _ = everything(log)
    assert keys(chunks) == keys([row[0], row[2]])
    assert damaged == len(torn)


def test_the_checkpoint_survives_and_a_broken_one_means_all_again(open_log, tmp_path, row):
    log = open_log()
    log.write(b"".join(map(record, row)))
    log.mark_stored(log.read(START, 2).end)
    left = sum(len(record(c)) for c in row[2:])
    assert log.backlog == left
    log = open_log()
    assert log.backlog == left
    assert keys(everything(log, log.pending.live)[0]) == keys(row[2:])
    (tmp_path / "log" / "stored").write_text("garbage")
    assert len(everything(open_log(), START)[0]) == 5


def test_stored_segments_stay_for_the_tail_and_go_then(open_log, tmp_path, clock, chunk):
    log = open_log()
    for i in range(4):
        log.write(record(chunk(t0=1_750_000_000_000_000 + i)))
        clock.now += 61  # each segment is closed by its age
    end = everything(log)[2]
    assert [c.t0 % 10 for c in recent(log)] == [2, 3]  # the others are older than the tail
    log.mark_stored(end)
    assert [c.t0 for c in recent(log)] == [1_750_000_000_000_003]
    clock.now += TAIL + 61
    log.write(record(chunk(t0=9_000_000_000)))
    log.mark_stored(everything(log, end)[2])
    assert [c.t0 for c in recent(log)] == [9_000_000_000]
    assert len(list((tmp_path / "log").glob("*.log"))) <= 2


def test_a_full_log_says_so_and_takes_more_once_the_store_did(open_log, chunk):
    log = open_log(limit=200_000)
    data = record(chunk())
    for _ in range(200_000 // len(data)):
        log.check_room(len(data))
        log.write(data)
    with pytest.raises(LogFullError, match="of 200000 bytes"):
        log.check_room(len(data))
    log.mark_stored(everything(log)[2])
    log.check_room(len(data))
    assert log.backlog == 0


def test_a_disk_that_is_nearly_full_is_a_full_log(open_log, clock, monkeypatch):
    log = open_log()
    real = os.fstatvfs(log._fd)
    monkeypatch.setattr(os, "fstatvfs", lambda _: type("Disk", (), {"f_bavail": 1, "f_frsize": real.f_frsize}))
    clock.now += 1
    log.write(b"")
    with pytest.raises(LogFullError, match="disk of the log has"):
        log.check_room(1)


def test_one_process_at_a_time(open_log, tmp_path):
    open_log()
    with pytest.raises(OSError, match="another process has the log"):
        Log(tmp_path / "log", 1 << 20)
