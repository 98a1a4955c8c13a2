"""Now and then lets the store forget what has been kept for long enough. Nothing depends on it but room."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from holter.chunk import MICROSECONDS
from holter.store.protocol import Store

FIRST = 60.0
"""Seconds after the start: a process that restarts again and again does not prune each time."""
EVERY = 3600.0
_log = structlog.get_logger()


async def prune_hourly(
    open_store: Callable[[], Store],
    retention: Callable[[], float],
    clock: Callable[[], int],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Prune a minute after the start and then each hour, in a thread, until cancelled.

    Args:
        open_store: opens a store for this call alone, so that closing it ends a pruning under way.
        retention: seconds, as configured at that time.
        clock: wall clock, µs since the epoch.
        sleep: waits for so many seconds.
    """
    await sleep(FIRST)
    while True:
        before = clock() - round(retention() * MICROSECONDS)
        try:
            store = await asyncio.to_thread(open_store)
            try:
                removed = await asyncio.to_thread(store.prune, before)
            finally:
                store.close()
        except Exception as e:  # whatever it is, the next hour comes
            _log.warning("not_pruned", error=str(e))
        else:
            _log.info("pruned", rows=removed, before=before)
        await sleep(EVERY)
