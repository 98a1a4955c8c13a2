"""The demo's own console: from the simulated onset to the red tile, and from the nurse's click to the store."""

import os
import signal
import time
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect
from tests.browser.cable import Cable

VT, WITHIN = "bed05-vt", 10.0

pytestmark = pytest.mark.timeout(600)


def test_tachycardia_turns_its_tile_red_is_acknowledged_and_stays_so(demo, open_page, record_property):
    page = open_page(demo.url)
    tile = page.locator(f".tile[data-id='{VT}']")
    expect(tile).to_have_attribute("data-stale", "no", timeout=60_000)
    assert "token" not in page.url, "the token is in no address"
    began = time.time()
    assert began < demo.onsets["vt"], "the page was there before the patient fell sick"
    assert tile.get_attribute("data-level") != "high"
    page.wait_for_selector(f".tile[data-id='{VT}'][data-level='high']", timeout=90_000)
    delay = time.time() - demo.onsets["vt"]
    record_property("seconds_from_onset_to_red", round(delay, 2))
    print(f"\nred {delay:.2f} s after the onset")  # noqa: T201
    assert 0 < delay < WITHIN
    # Colour, symbol and words; the reason; and the most urgent come first.
    assert "***" in tile.locator(".symbol").inner_text()
    assert tile.locator(".kind").inner_text() == "Ventricular tachycardia"
    assert tile.locator(".level").inner_text() == "HIGH"
    assert "wide-complex rhythm" in tile.locator(".reason").inner_text()
    expect(page.locator(".tile").first).to_have_attribute("data-level", "high", timeout=5_000)
    assert "HIGH: Ventricular tachycardia" in page.locator("#urgent").inner_text() or "high" in page.title()

    # A view token alone acknowledges nothing: the dialog asks for the other one.
    page.get_by_role("button", name=f"Acknowledge Ventricular tachycardia of {VT}").click()
    dialog = page.locator("dialog#acknowledge")
    dialog.get_by_label("Who").fill("R. Okafor")
    dialog.get_by_label("Why").fill("At the bedside")
    dialog.get_by_label("Acknowledge token").fill("not-the-right-token")
    dialog.get_by_role("button", name="Acknowledge").click()
    expect(dialog.locator(".fault")).to_contain_text("Not acknowledged")
    dialog.get_by_label("Acknowledge token").fill(demo.acknowledge)
    dialog.get_by_role("button", name="Acknowledge").click()
    expect(dialog).to_be_hidden()
    expect(tile).to_have_attribute("data-seen", "yes")

    page.reload()
    expect(tile).to_have_attribute("data-seen", "yes", timeout=20_000)
    expect(page.locator(f".alert:has-text('{VT}'):has-text('R. Okafor')").first).to_contain_text("At the bedside")


LOOKS = [
    ("ward-dark", "dark", 1440, 900, ""),
    ("ward-light", "light", 1440, 900, ""),
    ("phone", "dark", 390, 844, ""),
    ("patient", "light", 1440, 1000, f"#/patient/{VT}"),
]


@pytest.mark.parametrize(("name", "scheme", "width", "height", "where"), LOOKS)
def test_how_it_looks(demo, open_page, shoot, name, scheme, width, height, where):
    """Screenshots for the docs; and nothing is wider than its screen."""
    page = open_page(demo.url, width, height, color_scheme=scheme)
    expect(page.locator(".tile[data-level='high']").first).to_be_visible(timeout=90_000)
    if where:
        page.evaluate(f"location.hash = {where!r}")
        expect(page.locator(".own-alerts canvas:visible").first).to_be_visible(timeout=30_000)
    page.wait_for_timeout(6000)
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    page.wait_for_selector("html[data-high='on']", state="attached")
    shoot(page, f"console-{name}")


@contextmanager
def nobody_is_disturbed(demo):
    """Ingest and the worker go on as they were: the same processes, at the rate of eight patients, without a loss."""
    names = ("ingest", "inference")
    before, pids = counts(demo), {name: demo.component(name) for name in names}
    began = time.monotonic()
    yield
    seconds = time.monotonic() - began
    grown = {name: value - before[name] for name, value in counts(demo).items()}
    assert {name: demo.component(name) for name in names} == pids, "same processes, no restart"
    assert grown["samples"] > 0.8 * 8 * 250 * seconds
    assert grown["cycles"] > 0.5 * seconds
    assert grown["windows"] > 0
    assert grown["lost"] == 0


def counts(demo):
    """What has been counted so far."""
    return {
        "samples": demo.total("ingest", "holter_ingest_samples_total"),
        "lost": sum(
            demo.total("ingest", f"holter_{name}_total") for name in ("ingest_rejected", "feed_dropped_chunks")
        ),
        "cycles": demo.total("inference", "holter_inference_cycle_seconds_count", stage="compute"),
        "windows": demo.total("inference", "holter_inference_windows_total"),
    }


def shown_as_stale(page):
    """It says that the connection is lost and how old what it shows is, tile by tile, without a heart rate."""
    expect(page.locator("#link")).to_have_text("Connection lost", timeout=15_000)
    expect(page.locator("#trouble")).to_contain_text("Connection lost")
    expect(page.locator(".tile[data-stale='yes']")).to_have_count(8)
    expect(page.locator(".tile .age").first).to_contain_text("Last data")
    assert set(page.locator(".tile .rate").all_inner_texts()) == {"–"}


def live_again(page):
    """It has come back by itself."""
    expect(page.locator("#link")).to_have_text("Live", timeout=60_000)
    expect(page.locator("#trouble")).to_be_hidden()
    expect(page.locator(".tile[data-stale='no']")).to_have_count(8, timeout=20_000)


def test_a_killed_console_comes_back_and_disturbed_nobody(demo, open_page):
    page = open_page(demo.url)
    expect(page.locator(".tile[data-stale='no']")).to_have_count(8, timeout=20_000)
    console = demo.component("console")
    with nobody_is_disturbed(demo):
        os.kill(console["pid"], signal.SIGKILL)
        shown_as_stale(page)
        live_again(page)
        page.wait_for_timeout(5000)
    assert demo.component("console")["pid"] != console["pid"]


def test_a_cut_network_is_noticed_and_disturbed_nobody(demo, open_page):
    """Nothing says that it was cut: the page has to see that nothing comes."""
    cable = Cable(demo.url)
    try:
        page = open_page(f"{cable.url}#token={demo.view}")
        expect(page.locator(".tile[data-stale='no']")).to_have_count(8, timeout=20_000)
        with nobody_is_disturbed(demo):
            cable.cut()
            shown_as_stale(page)
            cable.mend()
            live_again(page)
    finally:
        cable.close()
