"""The arrival index, without a database."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from line_protocol_parser import parse_line

from holter.chunk import Chunk
from holter.packed import of
from holter.store import arrival
from holter.store.arrival import Arrival, Memory, Span, Stretch
from holter.store.rows import Table

SECOND = 1_000_000
NANO = 1_000_000_000


def chunk(device: str, t0: int, value: int = 0) -> Chunk:
    return Chunk(device, t0, 250.0, np.full(250, value, np.int16))


def at(time: int, *spans: Span, shard: int = 0, writer: str = "w") -> Arrival:
    return Arrival(time, shard, writer, spans or (Span(0, SECOND, 1),))


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 10**6)), min_size=1, max_size=30))
def test_every_chunk_lies_in_a_stretch_of_its_shard(some):
    chunks = [chunk(device, t * SECOND // 10) for device, t in some]
    announced = [parse_line(line) for line in arrival.index_lines(of(chunks), "pod-0").decode().splitlines()]
    columns = {
        "_time": tuple("2024-01-01T00:00:00.000000001Z" for _ in announced),
        "shard": tuple(point["tags"]["shard"] for point in announced),
        "writer": tuple(point["tags"]["writer"] for point in announced),
        "_value": tuple(point["fields"]["spans"] for point in announced),
    }
    found = arrival.arrivals([Table(columns, len(announced))])
    assert sum(one.n for one in found) == len(chunks)
    stretches = list(arrival.stretches(found))
    for c in chunks:
        assert any(s.start <= c.t0 and c.end <= s.stop and c.shard in s.shards for s in stretches)
    assert all(left.stop < right.start for left, right in pairwise(stretches))


def test_a_late_chunk_does_not_widen_the_others_stretch():
    found = [
        at(1, Span(0, SECOND, 1), Span(1000 * SECOND, 1001 * SECOND, 1)),
        at(2, Span(2 * SECOND, 3 * SECOND, 1), shard=5),
    ]
    assert list(arrival.stretches(found)) == [
        Stretch(0, 3 * SECOND, frozenset({0, 5})),
        Stretch(1000 * SECOND, 1001 * SECOND, frozenset({0})),
    ]


def test_a_page_is_bounded_but_never_empty():
    found = [at(1, Span(0, 1, 10)), at(2, Span(0, 1, 10)), at(3, Span(0, 1, 1))]
    assert arrival.first_of(found, 5) == found[:1]
    assert arrival.first_of(found, 20) == found[:2]
    assert arrival.first_of(found, 21) == found
    assert list(arrival.first_of([], 5)) == []


def test_what_turns_up_late_within_the_overlap_is_delivered_once():
    memory = Memory()
    early, late, last = at(100 * NANO), at(99 * NANO, shard=1), at(101 * NANO)
    cursor = memory.advance([0, 1], 50 * NANO, [early])
    assert memory.fresh([0, 1], cursor, [late, early, last]) == [late, last]
    following = memory.advance([0, 1], cursor, [late, last])
    assert following > cursor
    assert memory.fresh([0, 1], following, [late, early, last]) == []


def test_a_cursor_read_again_gives_the_same_again():
    memory = Memory()
    cursor = memory.advance([0], 0, [at(5)])
    late = at(4, writer="v")
    first = memory.advance([0], cursor, [late])
    assert memory.fresh([0], cursor, [late, at(5)]) == [late]
    later = at(3, writer="u")
    second = memory.advance([0], cursor, [later, late])
    assert second not in (first, cursor)
    assert memory.fresh([0], first, [later, late]) == [later]


def test_other_shards_and_unknown_cursors_get_all_there_is():
    memory = Memory(size=1)
    cursor = memory.advance([0], 0, [at(5)])
    assert memory.fresh([0, 1], cursor, [at(5)]) == [at(5)]
    memory.advance([0], cursor, [at(6)])
    assert memory.fresh([0], cursor, [at(5)]) == [at(5)]
