"""When a job is started: by its schedule, every 10 minutes while there is no model, or by hand; never two at once."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

from holter_operator.local.specs import CronSpec

LEARNING_INTERVAL = timedelta(minutes=10)
"""Between refits while no model revision exists, as the operator does it."""

_LONGEST_SLEEP = 60.0  # the wall clock may be set, or the machine may sleep: look again


def due(spec: CronSpec, after: datetime, *, learning: bool) -> datetime | None:
    """When the job is to be started next, UTC.

    Args:
        spec: the CronJob.
        after: the end of the last run, or the start of `holter up`; a time that passed during a run is left out
            (concurrencyPolicy Forbid).
        learning: no model revision exists.

    Returns:
        None when the job is suspended.
    """
    if spec.suspend:
        return None
    scheduled = next(CronSim(spec.schedule, after.astimezone(ZoneInfo(spec.timezone)))).astimezone(UTC)
    return min(scheduled, after + LEARNING_INTERVAL) if learning else scheduled


class Schedule:
    """Starts one job when it is due.

    Args:
        spec: the CronJob.
        run: starts the job and returns when it has ended and its result has been dealt with.
        learning: whether no model revision exists, asked before each wait.
        now: the wall clock.
        sleep: waits for so many seconds.
    """

    def __init__(
        self,
        spec: CronSpec,
        run: Callable[[], Awaitable[None]],
        *,
        learning: Callable[[], bool],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.spec = spec
        self._run = run
        self._learning = learning
        self._now = now
        self._sleep = sleep
        self._by_hand = asyncio.Event()

    def start_now(self) -> None:
        """Start the job without waiting for its time; while it runs, this asks for nothing."""
        self._by_hand.set()

    async def keep(self) -> None:
        """Start the job at its times until cancelled."""
        last = self._now()
        while True:
            await self._wait(last)
            await self._run()
            self._by_hand.clear()
            last = self._now()

    async def _wait(self, last: datetime) -> None:
        """Return when the job is due or asked for."""
        asked = asyncio.create_task(self._by_hand.wait())
        try:
            while not asked.done():
                at = due(self.spec, last, learning=self._learning())
                left = (at - self._now()).total_seconds() if at is not None else _LONGEST_SLEEP
                if left <= 0:
                    return
                pause = asyncio.ensure_future(self._sleep(min(left, _LONGEST_SLEEP)))
                await asyncio.wait({asked, pause}, return_when=asyncio.FIRST_COMPLETED)
                pause.cancel()
        finally:
            asked.cancel()
