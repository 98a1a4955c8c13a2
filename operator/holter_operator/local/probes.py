"""HTTP probes as a kubelet makes them: startup holds back the other two, liveness ends, readiness tells."""

import asyncio
from collections.abc import Awaitable, Callable

from tornado.httpclient import AsyncHTTPClient, HTTPClientError

from holter_operator.local.specs import Probe

_FAST = 0.25
"""Seconds between probes until the first success: somebody is waiting in front of the screen."""

Ask = Callable[[Probe], Awaitable[str | None]]
"""Says in words why a probe failed, or None when it succeeded."""


async def ask(probe: Probe) -> str | None:
    """Make one request; any answer from 200 to 399 is a success."""
    fetch = AsyncHTTPClient().fetch(
        probe.url,
        raise_error=False,
        follow_redirects=False,
        connect_timeout=probe.timeout,
        request_timeout=probe.timeout,
    )
    # Whoever asks may be cancelled; the answer, or its fault, then comes to nobody.
    fetch.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        response = await asyncio.shield(fetch)
    except (HTTPClientError, OSError) as error:
        return f"{probe.url}: {error}"
    if 200 <= response.code < 400:
        return None
    if response.code == 599:
        return f"{probe.url}: no answer in {probe.timeout:g} s"
    return response.body.decode(errors="replace").strip()[:200] or f"HTTP {response.code}"


async def until_alive_no_more(probe: Probe, *, ask: Ask = ask) -> str:
    """Return why, once the probe has failed `failures` times in a row."""
    await asyncio.sleep(probe.delay)
    failed = 0
    while True:
        fault = await ask(probe)
        failed = failed + 1 if fault is not None else 0
        if fault is not None and failed >= probe.failures:
            return fault
        await asyncio.sleep(probe.period)


async def until_up(probe: Probe, *, ask: Ask = ask) -> str | None:
    """Return None once the startup probe succeeds, or why when it has failed for `failures` periods."""
    await asyncio.sleep(probe.delay)
    fault: str | None = None
    step = min(_FAST, probe.period)
    for _ in range(max(1, round(probe.failures * probe.period / step))):
        fault = await ask(probe)
        if fault is None:
            return None
        await asyncio.sleep(step)
    return fault


async def tell_readiness(probe: Probe, tell: Callable[[str | None], None], *, ask: Ask = ask) -> None:
    """Call `tell(None)` when it becomes ready and `tell(why)` when it is no longer; runs until cancelled."""
    await asyncio.sleep(probe.delay)
    ready, failed = False, 0
    while True:
        fault = await ask(probe)
        failed = failed + 1 if fault is not None else 0
        if fault is None and not ready:
            ready = True
            tell(None)
        elif fault is not None and ready and failed >= probe.failures:
            ready = False
            tell(fault)
        await asyncio.sleep(probe.period if ready else min(_FAST, probe.period))
