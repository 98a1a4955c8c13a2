"""The dashboards as Grafana's own model of them reads them: a field that it does not know is lost, and a fault.

Grafana itself is not run: it is not to be had on every machine that this runs on.
"""

import json
from copy import deepcopy

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard
from tests.rules.given import SPEC, cohort

from holter_operator.build.monitoring import cohort_dashboard, operator_dashboard, patient_dashboard

UNITS = {value for name, value in vars(units).items() if not name.startswith("_") and isinstance(value, str)}
SAMPLES = {**SPEC, "storage": {"layout": "Samples"}}
BOARDS = {
    "operator": operator_dashboard.content(),
    "cohort": cohort_dashboard.content(cohort()),
    "patient": patient_dashboard.content(cohort()),
    "patient, samples": patient_dashboard.content(cohort(SAMPLES)),
}


@pytest.fixture(scope="module", autouse=True)
def plugins():
    """Panels' options and Prometheus' queries are read by their plugins' models."""
    register_default_plugins()


def lost(written, read, path=()):
    """Where a board that was read and written again is another."""
    if isinstance(written, dict) and isinstance(read, dict):
        for key, value in written.items():
            yield from lost(value, read[key], (*path, key)) if key in read else [(*path, key)]
    elif isinstance(written, list) and isinstance(read, list) and len(written) == len(read):
        for n, (one, other) in enumerate(zip(written, read, strict=True)):
            yield from lost(one, other, (*path, n))
    elif written != read:
        yield path


def through_grafana(board):
    return json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))


@pytest.mark.parametrize("name", BOARDS)
def test_no_field_is_unknown_to_grafana(name):
    board = json.loads(json.dumps(BOARDS[name]))
    assert list(lost(board, through_grafana(board))) == []


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (("schemaVersion",), "schemaVersions"),
        (("templating", "list", 0, "query"), "queries"),
        (("panels", 1, "gridPos", "w"), "width"),
        (("panels", 1, "fieldConfig", "defaults", "unit"), "units"),
        (("panels", 1, "options", "colorMode"), "colourMode"),
        (("panels", 1, "targets", 0, "expr"), "expression"),
    ],
)
def test_a_wrong_field_would_be_found(path, wrong):
    board = deepcopy(BOARDS["operator"])
    *way, last = path
    place = board
    for step in way:
        place = place[step]
    place[wrong] = place.pop(last)
    assert (*way, wrong) in lost(board, through_grafana(board))


@pytest.mark.parametrize("name", BOARDS)
def test_units_and_places_are_grafanas(name):
    taken = {}
    for panel in BOARDS[name]["panels"]:
        if panel["type"] != "row":
            assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        for cell in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
            assert cell not in taken, f"{panel['title']} lies over {taken[cell]}"
            taken[cell] = panel["title"]
    assert len({panel["id"] for panel in BOARDS[name]["panels"]}) == len(BOARDS[name]["panels"])
