"""The table of bad manifests, offline: every fault names its field and what would be right."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from holter_operator.api import crd, rules, structural
from holter_operator.api.schema import check

ROWS: list[dict[str, Any]] = YAML(typ="safe").load(Path(__file__).with_name("manifests.yaml"))
NEIGHBOURS = [row for row in ROWS if "accepted" in row]


def manifest(row: dict[str, Any], spec: dict[str, Any] | None) -> dict[str, Any]:
    base = {"apiVersion": crd.API_VERSION, "kind": crd.KIND, "metadata": {"name": "ward", "namespace": "st-mary"}}
    return {**base, "spec": spec}


def refused(row: dict[str, Any]) -> dict[str, Any]:
    return {**manifest(row, row.get("spec", {})), **row.get("document", {})}


def old(row: dict[str, Any]) -> dict[str, Any] | None:
    return {**manifest(row, row["old"]), "status": row.get("oldStatus", {})} if "old" in row else None


def why(row: dict[str, Any]) -> str:
    return row["why"]


@pytest.mark.parametrize("row", ROWS, ids=why)
def test_refused(row):
    _, faults = check(refused(row), old(row))
    assert {fault.path for fault in faults} == set(row["faults"])
    for path, words in row["faults"].items():
        assert any(words in fault.message for fault in faults if fault.path == path), faults


@pytest.mark.parametrize("row", NEIGHBOURS, ids=why)
def test_the_nearest_right_one_is_accepted(row):
    assert check(manifest(row, row["accepted"]), old(row))[1] == []


@pytest.mark.parametrize("row", [row for row in ROWS if "old" in row], ids=why)
def test_rules_on_changes_need_something_that_changes(row):
    assert check(refused(row))[1] == []


def test_the_table_is_large_enough():
    assert len(ROWS) >= 20
    assert len({row["why"] for row in ROWS}) == len(ROWS)


def marked(schema: Any, *, never: bool, path: str = "") -> Any:
    """The schema with the place of each rule as its message; with `never`, no rule holds."""
    if isinstance(schema, list):
        return [marked(item, never=never, path=f"{path}[]") for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: marked(value, never=never, path=f"{path}.{key}") for key, value in schema.items()}
    if rules_here := schema.get("x-kubernetes-validations"):
        result["x-kubernetes-validations"] = [
            {"rule": f"false && ({rule['rule']})" if never else rule["rule"], "message": f"{path}#{n}"}
            for n, rule in enumerate(rules_here)
        ]
    return result


def broken(document: dict[str, Any], before: dict[str, Any] | None, schema: dict[str, Any]) -> set[str]:
    """The marks of the rules that do not hold."""
    plain = structural.object_schema()
    old = structural.defaulted(before, plain) if before else None
    found = rules.broken(structural.defaulted(document, plain), old, schema)
    return {rule.message.rpartition(": ")[2] for rule in found if rule.evaluated}


def marks(schema: Any) -> set[str]:
    if isinstance(schema, dict):
        own = {rule["message"] for rule in schema.get("x-kubernetes-validations", ())}
        return own.union(*(marks(value) for key, value in schema.items() if key != "x-kubernetes-validations"))
    return set()


def test_every_rule_refuses_a_manifest_of_the_table():
    schema = marked(structural.object_schema(), never=False)
    assert marks(schema) - set().union(*(broken(refused(row), old(row), schema) for row in ROWS)) == set()


def test_every_rule_accepts_a_manifest_of_the_table():
    schema = marked(structural.object_schema(), never=True)
    evaluated = set().union(*(broken(manifest(row, row["accepted"]), old(row), schema) for row in NEIGHBOURS))
    assert marks(schema) - evaluated == set()


def patterns(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            yield path, schema
        for name, inner in schema.items():
            yield from patterns(inner, f"{path}.{name}")


@pytest.mark.parametrize(
    ("place", "field"), list(patterns(crd.schema())), ids=lambda v: v if isinstance(v, str) else ""
)
def test_every_pattern_is_told_in_words_and_bounded(place, field):
    assert field.get("title"), f"{place}: a pattern needs a title, which says in words what it admits"
    assert field.get("maxLength"), f"{place}: CEL's cost needs a maxLength"


def fields(schema: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, inner in schema.get("properties", {}).items():
        yield f"{path}.{name}", inner
        yield from fields(inner, f"{path}.{name}")
    if "items" in schema:
        yield from fields(schema["items"], f"{path}[]")


def test_every_field_is_described():
    missing = [p for p, field in fields(crd.schema()["properties"]["spec"], "spec") if not field.get("description")]
    missing += [
        p for p, field in fields(crd.schema()["properties"]["status"], "status") if not field.get("description")
    ]
    assert missing == []


def test_an_empty_spec_is_complete():
    document, faults = check(manifest({}, {}))
    assert faults == []
    optional = {
        "spec.storage.influxdb.connectionSecretRef",
        "spec.model.pinnedRevision",
        "spec.alerting.alertmanager",
        "spec.patientProfiles",
        "spec.access.keySecretRef",
        "spec.tls",
    }
    for path, _ in fields(crd.schema()["properties"]["spec"], "spec"):
        if "[]" in path or any(path == o or path.startswith(f"{o}.") for o in optional) or ".resources." in path:
            continue
        value: Any = document
        for step in path.split("."):
            assert step in value, path
            value = value[step]


def test_defaults_are_copies():
    first, _ = check(manifest({}, {}))
    first["spec"]["ingest"]["resources"]["limits"]["memory"] = "9Gi"
    second, _ = check(manifest({}, {}))
    assert second["spec"]["ingest"]["resources"]["limits"]["memory"] == "1Gi"


NAMES = st.text(max_size=4) | st.sampled_from(["name", "url", "key"])
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["5s", "a"])
JSON = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)
PLACES = [path.split(".") for path, _ in fields(crd.schema()["properties"]["spec"], "spec") if "[]" not in path]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PLACES), JSON), min_size=1, max_size=3), st.booleans())
def test_whatever_a_field_holds_it_is_judged(values, twice):
    document = manifest({}, {})
    for place, value in values:
        node = document
        for step in place[:-1]:
            node = node.setdefault(step, {}) if isinstance(node, dict) else {}
        if isinstance(node, dict):
            node[place[-1]] = value
    _, faults = check(document, document if twice else None)
    assert all(fault.path and fault.message for fault in faults)


@settings(deadline=None)
@given(JSON)
def test_whatever_a_document_is_it_is_judged(document):
    assert check(document)[1] != []
