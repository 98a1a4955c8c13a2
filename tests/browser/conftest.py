"""Debian's Chromium, and what it looks at."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, Page
from prometheus_client.parser import text_string_to_metric_families
from tests.browser.stage import Stage
from tests.chromium import browser

__all__ = ["browser"]
IMAGES = os.environ.get("HOLTER_IMAGES")
"""A folder for screenshots; docs/images renews those of the docs."""
READY_WITHIN = 240.0  # the first start on a machine compiles the hot path


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """A page whose errors, and requests to any other place, are faults of the test."""
    contexts, faults = [], []

    def make(url: str, width: int = 1440, height: int = 900, **more) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **more)
        contexts.append(context)
        page = context.new_page()
        origin = url.split("/#")[0].rstrip("/")
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "console",
            lambda said: faults.append(said.text) if "Security Policy" in said.text or "Trusted" in said.text else None,
        )
        page.on(
            "request",
            lambda asked: (
                faults.append(asked.url) if not asked.url.replace("ws://", "http://").startswith(origin) else None
            ),
        )
        page.goto(url)
        return page

    yield make
    for context in contexts:
        context.close()
    assert not faults


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Callable[[int], Stage]]:
    made = []

    def start(patients: int) -> Stage:
        made.append(Stage(tmp_path, patients))
        made[-1].start()
        return made[-1]

    yield start
    for one in made:
        one.close()


class Demo:
    """A running `holter demo`."""

    def __init__(self, folder: Path) -> None:
        self.state, self.log = folder / "state", folder / "demo.log"
        command = [str(Path(sys.executable).with_name("holter")), "demo", "--state", str(self.state)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        self.where = json.loads(self._wait("endpoints.json"))
        truths = json.loads(self._wait("truth.json"))["truths"]
        self.onsets = {truth["rhythm"]: truth["onset"] / 1e6 for truth in truths if truth["onset"]}
        tokens = Path(self.where["console_tokens"])
        self.view, self.acknowledge = ((tokens / name).read_text().strip() for name in ("view", "acknowledge"))
        self.url = f"{self.where['console']}/#token={self.view}"

    def _wait(self, name: str) -> bytes:
        until = time.monotonic() + READY_WITHIN
        while not (self.state / name).exists():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.1)
        return (self.state / name).read_bytes()

    def component(self, name: str) -> dict:
        return json.loads((self.state / "status.json").read_bytes())["components"][name]

    def total(self, component: str, name: str, **labels: str) -> float:
        """The sum of a component's series of this name and labels."""
        with urlopen(self.where["metrics"][component], timeout=10) as answer:
            families = text_string_to_metric_families(answer.read().decode())
        found = [
            s for family in families for s in family.samples if s.name == name and labels.items() <= s.labels.items()
        ]
        assert found, f"no {name} {labels} in the metrics of {component}"
        return sum(sample.value for sample in found)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(120)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    made = Demo(tmp_path_factory.mktemp("demo"))
    yield made
    made.stop()


@pytest.fixture
def shoot() -> Callable[..., None]:
    """A screenshot, when HOLTER_IMAGES says where to."""

    def take(page: Page, name: str, **more) -> None:
        if IMAGES:
            page.screenshot(path=Path(IMAGES) / f"{name}.png", animations="disabled", **more)

    return take
