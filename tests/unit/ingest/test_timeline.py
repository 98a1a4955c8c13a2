"""Placing chunks in time: continuation, repeats, conflicts, overlaps, bounds."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holter.chunk import GAP_BEFORE, LEAD_OFF, Chunk
from holter.ingest.refusal import RefusalError
from holter.ingest.timeline import AHEAD, FUTURE, IDLE, OLDEST, REMEMBERED, Timeline, split
from holter.packed import of

NOW = 1_760_000_000_000_000
S = 1_000_000


@pytest.fixture
def timeline():
    return Timeline(10)


def untimed(timeline, chunk, now):
    return timeline.place(replace(chunk, t0=0), timed=False, now=now)


def test_the_first_chunk_without_t0_ends_at_its_arrival(timeline, chunk):
    placed = untimed(timeline, chunk(), NOW)
    assert (placed.t0, placed.accepted, placed.reanchored) == (NOW - S, 250, False)
    assert placed.parts[0].flags == 0


@pytest.mark.parametrize("timed", [True, False])
def test_every_part_of_a_body_is_dated_with_its_arrival(timeline, chunk, timed):
    body = chunk(t0=NOW - 3 * S, n=700)
    assert [p.arrived for p in timeline.place(body, timed=timed, now=NOW).parts] == [NOW] * 3
    again = timeline.place(replace(body, t0=NOW - 2 * S), timed=True, now=NOW + 5)
    assert {p.arrived for p in again.parts} == {NOW + 5}


def test_what_arrives_again_later_is_the_same(timeline, chunk):
    timeline.place(chunk(NOW), timed=True, now=NOW)
    placed = timeline.place(chunk(NOW), timed=True, now=NOW + S)
    assert (placed.parts, placed.repeated, placed.conflicting) == ((), 250, 0)


def test_chunks_without_t0_continue_whatever_the_network_does(timeline, chunk):
    arrivals = [NOW, NOW + S + 300_000, NOW + 2 * S - 400_000, NOW + 3 * S + 900_000]
    starts = [untimed(timeline, chunk(), now).t0 for now in arrivals]
    assert np.diff(starts).tolist() == [S, S, S]


def test_a_silence_of_more_than_a_second_is_marked_counted_and_placed_by_arrival(timeline, chunk):
    untimed(timeline, chunk(), NOW)
    placed = untimed(timeline, chunk(flags=LEAD_OFF), NOW + 5 * S)
    assert (placed.t0, placed.missing, placed.reanchored) == (NOW + 4 * S, 1000, True)
    assert placed.parts[0].flags == LEAD_OFF | GAP_BEFORE


def test_only_the_first_part_of_a_long_body_is_marked(timeline, chunk):
    untimed(timeline, chunk(), NOW)
    placed = untimed(timeline, chunk(n=750), NOW + 9 * S)
    assert [p.flags for p in placed.parts] == [GAP_BEFORE, 0, 0]
    assert [p.t0 for p in placed.parts] == [NOW + 6 * S, NOW + 7 * S, NOW + 8 * S]


def test_a_device_that_sends_too_fast_is_continued_then_asked_to_wait(timeline, chunk):
    for _ in range(AHEAD // S + 2):  # the first ends now, the last begins a minute ahead
        assert untimed(timeline, chunk(), NOW).accepted == 250
    with pytest.raises(RefusalError) as refused:
        untimed(timeline, chunk(), NOW)
    assert (refused.value.code, refused.value.wait) == (429, 1)
    assert untimed(timeline, chunk(), NOW + S).accepted == 250


def test_a_pause_of_a_device_that_is_ahead_is_marked(timeline, chunk):
    for _ in range(20):
        untimed(timeline, chunk(), NOW)
    placed = untimed(timeline, chunk(), NOW + 10 * S)
    assert placed.parts[0].flags == GAP_BEFORE
    assert placed.t0 == NOW + 19 * S


def test_a_repeat_is_accepted_and_not_kept_twice(timeline, chunk):
    timeline.place(chunk(), timed=True, now=NOW)
    placed = timeline.place(chunk(), timed=True, now=NOW)
    assert (placed.accepted, placed.repeated, placed.parts, placed.conflicting) == (250, 250, (), 0)


def test_the_first_of_two_different_chunks_wins(timeline, chunk):
    timeline.place(chunk(), timed=True, now=NOW)
    placed = timeline.place(chunk(first=5), timed=True, now=NOW)
    assert (placed.accepted, placed.conflicting, placed.parts) == (0, 250, ())


def test_an_overlap_is_cut_on_the_sample_grid(timeline, chunk):
    timeline.place(chunk(), timed=True, now=NOW)
    later = chunk(t0=chunk().t0 + 600_000, first=1000)
    placed = timeline.place(later, timed=True, now=NOW)
    (part,) = placed.parts
    assert part.t0 == chunk().end
    assert part.samples.tolist() == later.samples[100:].tolist()
    assert (placed.accepted, placed.repeated) == (250, 100)
    again = timeline.place(later, timed=True, now=NOW)
    assert (again.parts, again.accepted, again.conflicting) == ((), 250, 0)


def test_a_chunk_around_another_keeps_both_its_ends(timeline, chunk):
    t0 = chunk().t0
    timeline.place(chunk(t0=t0 + 400_000, n=50), timed=True, now=NOW)
    placed = timeline.place(chunk(t0=t0), timed=True, now=NOW)
    assert [(p.t0 - t0, len(p.samples)) for p in placed.parts] == [(0, 100), (600_000, 100)]


def test_jitter_below_half_a_sample_is_no_overlap(timeline, chunk):
    timeline.place(chunk(), timed=True, now=NOW)
    placed = timeline.place(chunk(t0=chunk().end - 1900), timed=True, now=NOW)
    assert len(placed.parts[0].samples) == 250


def test_late_is_judged_by_the_devices_newest(timeline, chunk):
    t0 = chunk().t0
    assert not timeline.place(chunk(t0=t0), timed=True, now=NOW).late
    assert timeline.place(chunk(t0=t0 + 5 * S), timed=True, now=NOW).missing == 1000
    assert timeline.place(chunk(t0=t0 + 2 * S), timed=True, now=NOW).late
    assert not timeline.place(chunk(t0=t0 + 2 * S), timed=True, now=NOW).late  # a repeat
    assert not timeline.place(chunk(t0=t0, device_id="other"), timed=True, now=NOW).late


@pytest.mark.parametrize(
    ("t0", "reason"), [(NOW + FUTURE + 1, "ahead of its arrival"), (OLDEST - 1, "before the year")]
)
def test_a_clock_that_cannot_be_is_refused_and_not_remembered(timeline, chunk, t0, reason):
    with pytest.raises(RefusalError, match=reason) as refused:
        timeline.place(chunk(t0=t0), timed=True, now=NOW)
    assert (refused.value.code, refused.value.field) == (400, "t0")
    assert len(timeline) == 0
    assert timeline.place(chunk(t0=NOW + FUTURE), timed=True, now=NOW).accepted == 250


def test_the_number_of_devices_is_bounded_and_a_silent_one_gives_way(chunk):
    timeline = Timeline(2)
    for device_id, now in (("a", NOW), ("b", NOW + S), ("a", NOW + 2 * S)):
        timeline.place(chunk(device_id=device_id), timed=True, now=now)
    with pytest.raises(RefusalError) as refused:
        timeline.place(chunk(device_id="c"), timed=True, now=NOW + 3 * S)
    assert (refused.value.code, refused.value.wait) == (429, (IDLE - 2 * S) // S)
    timeline.place(chunk(device_id="c"), timed=True, now=NOW + S + IDLE)  # b was silent longest
    assert timeline.place(chunk(device_id="a"), timed=True, now=NOW + S + IDLE).repeated == 250
    assert len(timeline) == 2


def test_memory_of_a_device_is_bounded(timeline, chunk):
    for i in range(3 * REMEMBERED):
        timeline.place(chunk(t0=NOW - 4000 * S + i * 20_000, n=5), timed=True, now=NOW)
    assert len(timeline.following(b"wearable-1".ljust(32, b"\0")).starts) <= REMEMBERED
    repeat = chunk(t0=NOW - 4000 * S + (3 * REMEMBERED - 1) * 20_000, n=5)
    assert timeline.place(repeat, timed=True, now=NOW).repeated == 5


def test_recalled_chunks_are_known(timeline, chunk):
    timeline.recall(of([chunk()]), NOW)
    assert timeline.place(chunk(), timed=True, now=NOW).repeated == 250
    assert timeline.place(chunk(first=1), timed=True, now=NOW).conflicting == 250


@given(st.integers(1, 10_000), st.integers(100_000, 1_000_000))
def test_split_keeps_every_sample_on_its_grid_in_parts_of_a_second_at_most(n, fs):
    whole = Chunk("a", NOW, fs / 1000, np.arange(n).astype(np.int16), 3, GAP_BEFORE)
    parts = split(whole)
    assert np.array_equal(np.concatenate([p.samples for p in parts]), whole.samples)
    at = 0
    for part in parts:
        assert len(part.samples) * 1000 <= fs
        assert part.t0 == NOW + round(at * 1e9 / fs)
        at += len(part.samples)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 50)), max_size=30))
def test_whatever_arrives_each_moment_is_kept_once(posts):
    """Samples on one grid, in posts that repeat and overlap in any order: each instant once, with its value."""
    timeline = Timeline(1)
    kept = []
    for start, n in posts:
        t0 = NOW - 100 * S + start * 4000
        chunk = Chunk("a", t0, 250.0, np.arange(start, start + n).astype(np.int16))
        placed = timeline.place(chunk, timed=True, now=NOW)
        assert placed.accepted == n
        for part in placed.parts:
            kept += [((part.t0 - NOW + 100 * S) // 4000 + i, int(v)) for i, v in enumerate(part.samples)]
    sent = {i for start, n in posts for i in range(start, start + n)}
    assert sorted(kept) == [(i, i) for i in sorted(sent)]
