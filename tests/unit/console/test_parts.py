"""The pure parts: heart rate, ward, book, history, wire, what waits for a browser, tokens."""

import asyncio
import math
from dataclasses import replace

import numpy as np
import orjson
import pytest

from holter.alert import Acknowledgement, Kind, Priority, Transition
from holter.chunk import MICROSECONDS, Chunk
from holter.console import wire
from holter.console.access import Right, TokenFileError
from holter.console.book import Book
from holter.console.client import BATCHES, Outgoing
from holter.console.history import KEPT, History
from holter.console.rate import heart_rate
from holter.console.ward import GONE_AFTER, Ward, rate, rates
from holter.sim.ward import ward as simulated

# Heart rate.


@pytest.mark.parametrize("fs", [130.061, 250.0, 512.6, 1000.0])
@pytest.mark.parametrize("per_minute", [35, 60, 72, 140, 215])
def test_the_rate_of_regular_beats(beats, per_minute, fs):
    assert heart_rate(beats(per_minute, 10, fs), fs) == pytest.approx(per_minute, rel=0.02)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("rhythm", "low", "high"), [("resting", 55, 85), ("vt", 165, 195), ("af", 75, 125)])
def test_the_rate_of_simulated_patients(rhythm, low, high, seed):
    (bed,) = simulated((rhythm,), base=0, onset=0.0, seed=seed)
    chunks = bed.patient.chunks(0)
    samples = np.concatenate([next(chunks).samples for _ in range(20)])
    assert low < heart_rate(samples, 250.0) < high


def test_no_rate_where_there_is_none(beats):
    noise = np.random.default_rng(2).normal(0, 6, 2500).astype(np.int16)
    assert heart_rate(noise, 250.0) is None
    assert heart_rate(np.zeros(2500, np.int16), 250.0) is None
    assert heart_rate(beats(70, 2), 250.0) is None, "too short"
    assert heart_rate(np.concatenate([beats(70, 5), noise[:1250]]), 250.0) is None, "the last beat is long past"
    assert heart_rate(np.full(2500, -32767, np.int16), 250.0) is None


# Wire.


def test_a_batch_comes_back(chunk):
    chunks = [chunk("a.b-c_d", samples=np.array([-32767, 0, 32767], np.int16), flags=1), chunk("x" * 32, ago=5)]
    back = wire.parse(wire.batch(chunks))
    assert [(c.device_id, c.t0, c.fs, c.flags, c.samples.tolist()) for c in back] == [
        (c.device_id, c.t0, c.fs, c.flags, c.samples.tolist()) for c in chunks
    ]
    assert wire.batch([]) == b""
    with pytest.raises(ValueError, match="70000 are too many"):
        wire.record(Chunk("a", 0, 250.0, np.zeros(70_000, np.int16)))


def test_what_is_undefined_is_null():
    assert orjson.loads(wire.message("x", a=math.nan)) == {"type": "x", "a": None}


# Ward.


def test_a_repeated_or_late_chunk_is_not_shown_again(chunk, now):
    ward = Ward()
    first, second, third = chunk(ago=2), chunk(ago=1), chunk(ago=0)
    assert ward.hear([first, second], now) == [first, second]
    assert ward.hear([first, second, third], now) == [third]
    assert len(ward.recent()["bed1"]) == 3


def test_a_clock_that_was_set_back_begins_anew(chunk, now):
    ward = Ward()
    ward.hear([chunk(ago=-7200), chunk(ago=-7199)], now)
    assert ward.offset("bed1") < 0
    later = [chunk(ago=1), chunk(ago=0)]
    assert ward.hear(later, now) == later
    assert ward.offset("bed1") == 0


def test_the_rate_is_of_what_came_without_a_gap(chunk, beats, now):
    train = beats(75, 12).reshape(12, 250)
    whole = [chunk(ago=11 - i, samples=train[i]) for i in range(12)]
    assert rate(whole) == pytest.approx(75, rel=0.03)
    assert rate([*whole[:6], *whole[7:9]]) is None, "two seconds after a gap"
    ward = Ward()
    ward.hear(whole, now)
    (told,) = ward.describe(rates(ward.recent()))
    assert (told["id"], told["rate"], told["leadOff"]) == ("bed1", 75, False)
    assert told["newest"] == now / 1000


def test_who_is_long_silent_leaves_unless_an_alert_is_open(now):
    ward = Ward()
    for device in ("old", "watched"):
        ward.known(device, now - GONE_AFTER - 1)
    ward.known("new", now)
    ward.leave(now, {"watched"})
    assert set(ward.patients) == {"watched", "new"}
    assert ward.earliest(now + 5) == now


# Book.


def test_events_in_any_order_make_one_alert(event):
    events = [event(number=n, ago=60 - 10 * n) for n in range(3)]
    events.append(event(number=3, ago=20, event=Transition.CLEARED))
    told = []
    for order in (events, events[::-1]):
        book = Book()
        assert book.take(order) == {"ab1"}
        assert book.take(order) == set(), "known ones change nothing"
        told.append(book.describe("ab1", lambda _: 0))
    assert told[0] == told[1]
    assert told[0]["active"] is False
    assert told[0]["delay"] == 3.5
    assert told[0]["raised"] == events[0].decided_at / 1000


def test_an_acknowledgement_holds_until_it_asks_again(event, now):
    book = Book()
    book.take([event()])
    seen = Acknowledgement("ab1", "bed1", "R. Okafor", "at the bedside", now - 30 * MICROSECONDS)
    assert book.acknowledge([seen]) == {"ab1"}
    assert book.acknowledge([seen]) == set()
    assert book.describe("ab1", lambda _: 0)["acknowledged"] is True
    book.take([event(number=1, ago=20, priority=Priority.LOW)])
    assert book.describe("ab1", lambda _: 0)["acknowledged"] is True, "a lesser update asks nothing"
    book.take([event(number=2, ago=10)])
    assert book.describe("ab1", lambda _: 0)["acknowledged"] is False, "high again, with a new onset"
    book.acknowledge([replace(seen, at=now)])
    told = book.describe("ab1", lambda _: 0)
    assert told["acknowledged"] is True
    assert [ack["by"] for ack in told["acks"]] == ["R. Okafor"] * 2


def test_a_wrong_device_clock_neither_hides_nor_unsays_an_acknowledgement(event, now):
    hour = 3600 * MICROSECONDS
    book = Book()
    book.take([event(decided_at=now + hour, onset=now + hour)])
    book.acknowledge([Acknowledgement("ab1", "bed1", "a", "", now)])
    assert book.describe("ab1", lambda _: -hour)["acknowledged"] is True, "its clock is an hour ahead"
    assert book.describe("ab1", lambda _: 0)["acknowledged"] is False


def test_an_acknowledgement_may_come_before_its_alert(event, now):
    book = Book()
    assert book.acknowledge([Acknowledgement("ab1", "bed1", "a", "", now)]) == set()
    book.take([event()])
    assert book.describe("ab1", lambda _: 0)["acknowledged"] is True


def test_what_was_cleared_long_ago_goes_and_what_is_open_stays(event, now):
    book = Book()
    book.take([event("aa", ago=900), event("bb", ago=900), event("bb", 1, ago=800, event=Transition.CLEARED)])
    book.take([event("cc", ago=90), event("cc", 1, ago=80, event=Transition.CLEARED)])
    assert book.latest(1) == ["aa", "cc"]
    assert book.active_devices() == {"bed1"}
    book.prune(now - 600 * MICROSECONDS)
    assert set(book.alarms) == {"aa", "cc"}


def test_what_a_browser_is_told_of_an_alert(event):
    book = Book()
    book.take([event(kind=Kind.NO_DATA, score=1.5, threshold=1.0, model_revision=7)])
    told = book.describe("ab1", lambda _: 0)
    assert (told["technical"], told["priority"], told["rank"], told["revision"]) == (True, "high", 0, 7)
    assert (told["score"], told["threshold"], told["acknowledged"]) == (1.5, 1.0, False)
    orjson.dumps(told)


# History.


def test_history_is_by_patient_bounded_and_in_order(windows):
    history = History()
    for ago in (12.0, 7.0, 7.0, 2.0):
        history.take(windows(("a", "b"), ago))
    told = history.describe("b")
    assert len(told["ends"]) == 3
    assert told["ends"] == sorted(told["ends"])
    assert told["features"]["width"] == [1.0] * 3
    assert orjson.loads(orjson.dumps(told))["features"]["tilt"] == [None] * 3
    assert history.newest("a").quality == pytest.approx(0.9)
    history.take(windows(("a",), 2.0 - KEPT / MICROSECONDS))
    assert len(history.describe("a")["ends"]) == 2, "half an hour is kept"
    history.forget({"a"})
    assert history.newest("b") is None
    assert history.describe("nobody")["ends"] == []
    assert history.per_device(200) == 360
    assert history.per_device(1_000_000) == 12


# What waits for a browser.


async def _taken(outgoing: Outgoing, count: int) -> list:
    stream = outgoing.messages()
    return [await asyncio.wait_for(anext(stream), 5) for _ in range(count)]


async def test_a_slow_browser_loses_old_ecg_and_no_alert():
    outgoing = Outgoing()
    for n in range(BATCHES + 5):
        outgoing.batch(bytes([n]))
    for n in range(1000):
        outgoing.alerts({f"{n}": f"alert {n}"})
    outgoing.alerts({"7": "alert 7, acknowledged"})
    outgoing.figures("old")
    outgoing.figures("new")
    sent = await _taken(outgoing, 1000 + 1 + BATCHES)
    assert set(sent[:1000]) == {*(f"alert {n}" for n in range(1000) if n != 7), "alert 7, acknowledged"}
    assert sent[1000:] == ["new", *(bytes([n]) for n in range(5, BATCHES + 5))]
    assert outgoing.dropped == 5


async def test_it_waits_until_there_is_something():
    outgoing = Outgoing()
    waiting = asyncio.create_task(_taken(outgoing, 1))
    await asyncio.sleep(0)
    assert not waiting.done()
    outgoing.figures("x")
    assert await waiting == ["x"]


# Tokens.


def test_what_each_token_allows(access, tokens):
    view, acknowledge = tokens
    assert access.rights(view) == {Right.VIEW}
    assert access.rights(acknowledge) == {Right.VIEW, Right.ACKNOWLEDGE}
    for wrong in ("", view[:-1], view + "x", "ü", "\udcff"):
        assert access.rights(wrong) == frozenset()


def test_tokens_are_read_anew_and_a_broken_folder_changes_nothing(access, token_folder, tokens):
    (token_folder / "view").write_text("another-view-token")
    assert access.refresh()
    assert not access.refresh()
    assert access.rights(tokens[0]) == frozenset()
    assert access.rights("another-view-token") == {Right.VIEW}
    for broken, words in (("short", "at least 16"), (tokens[1], "are the same")):
        (token_folder / "view").write_text(broken)
        with pytest.raises(TokenFileError, match=words):
            access.refresh()
    (token_folder / "view").unlink()
    with pytest.raises(TokenFileError, match="view: No such file"):
        access.refresh()
    assert access.rights("another-view-token") == {Right.VIEW}
