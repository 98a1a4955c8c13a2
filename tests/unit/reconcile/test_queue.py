"""The queue, on a clock that the tests turn."""

import asyncio

import pytest

from holter_operator.reconcile.queue import FIRST_RETRY, LONGEST_RETRY, SLOW, Queue


class Work:
    """What is called, and what it does."""

    def __init__(self):
        self.seen, self.now, self.most = [], 0, 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.again, self.fault = None, None

    async def __call__(self, key):
        if key == "nudge":  # the tests' own, to have it look at the clock
            return None
        assert key not in [k for k, done in self.seen if not done], "never twice at a time"
        self.seen.append([key, False])
        entry = self.seen[-1]
        self.now += 1
        self.most = max(self.most, self.now)
        await self.gate.wait()
        self.now -= 1
        entry[1] = True
        if self.fault:
            raise self.fault
        return self.again

    @property
    def keys(self):
        return [key for key, _ in self.seen]


@pytest.fixture
async def running():
    work = Work()
    offset = [0.0]
    queue = Queue(work, clock=lambda: offset[0], chance=lambda: 0.5)
    task = asyncio.create_task(queue.run(2))

    async def turn(seconds):
        """Let so many seconds pass."""
        await settle()
        offset[0] += seconds
        queue.add("nudge", after=0)
        await settle()

    async def settle():
        for _ in range(20):
            await asyncio.sleep(0)

    yield queue, work, turn
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_key_woken_often_is_looked_at_once(running):
    queue, work, turn = running
    for _ in range(100):
        queue.add("a")
    queue.add("b")
    await turn(1)
    assert sorted(work.keys) == ["a", "b"]


async def test_a_key_woken_while_it_is_looked_at_is_looked_at_once_more_after(running):
    queue, work, turn = running
    work.gate.clear()
    queue.add("a")
    await turn(1)
    for _ in range(10):
        queue.add("a")
    await turn(1)
    assert work.keys == ["a"]
    work.gate.set()
    await turn(1)
    assert work.keys == ["a", "a"]


async def test_so_many_at_a_time_and_a_slow_one_holds_nobody_up(running):
    queue, work, turn = running
    work.gate.clear()
    for key in "abcd":
        queue.add(key)
    await turn(1)
    assert work.most == 2
    work.gate.set()
    await turn(1)
    assert sorted(work.keys) == list("abcd")


async def test_it_comes_again_when_it_said_so_and_earlier_when_woken(running):
    queue, work, turn = running
    work.again = 100
    queue.add("a")
    await turn(1)
    await turn(90)
    assert work.keys == ["a"]
    await turn(11)
    assert work.keys == ["a", "a"]
    queue.add("a")
    await turn(1)
    assert work.keys == ["a"] * 3


async def test_failures_come_again_later_each_time_and_never_too_late(running):
    queue, work, turn = running
    work.fault = RuntimeError("no")
    queue.add("a")
    await turn(1)
    waits, wait = [], FIRST_RETRY
    for _ in range(12):
        seen = len(work.keys)
        await turn(wait * 0.9)
        assert len(work.keys) == seen, "not yet"
        await turn(wait * 0.2)
        assert len(work.keys) == seen + 1
        waits.append(wait)
        wait = min(2 * wait, LONGEST_RETRY)
    assert waits[-1] == LONGEST_RETRY
    work.fault = None
    await turn(LONGEST_RETRY * 1.1)
    seen = len(work.keys)
    work.fault = RuntimeError("again")
    queue.add("a")
    await turn(0.2)
    await turn(FIRST_RETRY * 1.1)
    assert len(work.keys) == seen + 2, "a success begins the count anew"


async def test_what_an_api_server_says_of_retries_is_heeded(running):
    queue, work, turn = running
    work.fault = RuntimeError("busy")
    work.fault.retry_after = 30.0
    queue.add("a")
    await turn(1)
    await turn(25)
    assert work.keys == ["a"]
    await turn(6)
    assert work.keys == ["a", "a"]


async def test_slow_ones_hold_each_other_up_and_no_others(running):
    queue, work, turn = running  # of two workers, so one is for slow keys
    work.gate.clear()
    queue.add("slow1"), queue.add("slow2")
    await turn(1)
    await turn(SLOW + 1)
    work.gate.set()
    await turn(0.1)
    work.gate.clear()
    queue.add("slow1"), queue.add("slow2")
    await turn(1)
    assert work.keys[2:] == ["slow1"], "both would leave no worker"
    queue.add("quick")
    await turn(1)
    assert work.keys[2:] == ["slow1", "quick"]
    work.gate.set()
    await turn(1)
    assert work.keys[2:] == ["slow1", "quick", "slow2"], "its turn comes"


async def test_its_length_is_those_that_wait_now(running):
    queue, work, turn = running
    work.gate.clear()
    for key in "abcd":
        queue.add(key)
    queue.add("e", after=1000)
    await turn(1)
    assert len(queue) == 3, "c, d, and the tests' own"


async def test_it_ends_when_cancelled_whatever_it_is_at():
    for moment in range(30):
        work = Work()
        work.gate.clear() if moment % 2 else None
        queue = Queue(work)
        task = asyncio.create_task(queue.run(3))
        for key in "abc":
            queue.add(key, after=0)
        for _ in range(moment):
            await asyncio.sleep(0)
        queue.add("d", after=0)
        task.cancel()
        async with asyncio.timeout(5):
            await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
