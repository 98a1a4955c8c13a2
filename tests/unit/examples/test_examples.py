"""Every manifest of examples/ is valid offline, and together they set every field that a cohort has."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from holter.inference.profiles import parse as parse_profiles
from holter_operator.api import crd
from holter_operator.api.cohort import parse as parse_cohort
from holter_operator.api.manifest import parse
from holter_operator.build.everything import objects
from holter_operator.plan import placeholders

EXAMPLES = Path(__file__).parents[3] / "examples"
FILES = sorted(EXAMPLES.glob("*.yaml"))
COMPANIONS = {"Namespace", "Secret"}


def documents(path):
    return [each for each in YAML(typ="safe").load_all(path) if each is not None]


def cohorts():
    return [each for path in FILES for each in documents(path) if each["kind"] == crd.KIND]


def leaves(schema, path=()):
    """Paths of all fields below which the schema names no others."""
    schema = schema.get("items", schema)
    below = schema.get("properties")
    if not below:
        return {path}
    return {leaf for name, each in below.items() for leaf in leaves(each, (*path, name))}


def given(value, path=()):
    """Paths of all fields that a document sets, and of those above them."""
    if isinstance(value, dict):
        return {path}.union(*(given(each, (*path, name)) for name, each in value.items()))
    if isinstance(value, list):
        return {path}.union(*(given(each, path) for each in value))
    return {path}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_is_valid(path):
    manifest = parse(path.read_text())
    assert manifest.valid, [fault for cohort in manifest.cohorts for fault in cohort.faults]
    found = documents(path)
    assert {each["kind"] for each in found} <= {crd.KIND, *COMPANIONS}
    assert len(manifest.cohorts) == sum(each["kind"] == crd.KIND for each in found)
    for checked in manifest.cohorts:
        cohort = parse_cohort(checked.document)
        assert objects(cohort, placeholders(cohort, "holter-services", "http://influxdb:8086"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_says_what_it_is_for_and_brings_what_it_names(path):
    assert path.read_text().startswith("# ")
    found = documents(path)
    secrets = {each["metadata"]["name"]: each for each in found if each["kind"] == "Secret"}
    wanted = {}
    for cohort in (each for each in found if each["kind"] == crd.KIND):
        spec = cohort["spec"]
        references = [
            spec.get("patientProfiles", {}).get("secretRef"),
            spec.get("access", {}).get("keySecretRef"),
            spec.get("storage", {}).get("influxdb", {}).get("connectionSecretRef"),
            *(webhook.get("secretRef") for webhook in spec.get("alerting", {}).get("webhooks", ())),
        ]
        wanted |= {each["name"]: each.get("key") for each in references if each}
    assert set(secrets) == set(wanted)
    for name, key in wanted.items():
        assert key is None or key in secrets[name]["stringData"]


def test_cohorts_differ_in_name():
    names = [each["metadata"]["name"] for each in cohorts()]
    assert len(names) == len(set(names))


def test_every_field_is_in_an_example():
    # What is written alike everywhere need not be in four of them.
    alike = ("resources", "tolerations")
    fields = {path for path in leaves(crd.schema()["properties"]["spec"]) if not set(path) & set(alike)}
    assert len(fields) > 60
    shown = set().union(*(given(each["spec"]) for each in cohorts()))
    assert fields - shown == set()


def test_the_profiles_of_the_example_are_good():
    (secret,) = [each for each in documents(EXAMPLES / "patient-profiles.yaml") if each["kind"] == "Secret"]
    parsed = parse_profiles(secret["stringData"]["ward-7.yaml"].encode())
    assert parsed.faults == ()
    assert len(parsed.profiles) == 3
