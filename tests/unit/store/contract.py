"""What every store does. A test module makes a class of it that has the fixtures `store` and `other`.

`other` is a second instance on the same data, as another process would have it.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from holter.alert import Acknowledgement, AlertEvent, Kind, Priority, Transition
from holter.chunk import GAP_BEFORE, LEAD_OFF, SHARDS, Chunk, shard_of
from holter.store.protocol import Baseline, Store, Strip, Written
from holter.window import WindowScores

T = 1_700_000_000_000_000
SECOND = 1_000_000
ALL = range(SHARDS)


def chunk(device: str = "a", t0: int = T, fs: float = 250.0, n: int | None = None, seed: int = 0, **more) -> Chunk:
    n = int(fs) if n is None else n
    samples = np.random.default_rng((seed, t0)).integers(-32767, 32768, n).astype(np.int16)
    return Chunk(device, t0, fs, samples, **more)


def plain(chunks: Sequence[Chunk]) -> set[tuple]:
    return {(c.device_id, c.t0, c.fs, c.seq, c.flags, c.arrived, tuple(c.samples.tolist())) for c in chunks}


def drain(store: Store, cursor: int, shards=ALL, limit: int = 50_000) -> tuple[list[Chunk], int]:
    """Read pages until nothing new comes; also that this ends, and that an unchanged cursor has no chunks."""
    found: list[Chunk] = []
    for _ in range(10_000):
        page = store.read_chunks(shards, cursor, limit)
        found += page.chunks
        if page.cursor == cursor:
            assert page.chunks == ()
            return found, cursor
        assert page.cursor > cursor
        cursor = page.cursor
    raise AssertionError("pages without end")


def just_before_now(store: Store) -> int:
    return store.cursor_at(time.time_ns() // 1000 - 2 * SECOND)


def windows(devices: Sequence[str], ends: Sequence[int], names=("rate", "width"), offset: float = 0.0) -> WindowScores:
    n = len(devices)
    base = np.arange(n, dtype=np.float32) / 7 + np.float32(offset)
    return WindowScores(
        device_ids=tuple(devices),
        ends=np.array(ends, dtype=np.int64),
        names=tuple(names),
        features=np.stack([base * (i + 1) for i in range(len(names))], axis=1).astype(np.float32),
        ordered=base,
        forest=base + 1,
        score=base + 2,
        quality=base / 100,
        flagged=np.arange(n) % 2 == 0,
        alerted=np.arange(n) % 3 == 0,
        revision=np.arange(n, dtype=np.int32),
    )


def assert_same(left: WindowScores, right: WindowScores) -> None:
    assert left.device_ids == right.device_ids
    assert left.names == right.names
    columns = ("ends", "features", "ordered", "forest", "score", "quality", "flagged", "alerted", "revision")
    for name in columns:
        theirs, ours = getattr(left, name), getattr(right, name)
        assert theirs.dtype == ours.dtype, name
        np.testing.assert_array_equal(theirs, ours, name)


def alert(number: int = 0, **more) -> AlertEvent:
    event = AlertEvent(
        id=f"abc-{number}",
        alert_id="abc",
        event=Transition.RAISED,
        device_id="a.b-c_d",
        kind=Kind.VENTRICULAR_TACHYCARDIA,
        priority=Priority.HIGH,
        onset=T - 7 * SECOND + 1,
        decided_at=T + number,
        reason="wide-complex rhythm 182/min for 7 s",
    )
    return replace(event, **more)


class Contract:
    def test_chunks_come_back_exactly(self, store: Store):
        written = [
            chunk("a.b-c_d", T + 1, fs=250, seq=2**32 - 1, flags=LEAD_OFF | GAP_BEFORE, arrived=T + 1_234_567),
            chunk("0", T + 123_457, fs=100, n=1),
            chunk("-" * 32, T + 5, fs=1000, seq=1),
            chunk("x", T, fs=360, arrived=1),
            chunk("y", T + 999_999, fs=333.333, n=333),
            chunk("z", T - 1, fs=128.5, n=77),
        ]
        cursor = just_before_now(store)
        assert store.write_chunks(written) == Written(stored=6, conflicts=0)
        found, _ = drain(store, cursor)
        assert plain(found) == plain(written)
        assert len(found) == len(written)
        assert {c.samples.dtype for c in found} == {np.dtype(np.int16)}
        for c in written:
            assert plain(store.read_span(c.device_id, c.t0, c.end)) == plain([c])

    def test_nothing_stored_nothing_found(self, store: Store):
        assert store.write_chunks([]) == Written(0, 0)
        assert drain(store, store.cursor_at(0)) == ([], store.cursor_at(0))
        assert store.read_span("a", 0, T) == ()
        assert store.read_alerts(0) == ()
        assert store.read_acks(0) == ()
        assert store.read_baselines(ALL) == ()
        assert store.read_strip("abc") is None
        assert store.list_devices(0) == ()
        empty = store.read_windows(0, 10, 0)
        assert (len(empty), empty.features.shape[0], empty.ends.dtype) == (0, 0, np.int64)

    def test_a_repeated_chunk_is_the_same_chunk(self, store: Store):
        cursor = just_before_now(store)
        c = chunk()
        assert store.write_chunks([c, c]) == Written(stored=2, conflicts=0)
        assert store.write_chunks([c]) == Written(stored=1, conflicts=0)
        assert plain(drain(store, cursor)[0]) == plain([c])
        assert len(store.read_span("a", T, T + SECOND)) == 1

    def test_samples_that_arrive_again_are_the_same_chunk(self, store: Store):
        c = chunk(arrived=T + SECOND)
        assert store.write_chunks([c]) == Written(1, 0)
        assert store.write_chunks([replace(c, arrived=T + 9 * SECOND)]) == Written(1, 0)
        assert plain(store.read_span("a", T, T + SECOND)) == plain([c])

    def test_the_first_write_wins_and_the_second_is_counted(self, store: Store):
        first, second, good = chunk(seed=1), chunk(seed=2), chunk(t0=T + SECOND)
        assert store.write_chunks([first]) == Written(1, 0)
        assert store.write_chunks([second, good]) == Written(stored=1, conflicts=1)
        assert plain(store.read_span("a", T, T + 2 * SECOND)) == plain([first, good])
        third, fourth = chunk("b", seed=3), chunk("b", seed=4)
        assert store.write_chunks([third, fourth]) == Written(stored=1, conflicts=1)
        assert plain(store.read_span("b", T, T + SECOND)) == plain([third])

    def test_another_rate_with_the_same_samples_is_a_conflict(self, store: Store):
        c = chunk(n=100)
        assert store.write_chunks([c, replace(c, fs=100.0)]) == Written(1, 1)

    def test_pages_follow_the_cursor_and_are_bounded(self, store: Store):
        cursor = just_before_now(store)
        written = [chunk(f"d{i % 5}", T + i * SECOND, n=20) for i in range(60)]
        for i in range(0, 60, 6):
            store.write_chunks(written[i : i + 6])
        page = store.read_chunks(ALL, cursor, limit=12)
        assert 0 < len(page.chunks) < 60
        found, end = drain(store, cursor, limit=12)
        assert plain(found) == plain(written)
        late = chunk("late", T - 3600 * SECOND)
        store.write_chunks([late])
        again, _ = drain(store, end)
        assert plain([late]) <= plain(again) <= plain([*written, late])

    def test_a_page_holds_the_shards_asked_for(self, store: Store):
        cursor = just_before_now(store)
        written = [chunk(f"d{i}", T, n=5) for i in range(30)]
        store.write_chunks(written)
        mine = {shard_of("d0"), shard_of("d7")}
        assert plain(drain(store, cursor, mine)[0]) == plain([c for c in written if c.shard in mine])
        assert drain(store, cursor, ())[0] == []

    def test_a_cursor_of_now_leaves_out_nothing_that_comes(self, store: Store, other: Store):
        store.write_chunks([chunk("before")])
        cursor = other.cursor_at(time.time_ns() // 1000)
        store.write_chunks([chunk("after")])
        assert "after" in {c.device_id for c in drain(other, cursor)[0]}
        assert "before" in {c.device_id for c in drain(other, just_before_now(other))[0]}

    def test_event_time_may_be_far_from_now(self, store: Store):
        cursor = just_before_now(store)
        written = [
            chunk("past", T - 40 * 365 * 86400 * SECOND),
            chunk("now", time.time_ns() // 1000),
            chunk("ahead", time.time_ns() // 1000 + 30 * 86400 * SECOND),
        ]
        store.write_chunks(written)
        assert plain(drain(store, cursor)[0]) == plain(written)

    def test_no_chunk_is_missed_while_several_write(self, store: Store, other: Store):
        cursor = just_before_now(store)
        # Each writer has its own devices, two of them late.
        batches = [
            [[chunk(f"w{w}-{d}", T - w * 1800 * SECOND + i * SECOND, n=10) for d in range(3)] for i in range(12)]
            for w in range(4)
        ]
        with ThreadPoolExecutor(4) as pool:
            writers = [
                pool.submit(lambda mine=mine, to=(store, other)[w % 2]: [to.write_chunks(b) for b in mine])
                for w, mine in enumerate(batches)
            ]
            found: list[Chunk] = []
            while not all(writer.done() for writer in writers):
                page = store.read_chunks(ALL, cursor, limit=20)
                found += page.chunks
                cursor = page.cursor
            for writer in writers:
                writer.result()
        found += drain(store, cursor, limit=20)[0]
        assert plain(found) == plain([c for mine in batches for batch in mine for c in batch])

    def test_a_span_holds_what_overlaps_it(self, store: Store):
        written = [chunk(t0=T + i * SECOND) for i in (2, 0, 3, 1)]
        store.write_chunks([*written, chunk("b")])
        by_time = sorted(written, key=lambda c: c.t0)
        assert [c.t0 for c in store.read_span("a", T, T + 4 * SECOND)] == [c.t0 for c in by_time]
        assert plain(store.read_span("a", T + 1_500_000, T + 2 * SECOND + 1)) == plain(by_time[1:3])
        assert plain(store.read_span("a", T + SECOND, T + 2 * SECOND)) == plain(by_time[1:2])
        assert store.read_span("a", T + 4 * SECOND, T + 9 * SECOND) == ()

    @pytest.mark.parametrize(
        "name", ['a" or true or "', "a\\", '") |> drop()', "${a}", "a' OR '1'='1", "a,b c=d", "\n"]
    )
    def test_a_strange_name_finds_nothing_and_harms_nothing(self, store: Store, name: str):
        store.write_chunks([chunk("a")])
        store.write_strip(Strip("abc", chunk("a")))
        assert store.read_span(name, 0, T + SECOND) == ()
        assert store.read_strip(name) is None
        assert len(store.read_span("a", T, T + 1)) == 1

    def test_scores_come_back_exactly(self, store: Store):
        scores = windows(["a", "a", "b.c-d_e"], [T, T + 5 * SECOND, T + 1], names=("z", "rr ms", "a,b=c\\d", "width"))
        scores.features[0, 0] = np.nan
        scores.features[:, 1] = np.nan
        scores.features[1, 2] = np.float32(1e-38)
        scores.features[2, 2] = np.float32(-3.4e38)
        scores.forest[:] = np.nan
        store.write_scores(scores)
        assert_same(store.read_windows(T, 10, seed=0), scores)

    def test_an_infinite_feature_is_undefined(self, store: Store):
        scores = windows(["a"], [T])
        scores.features[0] = [np.inf, -np.inf]
        store.write_scores(scores)
        assert np.isnan(store.read_windows(T, 1, 0).features).all()

    def test_the_last_write_of_a_window_wins(self, store: Store):
        store.write_scores(windows(["a"], [T]))
        again = windows(["a"], [T], offset=4)
        store.write_scores(again)
        assert_same(store.read_windows(T, 10, 0), again)

    def test_windows_of_two_versions_share_one_table(self, store: Store):
        old, new = windows(["a"], [T], names=("x", "y")), windows(["a"], [T + SECOND], names=("y", "w"), offset=1)
        store.write_scores(old)
        store.write_scores(new)
        both = store.read_windows(T, 10, 0)
        assert both.names == ("x", "y", "w")
        np.testing.assert_array_equal(both.features, np.float32([[0, 0, np.nan], [np.nan, 1, 2]]))
        assert store.read_windows(T + 1, 10, 0).ends.tolist() == [T + SECOND]

    def test_no_windows_are_written(self, store: Store):
        store.write_scores(windows([], []))
        assert store.list_devices(0) == ()

    def test_devices_are_those_with_windows_since(self, store: Store):
        store.write_scores(windows(["b", "a", "c"], [T, T + 1, T - 1]))
        assert store.list_devices(T) == ("a", "b")
        assert store.list_devices(T + 2) == ()

    def test_each_device_has_its_share_chosen_by_seed(self, store: Store, other: Store):
        grid = [T + i * 5 * SECOND for i in range(90)]
        for device, some in (("a", grid), ("b", grid), ("few", grid[:6]), ("odd", [t + 1 for t in grid[:30]])):
            store.write_scores(windows([device] * len(some), some))
        found = store.read_windows(T, per_device=12, seed=7)
        counts = {device: found.device_ids.count(device) for device in ("a", "b", "few", "odd")}
        assert counts == {"a": 12, "b": 12, "few": 6, "odd": 12}
        assert list(zip(found.device_ids, found.ends.tolist(), strict=True)) == sorted(
            zip(found.device_ids, found.ends.tolist(), strict=True)
        )
        assert_same(other.read_windows(T, 12, seed=7), found)
        assert store.read_windows(T, 12, seed=8).ends.tolist() != found.ends.tolist()
        # Spread over the time there is, and each row its own.
        ends = found.ends[np.array(found.device_ids) == "a"]
        assert ends.min() < grid[40]
        assert ends.max() > grid[50]
        expected = (ends - T) // (5 * SECOND) / np.float64(7)
        np.testing.assert_allclose(found.ordered[np.array(found.device_ids) == "a"], expected, rtol=1e-6)
        assert len(store.read_windows(grid[88], 12, 7)) == 4
        # Few of many: by the minute.
        few = store.read_windows(T, 5, seed=7)
        assert [few.device_ids.count(device) for device in ("a", "b", "few", "odd")] == [5, 5, 5, 5]
        assert_same(other.read_windows(T, 5, seed=7), few)
        assert few.ends[:5].tolist() == few.ends[5:10].tolist()

    def test_alerts_come_back_exactly_and_once(self, store: Store):
        events = [
            alert(0),
            alert(1, event=Transition.UPDATED, score=0.1, threshold=1e300, model_revision=7),
            alert(2, event=Transition.CLEARED, priority=Priority.LOW, score=0.0, threshold=-0.5),
            alert(2, id="abd-0", alert_id="abd", event=Transition.CLEARED, kind=Kind.NO_DATA),
            alert(3, reason="quotes \" ' back\\slash, comma=equals\nline two\ttab µ – 心 ${x}\\"),
            alert(4, reason=""),
        ]
        for event in reversed(events):
            store.write_alert(event)
        store.write_alert(events[1])
        assert store.read_alerts(T) == tuple(sorted(events, key=lambda e: (e.decided_at, e.id)))
        assert store.read_alerts(T + 3) == tuple(events[4:])

    def test_two_workers_alerts_of_one_moment_are_both_kept(self, store: Store):
        first, second = alert(), alert(id="abd-0", alert_id="abd", onset=T - 1)
        store.write_alert(first)
        store.write_alert(second)
        assert store.read_alerts(T) == (first, second)

    def test_acknowledgements_come_back(self, store: Store):
        acks = [
            Acknowledgement("abc", "a", "nurse = 7, ward", "", T),
            Acknowledgement("abd", "a", 'x"', "seen\nit", T + 1),
        ]
        for ack in (*acks, acks[0]):
            store.write_ack(ack)
        assert store.read_acks(T) == tuple(acks)
        assert store.read_acks(T + 1) == tuple(acks[1:])

    def test_a_strip_comes_back_whole(self, store: Store):
        strip = Strip("abc", chunk("a.b-c_d", T + 3, n=5000, seq=9, flags=LEAD_OFF))
        store.write_strip(strip)
        store.write_strip(strip)
        found = store.read_strip("abc")
        assert found is not None
        assert plain([found.chunk]) == plain([strip.chunk])
        assert store.read_strip("ab") is None
        assert store.read_span("a.b-c_d", T, T + SECOND) == ()

    def test_the_newest_baseline_of_each_device(self, store: Store):
        a, b = Baseline("a", T + 5, bytes(range(256)) * 64), Baseline("b", T - 400 * 86400 * SECOND, b"")
        b = replace(b, payload=b"\0")
        store.write_baselines([a, b])
        store.write_baselines([replace(a, at=T, payload=b"older")])
        store.write_baselines([])
        assert store.read_baselines(ALL) == (a, b)
        assert store.read_baselines([shard_of("a")]) == (a,)
        newer = replace(a, at=T + 6, payload=b"newer")
        store.write_baselines([newer])
        assert store.read_baselines(ALL) == (newer, b)
        assert store.read_baselines([]) == ()

    def test_pruning_leaves_what_is_young(self, store: Store):
        now = time.time_ns() // 1000
        store.write_chunks([chunk(t0=now)])
        store.write_scores(windows(["a"], [now]))
        assert store.prune(now - 3600 * SECOND) == 0
        assert len(store.read_span("a", now, now + SECOND)) == len(store.read_windows(0, 1, 0)) == 1

    def test_it_answers(self, store: Store):
        store.health()
