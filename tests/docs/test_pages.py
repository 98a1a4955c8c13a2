"""The pages build without a warning, say what is so, and load nothing from elsewhere."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from scripts import api_reference
from tests.chromium import violations

from holter_operator.kubectl.command import COMMANDS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md"))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """All pages, built as `make docs` builds them."""
    folder = tmp_path_factory.mktemp("docs")
    command = [
        Path(sys.executable).with_name("sphinx-build"),
        "-q",
        "-W",
        "--keep-going",
        "-b",
        "dirhtml",
        DOCS,
        folder,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class _Parts(HTMLParser):
    """What a page loads, what it links to and the anchors that it has."""

    def __init__(self):
        super().__init__()
        self.loads, self.links, self.anchors, self.inline = [], [], set(), []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if "id" in found:
            self.anchors.add(found["id"])
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        elif tag in ("link", "script", "img", "iframe", "source"):
            self.loads += [found[name] for name in ("src", "href") if found.get(name)]


def read(path):
    parts = _Parts()
    parts.feed(path.read_text())
    return parts


def test_every_page_is_in_the_book(built):
    assert {path.relative_to(DOCS).with_suffix("").as_posix() for path in PAGES} <= {
        page.parent.relative_to(built).as_posix().removeprefix(".") or "index" for page in built.rglob("index.html")
    } | {"index", "runbooks/index"}


def test_nothing_is_loaded_from_elsewhere(built):
    for page in built.rglob("*.html"):
        assert [each for each in read(page).loads if re.match(r"(https?:)?//", each)] == [], page
    for style in built.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", style.read_text()), style


def test_every_link_within_leads_somewhere(built):
    pages = {page: read(page) for page in built.rglob("*.html")}
    broken = []
    for page, parts in pages.items():
        for link in parts.links + parts.loads:
            path, _, anchor = link.partition("#")
            if re.match(r"[a-z]+:", link) or link.startswith("//"):
                continue
            target = (page.parent / path.partition("?")[0]).resolve() if path else page
            target = target / "index.html" if target.is_dir() else target
            known = not anchor or target not in pages or anchor in pages[target].anchors
            if not target.exists() or not known:
                broken.append((page.relative_to(built), link))
    assert not broken


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1280)])
def test_axe_finds_nothing(built, browser, scheme, width):
    """Neither on a phone, where tables and code scroll, nor on a desk."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    found = {}
    for path in sorted(built.rglob("*.html")):
        page.goto(path.as_uri())
        found[path.relative_to(built).as_posix()] = violations(page)
    page.close()
    assert len(found) >= len(PAGES)
    assert {name: fault for name, fault in found.items() if fault} == {}


def test_the_api_reference_is_of_this_crd():
    assert (DOCS / "api.md").read_text() == api_reference.page(), "python -m scripts.api_reference writes it"


def test_links_of_the_readme_are_there():
    for link in re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text()):
        assert link.startswith("http") or (ROOT / link).exists(), link


def test_commands_that_are_named_exist():
    known = {entry.name for entry in entry_points(group="holter.commands")}
    plugin = {command.name for command in COMMANDS}
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in (*PAGES, ROOT / "README.md"):
        text = page.read_text()
        blocks = "\n".join(
            [*re.findall(r"```(?:sh|console)\n(.*?)```", text, re.DOTALL), *re.findall(r"`([^`\n]+)`", text)]
        )
        for command in re.findall(r"\bkubectl holter ([a-z][a-z-]*)", blocks):
            assert command in plugin, (page, command)
        for command in re.findall(r"(?:^|\$ |\.venv/bin/)(?<!kubectl )holter ([a-z][a-z-]*)", blocks, re.MULTILINE):
            assert command in known, (page, command)
        for target in re.findall(r"(?:^|\$ )make ([a-z][a-z0-9-]*)", blocks, re.MULTILINE):
            assert target in targets, (page, target)


def test_pictures_have_a_title():
    for picture in (DOCS / "images").glob("*.svg"):
        assert re.search(r"<title>.+</title>", picture.read_text()), picture
