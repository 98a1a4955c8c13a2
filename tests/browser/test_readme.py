"""The README's way to a live tile, as it is written there but for the ports, which may be taken here."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from playwright.sync_api import expect
from tests.browser.conftest import READY_WITHIN

from holter.bench.services import free_port

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(600)


def commands(heading):
    """Of the README's section, but for `make setup`, which has been run."""
    section = (ROOT / "README.md").read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^\$ (.+)$", "\n".join(re.findall(r"```console\n(.*?)```", section, re.DOTALL)), re.MULTILINE)
    assert found[0] == "make setup"
    return found[1:]


@pytest.fixture
def checkout(tmp_path):
    """A fresh clone, as far as the commands see: its state is its own."""
    for name in (".venv", "docs", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def test_five_minutes_to_a_live_tile(checkout, open_page, shoot):
    up, *device = commands("Five minutes to a live tile of your own device")
    port, console = free_port(), free_port()
    said = checkout / "said.log"
    with said.open("wb") as log:
        cohort = subprocess.Popen(
            [*up.split(), "--port", f"http={port}", "--port", f"console.http={console}", "--port", "udp=0"],
            cwd=checkout, stdout=log, stderr=log, env={**os.environ, "COLUMNS": "400"},
        )  # fmt: skip
    wearable = None
    try:
        until = time.monotonic() + READY_WITHIN
        while not (found := re.search(r"the ward.*open=(\S+)", said.read_text())):
            assert cohort.poll() is None, said.read_text()
            assert time.monotonic() < until, said.read_text()
            time.sleep(0.2)
        page = open_page(found[1], 1120, 420, color_scheme="light")
        expect(page.locator("#empty")).to_have_text("Waiting for the first patient.")
        script = "\n".join(device).replace("127.0.0.1:8080", f"127.0.0.1:{port}")
        wearable = subprocess.Popen(["bash", "-ec", script], cwd=checkout, start_new_session=True)
        tile = page.locator(".tile[data-id='wearable-7']")
        expect(tile).to_have_attribute("data-stale", "no", timeout=20_000)
        expect(tile.locator(".rate")).to_have_text("75", timeout=20_000)  # a beat each 0.8 s
        page.wait_for_timeout(6000)
        shoot(page, "console-first-tile")
        os.killpg(wearable.pid, signal.SIGKILL)
        expect(tile).to_have_attribute("data-stale", "yes", timeout=20_000)
        expect(tile.locator(".age")).to_contain_text("Last data")
    finally:
        if wearable is not None and wearable.poll() is None:
            os.killpg(wearable.pid, signal.SIGKILL)
        cohort.send_signal(signal.SIGINT)
        assert cohort.wait(60) == 0, said.read_text()
