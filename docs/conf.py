"""Sphinx: Markdown in, static pages out; nothing on them comes from elsewhere. `make docs` builds them strictly."""

import re
from pathlib import Path

project = "Holter"
copyright = "Apache-2.0"  # noqa: A001 - its name in Sphinx
html_title = "Holter"
extensions = ["myst_parser"]
myst_enable_extensions = ["deflist", "colon_fence"]
myst_heading_anchors = 3
suppress_warnings = ["misc.highlighting_failure"]
nitpicky = True
exclude_patterns = ["clients/*"]
html_theme = "furo"
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"source_view_link": "", "top_of_page_buttons": []}

_DOCS = Path(__file__).parent
_LINK = re.compile(r"\[([^\]]+)\]\((\.\./[^)#\s]+)\)")


def _name_files(_app, name, source):
    """A link to a file outside of docs/ becomes its name: the pages are published without it. It has to be there."""

    def named(match):
        found = (_DOCS / name).parent.joinpath(match[2]).resolve()
        if not found.exists():
            raise FileNotFoundError(f"docs/{name}.md links to {match[2]}, which is not in the repository")
        if found.is_relative_to(_DOCS):
            return match[0]
        path = found.relative_to(_DOCS.parent).as_posix()
        return f"{match[1]} (`{path}`)"

    source[0] = _LINK.sub(named, source[0])


# What Sphinx and its theme write that a keyboard or a screen reader cannot use (WCAG 2.2), and what it has to be. What
# is wider than a phone scrolls, so it can be focused.
_ACCESSIBLE = (
    ('<p class="caption" role="heading">', '<p class="caption" role="heading" aria-level="2">'),
    ('<aside class="sidebar-drawer">', '<aside class="sidebar-drawer" aria-label="All pages">'),
    ('<aside class="toc-drawer">', '<aside class="toc-drawer" aria-label="On this page">'),
    ('<aside class="toc-drawer no-toc">', '<aside class="toc-drawer no-toc" aria-label="On this page">'),
    ('<th class="head"><p></p></th>', '<td class="head"></td>'),
    ("<pre>", '<pre tabindex="0">'),
    (
        '<div class="table-wrapper colwidths-auto docutils container">',
        '<div class="table-wrapper colwidths-auto docutils container" tabindex="0">',
    ),
    ('<div id="search-results"></div>', '<h1>Search</h1><section id="search-results"></section>'),
)


def _make_accessible(app, exception):
    """Mend the pages that were written; doing it twice changes nothing."""
    for page in Path(app.outdir).rglob("*.html") if exception is None else ():
        text = page.read_text(encoding="utf-8")
        for found, wanted in _ACCESSIBLE:
            text = text.replace(found, wanted)
        page.write_text(text, encoding="utf-8")


def setup(app):
    """Called by Sphinx."""
    app.connect("source-read", _name_files)
    app.connect("build-finished", _make_accessible)
