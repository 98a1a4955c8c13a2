"""The page by itself: many patients, what goes stale, keyboard, looks, accessibility."""

import re

import pytest
from playwright.sync_api import Page, expect
from tests.chromium import violations

from holter.alert import Kind, Priority

pytestmark = pytest.mark.timeout(300)


def sick(stage) -> dict[str, str]:
    return {
        "high": stage.raise_alert(
            "bed015", Kind.VENTRICULAR_TACHYCARDIA, Priority.HIGH, "wide-complex rhythm 182/min for 3 s", 8
        ),
        "medium": stage.raise_alert(
            "bed004", Kind.ECTOPY, Priority.MEDIUM, "8 ventricular beats in the last minute", 40
        ),
        "low": stage.raise_alert("bed008", Kind.LEAD_OFF, Priority.LOW, "the device reports its lead off", 60),
    }


def test_a_silent_device_is_shown_as_stale_and_comes_back(stage, open_page):
    ward = stage(4)
    page = open_page(f"{ward.url}#token={ward.view}")
    tile = page.locator(".tile[data-id='bed002']")
    expect(tile).to_have_attribute("data-stale", "no", timeout=20_000)
    expect(tile.locator(".rate")).to_have_text(re.compile(r"^\d+$"), timeout=20_000)
    ward.silence("bed002")
    expect(tile).to_have_attribute("data-stale", "yes", timeout=20_000)
    expect(tile.locator(".age")).to_have_text(re.compile(r"^Last data \d+ s ago$"))
    expect(tile.locator(".rate")).to_have_text("–")
    expect(page.locator(".tile[data-id='bed001']")).to_have_attribute("data-stale", "no")
    expect(page.locator("#health")).to_contain_text("! 1")


def test_a_trace_that_runs_out_of_its_strip_is_moved_if_that_helps(stage, open_page):
    page = open_page(f"{stage(1).url}")
    found = page.evaluate(
        """async () => {
          const { Sweep } = await import("/static/sweep.js");
          const at = (high, low) => Sweep.prototype.position.call({ height: 110, high, low });
          return [at(50, -10), at(28, -64), at(900, -900), at(-Infinity, Infinity)];
        }"""
    )
    usual = 110 * 0.63
    assert found == pytest.approx([usual, (110 + 28 - 64) / 2, usual, usual])


def test_where_no_qrs_can_be_counted_no_rate_is_shown(stage, open_page):
    """Waves of fibrillation are counted as beats: a number beside such an alert would be believed."""
    ward = stage(3)
    page = open_page(f"{ward.url}#token={ward.view}")
    rates = [page.locator(f".tile[data-id='bed00{n}'] .rate") for n in (1, 2)]
    for rate in rates:
        expect(rate).to_have_text(re.compile(r"^\d+$"), timeout=20_000)
    ward.raise_alert("bed001", Kind.VENTRICULAR_FIBRILLATION, Priority.HIGH, "disorganised ventricular rhythm for 4 s")
    expect(rates[0]).to_have_text("–", timeout=20_000)
    expect(rates[1]).to_have_text(re.compile(r"^\d+$"))
    page.evaluate("location.hash = '#/patient/bed001'")
    expect(page.locator(".patient-head .rate")).to_have_text("–")


@pytest.mark.parametrize(
    ("width", "height", "size", "scrolls"),
    [(1440, 900, "some", True), (1920, 1080, "some", False), (3840, 2160, "few", False)],
)
def test_tiles_are_as_large_as_lets_all_be_seen(stage, open_page, width, height, size, scrolls):
    ward = stage(16)
    page = open_page(f"{ward.url}#token={ward.view}", width, height)
    expect(page.locator(".tile")).to_have_count(16, timeout=20_000)
    expect(page.locator("#tiles")).to_have_attribute("data-count", size)
    assert page.evaluate("document.documentElement.scrollHeight > innerHeight") == scrolls


def test_by_keyboard_alone(stage, open_page):
    ward = stage(3)
    identity = ward.raise_alert("bed002", Kind.ASYSTOLE, Priority.HIGH, "no QRS of 0.15 mV for 4 s", 3)
    page = open_page(f"{ward.url}#token={ward.acknowledge}")
    expect(page.locator(f".alert[data-id='{identity}']")).to_be_visible(timeout=20_000)
    page.locator("body").press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    page.locator("#alerts").press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Acknowledge Asystole of bed002")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.type("M. Silva")
    page.keyboard.press("Enter")
    expect(page.locator(".tile[data-id='bed002']")).to_have_attribute("data-seen", "yes")
    (ack,) = ward.store.read_acks(0)
    assert (ack.alert_id, ack.by) == (identity, "M. Silva")
    page.get_by_role("link", name="bed003").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="bed003")).to_be_focused()
    page.get_by_role("link", name="All patients").press("Enter")
    expect(page.locator("#tiles")).to_be_visible()


def test_red_and_yellow_flash_at_their_rates_and_together(stage, open_page):
    ward = stage(2)
    page = open_page(f"{ward.url}#token={ward.view}")
    changes = page.evaluate(
        """() => new Promise(done => {
          const found = {high: [], medium: []}, root = document.documentElement;
          new MutationObserver(records => records.forEach(({attributeName}) => {
            const name = attributeName.slice(5);
            if (found[name]) found[name].push(Date.now());
          })).observe(root, {attributes: true, attributeFilter: ["data-high", "data-medium"]});
          setTimeout(() => done(found), 8000);
        })"""
    )
    high = len(changes["high"]) / 2 / 8
    medium = len(changes["medium"]) / 2 / 8
    assert 1.4 <= high <= 2.8, "IEC 60601-1-8, table 2; at most 3 a second (WCAG 2.3.1)"
    assert 0.4 <= medium <= 0.8


LOOKS = [("dark", 1440, 900), ("light", 1440, 900), ("phone", 390, 844)]


@pytest.mark.parametrize(("look", "width", "height"), LOOKS)
def test_axe_finds_nothing(stage, open_page, look, width, height):
    ward = stage(18)
    sick(ward)
    scheme = "light" if look == "light" else "dark"
    page = open_page(f"{ward.url}#token={ward.view}", width, height, color_scheme=scheme)
    expect(page.locator(".tile")).to_have_count(18, timeout=20_000)
    expect(page.locator(".alert")).to_have_count(3, timeout=20_000)
    page.wait_for_timeout(5000)
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0
    for phase in ("on", "off"):
        page.wait_for_selector(f"html[data-high='{phase}']", state="attached")
        check(page, f"ward, {look}, flash {phase}")
    page.evaluate("location.hash = '#/patient/bed015'")
    expect(page.get_by_role("heading", name="bed015")).to_be_visible()
    page.wait_for_timeout(2000)
    check(page, f"patient, {look}")
    page.get_by_role("button", name="Acknowledge Ventricular tachycardia of bed015").click()
    check(page, f"dialog, {look}")


def check(page: Page, where: str) -> None:
    assert (found := violations(page)) == "", f"{where}:\n{found}"


def test_without_a_token_nothing_is_shown(stage, open_page):
    ward = stage(2)
    page = open_page(ward.url)
    dialog = page.locator("dialog#sign-in")
    expect(dialog).to_be_visible()
    check(page, "sign in")
    dialog.get_by_label("Token").fill("wrong-token-altogether")
    dialog.get_by_role("button", name="Sign in").click()
    expect(dialog.locator(".fault")).to_have_text("This is not a token of this ward.")
    assert page.locator(".tile").count() == 0
    dialog.get_by_label("Token").fill(ward.view)
    dialog.get_by_role("button", name="Sign in").click()
    expect(page.locator(".tile")).to_have_count(2, timeout=20_000)


def test_a_tab_that_was_hidden_goes_on_with_now(stage, open_page):
    ward = stage(2)
    page = open_page(f"{ward.url}#token={ward.view}")
    expect(page.locator(".tile")).to_have_count(2, timeout=20_000)
    page.wait_for_timeout(4000)
    page.locator("#freeze").click()
    page.wait_for_timeout(16_000)
    kept = page.evaluate("document.querySelector('canvas').sweep.trace.chunks.length")
    assert kept <= 15, "a tab that draws nothing keeps seconds, not minutes"
    page.locator("#freeze").click()
    page.wait_for_timeout(500)
    behind = page.evaluate("(s => s.trace.chunks.at(-1).end - s.time)(document.querySelector('canvas').sweep)")
    assert behind < 3000, "ms"
