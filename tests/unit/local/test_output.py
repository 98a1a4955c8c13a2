"""Log lines for people."""

import io
import json

import pytest
from rich.console import Console

from holter_operator.local.output import Output

RECORD = {"service": "ingest", "level": "info", "timestamp": "2026-03-01T10:11:12.5Z", "event": "stored"}
LINE = json.dumps(RECORD | {"chunks": 3, "a": "b c"})


@pytest.fixture
def shown():
    def show(component, line, **options):
        screen = io.StringIO()
        Output(Console(file=screen, width=20), **options).line(component, line)
        return screen.getvalue()

    return show


def test_json_is_made_readable(shown):
    assert shown("ingest", LINE) == 'ingest │ 10:11:12 stored chunks=3 a="b c"\n', "one line, however narrow the screen"


def test_raw_leaves_it(shown):
    assert shown("ingest", LINE, raw=True) == f"ingest │ {LINE}\n"


@pytest.mark.parametrize("line", ["plain [bold]text[/]", "{no json", '{"a": 1}', '["event"]', ""])
def test_other_lines_are_shown_as_they_are(shown, line):
    assert shown("ingest", line) == f"ingest │ {line}\n"


def test_quiet_shows_what_somebody_has_to_look_at(shown):
    assert shown("ingest", LINE, quiet=True) == ""
    assert "stored" in shown("ingest", LINE.replace('"info"', '"warning"'), quiet=True)
    assert "Traceback" in shown("ingest", "Traceback", quiet=True)


def test_an_exception_comes_below_its_event(shown):
    line = json.dumps({"level": "error", "event": "failed", "exception": "Traceback\n  ValueError"})
    assert shown("ingest", line) == "ingest │ failed\nTraceback\n  ValueError\n"


def test_our_own_lines_look_the_same():
    screen = io.StringIO()
    output = Output(Console(file=screen, width=200))
    output.logger().bind(component="ingest").warning("not ready", reason="why")
    output.line("ingest", LINE)
    first, second = screen.getvalue().splitlines()
    assert first.startswith("up │ ")
    assert first.endswith(" not ready component=ingest reason=why")
    assert second.startswith("ingest │ ")
