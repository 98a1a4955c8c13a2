"""`holter plan`."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from holter_operator.api.command import validate
from holter_operator.plan import plan

COHORTS = Path(__file__).parent / "cohorts"


def run(command, *arguments, text=None):
    return CliRunner().invoke(command, [str(argument) for argument in arguments], input=text)


def documents(result):
    assert (result.exit_code, result.stderr) == (0, "")
    return list(yaml.load_all(result.stdout, yaml.CSafeLoader))


@pytest.mark.parametrize("name", ["minimal", "everything", "persistent"])
def test_it_prints_all_objects_as_yaml(name):
    built = documents(run(plan, COHORTS / f"{name}.yaml"))
    assert {"Deployment", "StatefulSet"} & {each["kind"] for each in built}
    assert [each["kind"] for each in built if each["kind"] == "CronJob"] == ["CronJob"]
    (config,) = [each for each in built if each["metadata"]["name"].endswith("-config")]
    assert config["data"]["ingest.json"].startswith('{\n  "cohort"')


def test_secrets_are_placeholders_that_cannot_be_taken_for_keys():
    built = documents(run(plan, COHORTS / "minimal.yaml"))
    secrets = {each["metadata"]["name"]: each["stringData"] for each in built if each["kind"] == "Secret"}
    components = ("ingest", "inference", "refit", "console")
    assert list(secrets) == ["ward-device-key", *(f"ward-influxdb-{c}" for c in components), "ward-console"]
    assert secrets["ward-console"] == {"view": "<random token>", "acknowledge": "<another random token>"}
    assert secrets["ward-device-key"] == {"current": "<32 random bytes>"}
    assert secrets["ward-influxdb-refit"] == {
        "url": "http://influxdb:8086",
        "org": "<organisation>",
        "bucket": "st-mary.ward",
        "token": "<token for this component and bucket>",
    }


def test_a_namespace_is_for_cohorts_that_do_not_name_one(tmp_path):
    text = "apiVersion: holter.dev/v1alpha1\nkind: MonitoredCohort\nmetadata: {name: ward}\nspec: {}\n"
    assert {each["metadata"]["namespace"] for each in documents(run(plan, "-", text=text))} == {"default"}
    assert {each["metadata"]["namespace"] for each in documents(run(plan, "-", "-n", "icu", text=text))} == {"icu"}
    built = documents(run(plan, COHORTS / "minimal.yaml", "--namespace", "icu"))
    assert {each["metadata"]["namespace"] for each in built} == {"st-mary"}


def test_image_and_store_can_be_named():
    result = run(plan, COHORTS / "minimal.yaml", "--image", "ours:7", "--influxdb", "http://store.db.svc:8086")
    assert "image: ours:7" in result.stdout
    assert "url: http://store.db.svc:8086" in result.stdout
    assert "kubernetes.io/metadata.name: db" in result.stdout


def test_every_cohort_of_a_file_is_planned():
    text = "---\n".join((COHORTS / f"{name}.yaml").read_text() for name in ("minimal", "persistent"))
    found = {each["metadata"]["labels"]["holter.dev/cohort"] for each in documents(run(plan, "-", text=text))}
    assert found == {"ward", "rehabilitation"}


BAD = """\
apiVersion: holter.dev/v1alpha1
kind: MonitoredCohort
metadata: {name: ward}
spec:
  inference:
    window: 3s
  refit: {minWindows: -1}
"""


def test_faults_are_told_as_validate_tells_them(tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text(BAD)
    result = run(plan, file)
    assert (result.exit_code, result.stdout) == (1, "")
    told = result.stderr.splitlines()
    assert told
    assert all(line.startswith(f"{file}:") for line in told)
    assert set(told) <= set(run(validate, file).stderr.splitlines())
    assert any("spec.refit.minWindows" in line for line in told)


@pytest.mark.parametrize(("text", "words"), [("kind: Pod\n", "no MonitoredCohort found"), ("a: [\n", "not YAML")])
def test_a_file_without_a_cohort_is_a_fault(text, words):
    result = run(plan, "-", text=text)
    assert (result.exit_code, result.stdout) == (1, "")
    assert words in result.stderr


def test_a_file_that_is_no_text(tmp_path):
    file = tmp_path / "cohort.yaml"
    file.write_bytes(b"kind: \xff")
    result = run(plan, file)
    assert result.exit_code == 2
    assert "not UTF-8 at byte 6" in result.stderr


def test_a_file_that_is_not_there():
    result = run(plan, "nowhere.yaml")
    assert result.exit_code == 2
    assert "nowhere.yaml" in result.stderr
