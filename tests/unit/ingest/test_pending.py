"""What is not stored: whatever order parts are stored in, nothing is forgotten and all comes to an end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holter.ingest.pending import NOTHING_STORED, Pending, Position, Stretch, parse

positions = st.builds(Position, st.integers(0, 4), st.integers(0, 9))


def units(pending, head):
    """Every place that is not stored, one by one."""
    sizes = dict.fromkeys(range(5), 10)
    sizes[head.segment] = head.offset
    stretches = [*pending.aside, Stretch(pending.live, head)]
    return {
        (segment, offset)
        for segment, size in sizes.items()
        for offset in range(size)
        if segment <= head.segment and any(s.start <= (segment, offset) < s.end for s in stretches)
    }


@given(st.lists(st.tuples(st.booleans(), positions, st.integers(0, 3)), max_size=12))
def test_only_what_is_said_to_be_stored_is_gone(steps):
    pending, head = NOTHING_STORED, Position(0, 0)
    left = set()
    for forward, place, which in steps:
        if forward:  # the log grows, and perhaps what is behind is set aside
            grown = max(head, place)
            left |= units(Pending(head), grown)
            head = grown
            if which % 2:
                pending = pending.set_aside(head)
        elif which < len(pending.aside):
            of = pending.aside[which]
            upto = max(of.start, min(of.end, place))
            left -= {u for u in left if of.start <= u < upto}
            pending = pending.stored(upto, of)
        else:
            upto = max(pending.live, min(head, place))
            left -= {u for u in left if pending.live <= u < upto}
            pending = pending.stored(upto, None)
        sizes = dict.fromkeys(range(head.segment), 10) | {head.segment: head.offset}
        assert units(pending, head) == left
        assert pending.size(sizes) == len(left)
        assert {n for n in sizes if not pending.needs(n)}.isdisjoint({segment for segment, _ in left})
        assert all(pending.first <= unit for unit in left)
        assert parse(pending.text()) == pending


def test_a_checkpoint_of_one_line_is_read():
    assert parse("3 17\n") == Pending(Position(3, 17))


@pytest.mark.parametrize("text", ["", "garbage", "1", "1 2\n3 4\n", "1 2 3 4"])
def test_what_is_no_checkpoint_says_so(text):
    with pytest.raises(ValueError, match=r"checkpoint|invalid literal|unpack"):
        parse(text)
