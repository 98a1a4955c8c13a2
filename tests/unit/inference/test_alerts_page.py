"""docs/alerts.md: its example verifies what we sign, its tables name what we send."""

import json
import re
import time
from pathlib import Path

import pytest

from holter.alert import AlertEvent, Kind, Priority, Transition
from holter.inference.sinks.alertmanager import labels
from holter.inference.sinks.webhook import payload, signature

PAGE = (Path(__file__).parents[3] / "docs" / "alerts.md").read_text()
EVENT = AlertEvent("a-1", "a", Transition.RAISED, "bed", Kind.ASYSTOLE, Priority.HIGH, 10**15, 10**15 + 1, "no beat")
BODY = payload(EVENT, "st-mary", "cardiology")


@pytest.fixture
def verify():
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names = {}
    exec(example, names)
    return names["verify"]


def test_the_example_verifies_what_we_sign(verify):
    now = int(time.time())
    assert verify(b"secret", signature(b"secret", now, BODY), BODY)
    assert not verify(b"another", signature(b"secret", now, BODY), BODY)
    assert not verify(b"secret", signature(b"secret", now, BODY), BODY + b" ")
    assert not verify(b"secret", signature(b"secret", now - 3600, BODY), BODY)
    assert not verify(b"secret", signature(b"secret", now - 3600, BODY).replace(f"t={now - 3600}", f"t={now}"), BODY)
    for header in ("", "t=,v1=", f"t={now}", "v1=00", "nonsense", "t=x,v1=é"):
        assert not verify(b"secret", header, BODY)


def table(heading):
    (rows,) = re.findall(rf"\| {heading} \|.*?\n\|[-|]+\n((?:\|.*\n)+)", PAGE)
    return {name for row in rows.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])}


def test_the_tables_are_complete():
    assert table("field") == set(json.loads(BODY))
    assert table("label") == set(labels(EVENT, "st-mary", "cardiology"))
    for kind in Kind:
        assert f"`{kind}`" in PAGE
