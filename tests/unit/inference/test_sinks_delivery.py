"""Delivery against real receivers that fail: at least once, in order, each sink by itself."""

import asyncio
import contextlib
import json
import random
import signal
import sys
import threading
from collections import Counter
from contextlib import asynccontextmanager

import pytest
import structlog

from holter.alert import AlertEvent, Kind, Priority, Transition
from holter.config import InferenceConfig
from holter.inference.outbox import REFUSED_FOR, Outbox
from holter.inference.sinks import build
from holter.inference.sinks.delivery import DeliveryMetrics, Timing, deliver
from holter.inference.sinks.sink import Sink, SinkRefusedError
from holter.inference.sinks.store import StoreSink
from holter.inference.sinks.webhook import WebhookSink
from holter.metrics import Metrics
from holter.store.protocol import StoreRefusedError, StoreUnavailableError

FAST = Timing(first=0.01, longest=0.05, longest_refused=0.1, poll=0.01, prune=0.02)
NOW = 1_800_000_000.0


def make_event(alert="a", ordinal=1, event=Transition.RAISED, priority=Priority.LOW):
    onset = 1_700_000_000_000_000
    return AlertEvent(f"{alert}-{ordinal}", alert, event, f"dev-{alert}", Kind.ECTOPY, priority, onset, onset, "why")


def make_life(alert, priority=Priority.LOW):
    return [make_event(alert, n, event, priority) for n, event in enumerate(Transition, 1)]


class Counted:
    """Metrics by name and sink."""

    def __init__(self):
        self.metrics = Metrics("cohort")
        self.delivery = DeliveryMetrics(self.metrics, ["webhook:ward"])

    def __call__(self, name, sink="webhook:ward"):
        return self.metrics.registry.get_sample_value(name, {"cohort": "cohort", "sink": sink})


@pytest.fixture
def counted():
    return Counted()


class Clock:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def box(tmp_path, clock):
    box = Outbox(tmp_path / "outbox.db", clock=clock)
    box.configure(["webhook:ward"])
    yield box
    box.close()


@asynccontextmanager
async def delivering(box, sinks, counted, **more):
    task = asyncio.create_task(deliver(box, sinks, counted.delivery, timing=FAST, rng=random.Random(1), **more))
    await asyncio.sleep(0)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def make_webhook(receiver, name="ward", **more):
    return WebhookSink(name, receiver.url, "st-mary", "cardiology", **more)


def first_of_each(ids):
    return list(dict.fromkeys(ids))


async def test_through_a_receiver_that_mostly_fails(box, make_receiver, until, counted):
    rng = random.Random(7)
    answers = [500, 429, (503, {"Retry-After": "0"}), "drop the connection", "never answer", 200, 200, 200]
    receiver = make_receiver(lambda body: rng.choice(answers))
    async with delivering(box, [make_webhook(receiver, timeout=0.15)], counted):
        for number in range(12):
            await asyncio.to_thread(box.commit, make_life(f"alert{number}"))
        await until(lambda: box.pending("webhook:ward") == 0)
    taken = first_of_each(receiver.taken)
    assert len(taken) == 36
    for number in range(12):
        order = [f"alert{number}-{n}" for n in (1, 2, 3)]
        assert [event for event in taken if event.startswith(f"alert{number}-")] == order
        assert first_of_each([event for event in receiver.seen if event.startswith(f"alert{number}-")]) == order
    bodies = {(headers["Holter-Event-Id"], body) for headers, body in receiver.requests}
    assert len(bodies) == 36, "the same id has the same bytes"
    assert all(json.loads(body)["id"] == event for event, body in bodies)
    assert counted("holter_alert_delivery_seconds_count") == 36
    assert counted("holter_alert_delivery_failures_total") >= len(receiver.requests) - len(receiver.taken) > 0
    assert counted("holter_alert_deliveries_given_up_total") == 0


async def test_a_dead_sink_delays_no_other(box, make_receiver, until, counted):
    class Hung:
        release = threading.Event()

        def write_alert(self, event):
            self.release.wait(60)

    dead, good = make_receiver(lambda body: "never answer"), make_receiver()
    sinks = [StoreSink(Hung()), make_webhook(dead, "dead"), make_webhook(good)]
    box.configure([sink.name for sink in sinks])
    async with delivering(box, sinks, counted):
        box.commit([event for number in range(40) for event in make_life(str(number))])
        await until(lambda: len(good.taken) == 120 and box.pending("webhook:ward") == 0)
        assert len(dead.requests) == sinks[1].width
        assert (box.pending("store"), box.pending("webhook:dead")) == (120, 120)
        Hung.release.set()


async def test_a_sink_that_failed_is_asked_one_at_a_time_and_recovers(box, make_receiver, until, counted):
    up = False
    most = now = 0

    class Probe(Sink):
        name = "webhook:ward"

        def __init__(self):
            self.taken = []

        async def send(self, event):
            nonlocal most, now
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.001)
            now -= 1
            if not up:
                raise ConnectionError("down")
            self.taken.append(event.id)

    probe = Probe()
    box.commit([make_event("first")])
    async with delivering(box, [probe], counted):
        await until(lambda: counted("holter_alert_delivery_failures_total") > 3)
        most = 0
        box.commit([make_event(f"low{n}") for n in range(30)] + [make_event("high", priority=Priority.HIGH)])
        await until(lambda: counted("holter_alert_delivery_failures_total") > 10)
        assert most == 1
        up = True
        await until(lambda: box.pending(probe.name) == 0)
    assert most > 1
    assert sorted(probe.taken) == sorted(["first-1", "high-1", *(f"low{n}-1" for n in range(30))])


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from holter.alert import AlertEvent, Kind, Priority, Transition
from holter.inference.outbox import Outbox
from holter.inference.sinks.delivery import DeliveryMetrics, deliver
from holter.inference.sinks.webhook import WebhookSink
from holter.metrics import Metrics

def event(alert):
    return AlertEvent(f"{alert}-1", alert, Transition.RAISED, "dev", Kind.ASYSTOLE, Priority.HIGH, 1, 2, "no beat")

class DiesBeforeTheRecord(Outbox):
    def delivered(self, id, sink):
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    box = DiesBeforeTheRecord(Path(sys.argv[1]))
    box.configure(["webhook:ward"])
    box.commit([event("a")], cursor=1)
    if sys.argv[3] == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    sinks = [WebhookSink("ward", sys.argv[2], "st-mary", "cardiology")]
    await deliver(box, sinks, DeliveryMetrics(Metrics("c"), []))

asyncio.run(main())
"""


@pytest.mark.parametrize(("moment", "times"), [("before", 1), ("after", 2)])
async def test_kill_9_around_a_delivery(tmp_path, make_receiver, until, counted, moment, times):
    receiver = make_receiver()
    path = tmp_path / "outbox.db"
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, path, receiver.url, moment)
    assert await child.wait() == -signal.SIGKILL
    box = Outbox(path)
    async with delivering(box, [make_webhook(receiver)], counted):
        await until(lambda: len(receiver.taken) == times and box.pending("webhook:ward") == 0)
    box.close()
    assert receiver.taken == ["a-1"] * times
    assert len({body for _, body in receiver.requests}) == 1


async def test_refused_events_hold_up_nothing_and_end_after_a_day(box, clock, make_receiver, until, counted):
    receiver = make_receiver(lambda body: 400 if json.loads(body)["event"] == "raised" else 200)
    box.commit([*make_life("a"), make_event("b")])
    with structlog.testing.capture_logs() as logs:
        async with delivering(box, [make_webhook(receiver)], counted, clock=clock):
            await until(lambda: box.pending("webhook:ward") == 1)
            assert receiver.taken == ["a-2", "a-3"]
            assert counted("holter_alert_deliveries_given_up_total") == 1
            before = len(receiver.requests)
            clock.now += REFUSED_FOR / 2
            await until(lambda: len(receiver.requests) > before)
            clock.now += REFUSED_FOR / 2 + 1
            await until(lambda: box.pending("webhook:ward") == 0)
            await until(lambda: counted("holter_alert_deliveries_given_up_total") == 2)
    given_up = [log for log in logs if log["event"] == "alert_delivery_given_up"]
    assert [(log["event_id"], log["sink"]) for log in given_up] == [("a-1", "webhook:ward"), ("b-1", "webhook:ward")]


async def test_retry_after_is_waited_for(box, clock, make_receiver, until, counted):
    answers = iter([(503, {"Retry-After": "120"})])
    receiver = make_receiver(lambda body: next(answers, 200))
    box.commit([make_event()])
    async with delivering(box, [make_webhook(receiver)], counted, clock=clock):
        await until(lambda: counted("holter_alert_delivery_failures_total") == 1)
        await until(lambda: not box.due("webhook:ward", NOW + 119, 1))
        assert len(box.due("webhook:ward", NOW + 120, 1)) == 1
        clock.now += 120
        await until(lambda: receiver.taken == ["a-1"])


async def test_the_store_is_a_sink_that_outlives_its_outages(box, until, counted):
    written = []
    outcomes = iter([StoreUnavailableError("write_alert: down"), StoreRefusedError("write_alert: no rights"), None])

    class Store:
        def write_alert(self, event):
            if (fault := next(outcomes, None)) is not None:
                raise fault
            written.append(event)

    box.configure(["store"])
    box.commit([make_event()])
    async with delivering(box, [StoreSink(Store())], counted):
        await until(lambda: box.pending("store") == 0)
    assert written == [make_event()]
    assert counted("holter_alert_delivery_failures_total", "store") == 2


async def test_a_sink_with_a_bug_ends_nothing(box, make_receiver, until, counted):
    box.configure(["broken", "webhook:ward"])

    class Broken(Sink):
        name = "broken"
        repeat_every = 0.01

        async def send(self, event):
            raise ZeroDivisionError("a bug")

        async def repeat(self):
            raise SinkRefusedError("another")

    receiver = make_receiver()
    async with delivering(box, [Broken(), make_webhook(receiver)], counted) as task:
        await until(lambda: counted("holter_alert_delivery_failures_total", "broken"))
        box.commit([make_event()])
        await until(lambda: receiver.taken and box.pending("broken"))
        assert not task.done()


async def test_stopping_closes_the_sinks_and_a_new_start_goes_on(box, make_receiver, until, counted):
    hung, good = make_receiver(lambda body: "never answer"), make_receiver()
    sink = make_webhook(hung)
    box.commit([make_event()])
    async with delivering(box, [sink], counted):
        await until(lambda: hung.requests)
    async with delivering(box, [make_webhook(good)], counted):
        await until(lambda: good.taken == ["a-1"])
        await until(lambda: box.pending(sink.name) == 0)


def test_backoff_grows_to_its_bounds():
    timing, rng = Timing(), random.Random(3)
    for attempts in (*range(1, 20), 10_000):
        for refused, longest in ((False, 30), (True, 600)):
            full = min(longest, 0.5 * 2 ** min(attempts - 1, 30))
            waits = [timing.wait(attempts, rng, refused=refused) for _ in range(50)]
            assert full / 2 <= min(waits) < max(waits) <= full


async def test_the_sinks_of_a_cohort(tmp_path, box):
    (tmp_path / "ward").mkdir()
    (tmp_path / "ward" / "secret").write_text("s")
    config = InferenceConfig.model_validate(
        {
            "cohort": "cardiology",
            "namespace": "st-mary",
            "webhooks": [{"name": "ward", "url": "http://localhost:1"}, {"name": "pager", "url": "http://localhost:2"}],
            "alertmanager": "http://localhost:9093",
        }
    )
    for folder in (tmp_path, None):
        sinks = build(config, object(), box, folder)
        assert [sink.name for sink in sinks] == ["store", "webhook:ward", "webhook:pager", "alertmanager"]
        assert Counter(sink.repeat_every for sink in sinks) == {None: 3, 60.0: 1}
        for sink in sinks:
            sink.close()
