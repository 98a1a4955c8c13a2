"""When a refit is started; the clock is the test's."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from holter_operator.local.cron import Schedule, due
from holter_operator.local.specs import CronSpec, ProcessSpec

JOB = ProcessSpec("refit", ("/bin/true",))


def cron(schedule="0 */4 * * *", timezone="Etc/UTC", *, suspend=False):
    return CronSpec(schedule, timezone, suspend, JOB)


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("spec", "after", "learning", "expected"),
    [
        (cron(), "2026-03-01T03:59:59", False, "2026-03-01T04:00:00"),
        (cron(), "2026-03-01T04:00:00", False, "2026-03-01T08:00:00"),
        (cron(), "2026-03-01T01:00:00", True, "2026-03-01T01:10:00"),
        (cron(), "2026-03-01T03:55:00", True, "2026-03-01T04:00:00"),
        (cron("30 2 * * *", "Europe/Berlin"), "2026-01-10T00:00:00", False, "2026-01-10T01:30:00"),
        (cron("30 2 * * *", "Europe/Berlin"), "2026-07-10T00:00:00", False, "2026-07-10T00:30:00"),
    ],
)
def test_the_next_time(spec, after, learning, expected):
    assert due(spec, at(after), learning=learning) == at(expected)


def test_a_suspended_job_has_no_next_time():
    assert due(cron(suspend=True), at("2026-03-01T00:00:00"), learning=True) is None


class World:
    """A clock that is moved by sleeping on it."""

    def __init__(self, start):
        self.now = start
        self.runs = []

    async def sleep(self, seconds):
        self.now += timedelta(seconds=seconds)
        await asyncio.sleep(0)

    async def asleep(self, seconds):
        """A sleep that never ends: nothing but a hand starts the job."""
        await asyncio.Event().wait()


async def run_until(world, schedule, count):
    keeping = asyncio.create_task(schedule.keep())
    while len(world.runs) < count:  # noqa: ASYNC110 - the clock is moved by sleeping on it
        await asyncio.sleep(0)
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping


async def test_runs_at_its_times_and_leaves_out_those_that_pass_meanwhile():
    world = World(at("2026-03-01T03:00:00"))

    async def run():
        world.runs.append(world.now)
        if len(world.runs) == 1:
            world.now += timedelta(hours=5)  # beyond the next time

    schedule = Schedule(cron(), run, learning=lambda: False, now=lambda: world.now, sleep=world.sleep)
    await run_until(world, schedule, 2)
    assert world.runs == [at("2026-03-01T04:00:00"), at("2026-03-01T12:00:00")]


async def test_every_ten_minutes_until_there_is_a_model():
    world = World(at("2026-03-01T00:00:30"))

    async def run():
        world.runs.append(world.now)

    schedule = Schedule(cron(), run, learning=lambda: len(world.runs) < 2, now=lambda: world.now, sleep=world.sleep)
    await run_until(world, schedule, 3)
    assert world.runs == [at("2026-03-01T00:10:30"), at("2026-03-01T00:20:30"), at("2026-03-01T04:00:00")]


async def test_started_by_hand_even_when_suspended_and_never_twice_at_once():
    world = World(at("2026-03-01T00:00:00"))
    running = 0

    async def run():
        nonlocal running
        running += 1
        assert running == 1
        world.runs.append(world.now)
        schedule.start_now()  # asked again while it runs: asks for nothing
        await asyncio.sleep(0)
        running -= 1

    schedule = Schedule(cron(suspend=True), run, learning=lambda: True, now=lambda: world.now, sleep=world.asleep)
    keeping = asyncio.create_task(schedule.keep())
    await asyncio.sleep(0)
    assert world.runs == []
    schedule.start_now()
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(world.runs) == 1
    schedule.start_now()
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(world.runs) == 2
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping
