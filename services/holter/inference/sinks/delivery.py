"""From the outbox to the sinks: at least once, in order per alert, each sink by itself.

    outbox = Outbox(path)
    sinks = build(config, store, outbox, settings.webhooks)
    watch = DeliveryMetrics(metrics, [sink.name for sink in sinks])
    task = asyncio.create_task(deliver(outbox, sinks, watch))   # cancel it to stop; build and deliver again to change

The rule. An event is sent as soon as it is committed, and again after 0.5 s, 1 s, 2 s … (each drawn from the upper
half) until taken: at most every 30 s where the sink does not answer, every 10 minutes where it refused (any status but
2xx, 408, 425, 429 and 5xx), later where it asks so with `Retry-After`. A sink that failed is asked for one event at a
time, every 0.5 s, the highest priority first, until it takes one. The outbox says when a delivery is given up (24 h
refused, 7 days, its size); that is logged and counted. A stop or crash between a sink's answer and its record repeats
the event: receivers drop ids that they have seen.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import structlog

from holter.inference.outbox import Delivery, Outbox
from holter.inference.sinks.sink import Sink, SinkRefusedError, SinkUnavailableError
from holter.metrics import Metrics

T = TypeVar("T")
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds.

    Attributes:
        first: before the first retry; doubles with each.
        longest: between retries to a sink that does not answer.
        longest_refused: between retries of an event that was refused.
        poll: how often retries are looked for, and a failed sink is tried.
        prune: between prunings of the outbox.
    """

    first: float = 0.5
    longest: float = 30.0
    longest_refused: float = 600.0
    poll: float = 0.5
    prune: float = 60.0

    def wait(self, attempts: int, rng: random.Random, *, refused: bool = False) -> float:
        """Before the next attempt, after `attempts` failed: exponential, drawn from the upper half."""
        longest = self.longest_refused if refused else self.longest
        return min(longest, self.first * 2.0 ** min(attempts - 1, 30)) * rng.uniform(0.5, 1.0)


class DeliveryMetrics:
    """What design §7 says of delivery; made once in a process.

    Args:
        metrics: the service's.
        sinks: their names, so that each series is there, at 0, before the first event.
    """

    def __init__(self, metrics: Metrics, sinks: Sequence[str]) -> None:
        self._metrics = metrics
        self._seconds = metrics.histogram(
            "holter_alert_delivery_seconds", "From an event's commit to its sink's answer.", sink=sinks
        )
        self._failures = metrics.counter(
            "holter_alert_delivery_failures_total", "Attempts that a sink did not answer or refused.", sink=sinks
        )
        self._given_up = metrics.counter(
            "holter_alert_deliveries_given_up_total", "Deliveries that will not be tried again.", sink=sinks
        )

    def taken(self, sink: str, seconds: float) -> None:
        """A sink took an event, `seconds` after its commit."""
        self._metrics.of(self._seconds, sink=sink).observe(max(0.0, seconds))

    def failed(self, sink: str) -> None:
        """An attempt failed."""
        self._metrics.of(self._failures, sink=sink).inc()

    def given_up(self, sink: str) -> None:
        """A delivery was given up."""
        self._metrics.of(self._given_up, sink=sink).inc()


async def deliver(
    outbox: Outbox,
    sinks: Sequence[Sink],
    metrics: DeliveryMetrics,
    *,
    timing: Timing | None = None,
    clock: Callable[[], float] = time.time,
    rng: random.Random | None = None,
) -> None:
    """Tell every sink of every event until cancelled; then the sinks are closed.

    Args:
        outbox: configured for these sinks.
        sinks: what `build` made.
        metrics: see there.
        timing: see there.
        clock: wall clock, seconds since the epoch.
        rng: of the jitter.

    Raises:
        sqlite3.OperationalError: the outbox cannot be written (disk full). Nothing else ends it.
    """
    jitter = rng or random.Random()  # noqa: S311 - no secret
    delivering = _Deliver(outbox, metrics, timing or Timing(), clock, jitter)
    try:
        await delivering.run(sinks)
    finally:
        for sink in sinks:
            sink.close()


class _Deliver:
    def __init__(
        self, outbox: Outbox, metrics: DeliveryMetrics, timing: Timing, clock: Callable[[], float], rng: random.Random
    ) -> None:
        self._outbox = outbox
        self._metrics = metrics
        self._timing = timing
        self._clock = clock
        self._rng = rng
        self._thread = ThreadPoolExecutor(1, "outbox")
        self._wakes: list[asyncio.Event] = []

    async def run(self, sinks: Sequence[Sink]) -> None:
        loop = asyncio.get_running_loop()

        def committed() -> None:
            loop.call_soon_threadsafe(self._wake)

        try:
            with self._outbox.listening(committed):
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._prune())
                    for sink in sinks:
                        group.create_task(self._serve(sink))
                        if sink.repeat_every is not None:
                            group.create_task(self._repeat(sink, sink.repeat_every))
        finally:
            self._thread.shutdown(wait=False)

    def _wake(self) -> None:
        for event in self._wakes:
            event.set()

    async def _call(self, function: Callable[..., T], *values: object, **named: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(function, *values, **named))

    async def _serve(self, sink: Sink) -> None:
        """Send what is due, each alert's events one after the other."""
        wake = asyncio.Event()
        self._wakes.append(wake)
        sending: dict[str, asyncio.Task[bool]] = {}
        answers = True
        async with asyncio.TaskGroup() as group:
            while True:
                wake.clear()
                if (free := (sink.width if answers else 1) - len(sending)) > 0:
                    # Those under way are due as well, so ask for as many more.
                    due = await self._call(self._outbox.due, sink.name, self._clock(), free + len(sending))
                    new = [delivery for delivery in due if delivery.event.alert_id not in sending]
                    for delivery in new[:free]:
                        alert = delivery.event.alert_id
                        if alert not in sending:
                            sending[alert] = group.create_task(self._send(sink, delivery))
                await self._wait(wake, sending)
                ended = {alert: task for alert, task in sending.items() if task.done()}
                for alert, task in ended.items():
                    del sending[alert]
                    if answers != task.result():
                        answers = task.result()
                        _log.info("alert_sink_answers" if answers else "alert_sink_failed", sink=sink.name)
                if ended and not answers:
                    await asyncio.sleep(self._timing.poll)

    async def _wait(self, wake: asyncio.Event, sending: dict[str, asyncio.Task[bool]]) -> None:
        """Until something was committed, an attempt ended or it is time to look for retries."""
        woken = asyncio.ensure_future(wake.wait())
        try:
            await asyncio.wait(
                (woken, *sending.values()), timeout=self._timing.poll, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            woken.cancel()

    async def _send(self, sink: Sink, delivery: Delivery) -> bool:
        """One attempt and its record; says whether the sink answers."""
        event = delivery.event
        try:
            await sink.send(event)
        except Exception as error:
            refused = isinstance(error, SinkRefusedError)
            wait = self._timing.wait(delivery.attempts + 1, self._rng, refused=refused)
            if isinstance(error, SinkUnavailableError):
                wait = max(wait, error.retry_after)
            self._fault("alert_delivery_failed", sink, error, event_id=event.id, refused=refused, retry_seconds=wait)
            await self._call(self._outbox.failed, event.id, sink.name, self._clock() + wait, refused=refused)
            return refused
        self._metrics.taken(sink.name, self._clock() - delivery.committed_at)
        self._count_given_up(await self._call(self._outbox.delivered, event.id, sink.name), "a later one was taken")
        return True

    async def _repeat(self, sink: Sink, every: float) -> None:
        while True:
            try:
                await sink.repeat()
            except Exception as error:
                self._fault("alert_repeat_failed", sink, error, retry_seconds=every)
            await asyncio.sleep(every)

    async def _prune(self) -> None:
        while True:
            given_up = await self._call(self._outbox.prune, self._clock())
            self._count_given_up(given_up, "too old or too many")
            await asyncio.sleep(self._timing.prune)

    def _fault(self, message: str, sink: Sink, error: Exception, **more: object) -> None:
        self._metrics.failed(sink.name)
        expected = isinstance(error, SinkRefusedError | SinkUnavailableError)
        _log.warning(message, sink=sink.name, reason=str(error), exc_info=None if expected else error, **more)

    def _count_given_up(self, deliveries: Sequence[Delivery], why: str) -> None:
        for delivery in deliveries:
            self._metrics.given_up(delivery.sink)
            _log.error(
                "alert_delivery_given_up",
                sink=delivery.sink,
                event_id=delivery.event.id,
                device_id=delivery.event.device_id,
                attempts=delivery.attempts,
                reason=why,
            )
