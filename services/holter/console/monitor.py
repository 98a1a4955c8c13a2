"""Follows the store: what arrives, alerts, acknowledgements and windows; tells every browser that is connected.

It only reads, and each kind apart: none waits for another, and a store that is away is tried again until it is back.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential_jitter

from holter.alert import Acknowledgement
from holter.chunk import MICROSECONDS, SHARDS, Chunk
from holter.console import wire
from holter.console.book import Book
from holter.console.client import Outgoing
from holter.console.history import KEPT, History
from holter.console.measures import Health, Measures
from holter.console.ward import Ward, rates
from holter.store.protocol import Store, StoreRefusedError, StoreUnavailableError

STORE_ERRORS = (StoreUnavailableError, StoreRefusedError)
ECG_EVERY, ALERTS_EVERY, FIGURES_EVERY, WINDOWS_EVERY, ALL_EVERY = 0.5, 1.0, 1.0, 5.0, 300.0
_FILL = 12 * MICROSECONDS
"""ECG that is read at the start."""
_BEHIND = 30.0
"""Seconds without the store after which what came meanwhile is skipped: a ward looks at now."""
_LATELY = 600 * MICROSECONDS
REMEMBER = 72 * 3600 * MICROSECONDS
"""How far back alerts are looked for."""
CLEARED_TOLD = 200
_PAGE = 20_000
_ALL = range(SHARDS)
_log = structlog.get_logger()


class Monitor:
    """See the module.

    Args:
        open_store: opens the store; called until it succeeds.
        measures: counts.
        clock: wall clock, µs since the epoch.
    """

    def __init__(
        self,
        open_store: Callable[[], Store],
        measures: Measures,
        clock: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._open, self.measures, self.clock = open_store, measures, clock
        self._store: Store | None = None
        self._opening = asyncio.Lock()
        self._cursor: int | None = None
        self._read_ecg = self._read_all = 0.0
        self.ward, self.book, self.history, self.health = Ward(), Book(), History(), Health()
        self.browsers: set[Outgoing] = set()

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for step, every in (
                (self.ecg, ECG_EVERY),
                (self.alerts, ALERTS_EVERY),
                (self.windows, WINDOWS_EVERY),
                (self.figures, FIGURES_EVERY),
            ):
                tasks.create_task(self._repeat(step, every))

    async def close(self) -> None:
        """Close the store."""
        if self._store is not None:
            await asyncio.to_thread(self._store.close)

    async def store(self) -> Store:
        """The store, opened by whoever needs it first.

        Raises:
            StoreUnavailableError, StoreRefusedError: it cannot be opened.
        """
        async with self._opening:
            if self._store is None:
                self._store = await asyncio.to_thread(self._open)
            return self._store

    async def ecg(self) -> None:
        """Read what has arrived, and hand it on."""
        store = await self.store()
        if self._cursor is None or time.monotonic() - self._read_ecg > _BEHIND:
            self._cursor = await asyncio.to_thread(store.cursor_at, self.clock() - _FILL)
        while True:
            began = time.perf_counter()
            page = await asyncio.to_thread(store.read_chunks, _ALL, self._cursor, _PAGE)
            self.health.read_seconds = time.perf_counter() - began
            self._read_ecg = time.monotonic()
            more, self._cursor = len(page.chunks) > 0 and page.cursor != self._cursor, page.cursor
            now = self.clock()
            self.health.arrived(page.chunks, now)
            self._hand_on(self.ward.hear(page.chunks, now))
            if not more:
                return

    def _hand_on(self, fresh: list[Chunk]) -> None:
        if fresh and self.browsers:
            batch = wire.batch(fresh)
            for browser in self.browsers:
                self.measures.dropped.inc(browser.batch(batch))

    async def alerts(self) -> None:
        """Read alerts and acknowledgements: the last ones each time, now and then all: an outbox may be late."""
        store, now = await self.store(), self.clock()
        read_all = time.monotonic() >= self._read_all
        back = REMEMBER if read_all else _LATELY
        since = self.ward.earliest(now) - back
        events = await asyncio.to_thread(store.read_alerts, since)
        acks = await asyncio.to_thread(store.read_acks, now - back)
        changed = self.book.take(events) | self.book.acknowledge(acks)
        if read_all:
            self.book.prune(since)
            self._read_all = time.monotonic() + ALL_EVERY
        self.tell(changed)

    def acknowledged(self, ack: Acknowledgement) -> None:
        """An acknowledgement was stored here: need not be read back first."""
        self.tell(self.book.acknowledge([ack]))

    def tell(self, identities: Iterable[str]) -> None:
        """Tell all browsers of these alerts."""
        messages = self.alert_messages(identities)
        if messages:
            for browser in self.browsers:
                browser.alerts(messages)

    def alert_messages(self, identities: Iterable[str]) -> dict[str, str]:
        """Alerts as messages, by id."""
        return {
            identity: wire.message("alert", alert=self.book.describe(identity, self.ward.offset))
            for identity in identities
        }

    def newest_alerts(self, number: int) -> list[dict[str, object]]:
        """The newest so many alerts as they are now, the last raised first."""
        known = sorted(self.book.alarms, key=lambda one: self.book.alarms[one].raised, reverse=True)
        return [self.book.describe(identity, self.ward.offset) for identity in known[:number]]

    async def windows(self) -> None:
        """Read the windows of the last minute; the first time those of half an hour."""
        store, now = await self.store(), self.clock()
        began = not self.history.rows
        since = now - (KEPT if began else 60 * MICROSECONDS)
        devices = await asyncio.to_thread(store.list_devices, since) if began else tuple(self.history.rows)
        windows = await asyncio.to_thread(store.read_windows, since, self.history.per_device(len(devices)), 0)
        self.history.take(windows)
        if len(windows):
            last = int(windows.ends.argmax())
            self.health.scored, self.health.revision = int(windows.ends[last]), int(windows.revision[last])
        for device_id in devices:
            row = self.history.newest(device_id)
            if row is not None:
                self.ward.known(device_id, row.end)
        self.ward.leave(now, self.book.active_devices())
        self.history.forget(set(self.ward.patients))

    async def figures(self) -> None:
        """Tell all browsers the figures of the second."""
        self.measures.patients.set(len(self.ward.patients))
        self.measures.browsers.set(len(self.browsers))
        if self.browsers:
            message = await self.figures_message()
            for browser in self.browsers:
                browser.figures(message)

    async def figures_message(self) -> str:
        """Figures of all patients and of the cohort; heart rates are counted off the event loop."""
        found = await asyncio.to_thread(rates, self.ward.recent())
        patients = self.ward.describe(found)
        for patient in patients:
            row = self.history.newest(str(patient["id"]))
            patient["quality"] = None if row is None else round(row.quality, 2)
            patient["score"] = None if row is None else round(row.score, 2)
        return wire.message("figures", now=self.clock() / 1000, health=self.health.describe(), patients=patients)

    async def _repeat(self, step: Callable[[], Awaitable[None]], every: float) -> None:
        while True:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(STORE_ERRORS), wait=wait_exponential_jitter(1, 15, jitter=1)
            ):
                with attempt:
                    await self._watched(step)
            await asyncio.sleep(every)

    async def _watched(self, step: Callable[[], Awaitable[None]]) -> None:
        name = step.__name__
        try:
            await step()
        except STORE_ERRORS as error:
            self.measures.store_errors.inc()
            if name not in self.health.faults:
                _log.warning("store_unavailable", reading=name, reason=str(error))
            self.health.faults[name] = str(error)
            raise
        if self.health.faults.pop(name, None):
            _log.info("store_is_back", reading=name)
