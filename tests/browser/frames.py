"""Frames that a page itself drops, by Chromium's trace: in CPU time, which no other process takes from it."""

import json
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass

from playwright.sync_api import Browser, Page

FRAME = 1000 / 60
"""ms that a screen of 60 Hz gives for a frame."""
THREADS = ("CrRendererMain", "Compositor", "VizCompositorThread")
"""Those that have to be done with a frame before the next: script, style, layout and paint; scrolling; the picture."""
_TASK, _FRAME_BEGINS = "ThreadControllerImpl::RunTask", "ProxyMain::BeginMainFrame"


@dataclass(frozen=True, slots=True)
class Frames:
    """What a page's frames cost.

    Attributes:
        costs: by thread, ms of CPU of each frame in order.
    """

    costs: dict[str, list[float]]

    @property
    def number(self) -> int:
        """How many there were."""
        return len(self.costs[THREADS[0]])

    @property
    def dropped(self) -> int:
        """Those for which a thread needed longer than a frame lasts, so that no machine shows the next in time."""
        return sum(max(threads) > FRAME for threads in zip(*self.costs.values(), strict=True))


def record(browser: Browser, page: Page, seconds: float) -> Frames:
    """Trace a page for so long; no other page of the browser may be open."""
    browser.start_tracing(page=page, categories=["toplevel", "cc", "benchmark"])
    page.wait_for_timeout(seconds * 1000)
    return _read(json.loads(browser.stop_tracing())["traceEvents"])


def _read(events: list[dict]) -> Frames:
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}
    timed = [e for e in events if e["ph"] == "X" and "tdur" in e]
    begins = sorted(e["ts"] for e in timed if e["name"] == _FRAME_BEGINS)
    costs: dict[str, list[float]] = defaultdict(lambda: [0.0] * (len(begins) - 1))
    for event in timed:
        thread = names.get((event["pid"], event["tid"]))
        frame = bisect_right(begins, event["ts"] + event["dur"] / 2) - 1
        if event["name"] == _TASK and thread in THREADS and 0 <= frame < len(begins) - 1:
            costs[thread][frame] += event["tdur"] / 1000
    return Frames({thread: costs[thread] for thread in THREADS})
