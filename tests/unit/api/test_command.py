"""`holter validate`: what it prints, and how it exits."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from holter_operator.api.command import validate

EXAMPLE = Path(__file__).parents[3] / "examples" / "ward.yaml"
GOOD = """\
apiVersion: holter.dev/v1alpha1
kind: MonitoredCohort
metadata: {name: ward, namespace: st-mary}
spec: {}
"""
BAD = """\
apiVersion: holter.dev/v1alpha1
kind: MonitoredCohort
metadata:
  name: ward-7
  namespace: st-mary
spec:
  ingest:
    replcas: 3
  inference:
    interval: 5s
    window: 4s
"""
OTHER = "apiVersion: v1\nkind: Secret\nmetadata: {name: influxdb, namespace: st-mary}\n"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments, stdin=None, **files):
        for name, text in files.items():
            Path(f"{name}.yaml").write_text(text)
        return CliRunner().invoke(validate, arguments, input=stdin)

    return run


def test_the_example_is_valid(run):
    result = run(str(EXAMPLE))
    assert result.exit_code == 0
    assert result.stdout.endswith("st-mary/cardiology-ward is valid\n")


def test_faults_have_file_line_field_and_advice(run):
    result = run("ward.yaml", ward=BAD)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "ward.yaml:8: spec.ingest.replcas: unknown field; did you mean replicas?",
        "ward.yaml:11: spec.inference.window: 4s is shorter than the interval 5s; at least that, "
        "or samples between two windows are never scored",
        "ward.yaml:1: st-mary/ward-7 is not valid: 2 faults",
    ]


def test_many_documents_others_are_skipped_with_a_note(run):
    result = run("all.yaml", all=f"{GOOD}---\n{OTHER}---\n{BAD}")
    assert result.exit_code == 1
    assert "all.yaml:1: st-mary/ward is valid" in result.stdout
    assert "all.yaml:6: Secret st-mary/influxdb is not a MonitoredCohort: skipped" in result.stdout
    assert "all.yaml:17: spec.ingest.replcas" in result.stderr


def test_several_files(run):
    assert run("a.yaml", "b.yaml", a=GOOD, b=OTHER).exit_code == 0
    assert run("a.yaml", "b.yaml", a=GOOD, b=BAD).exit_code == 1


def test_standard_input(run):
    result = run("-", stdin=BAD)
    assert result.exit_code == 1
    assert result.stderr.startswith("<stdin>:8: spec.ingest.replcas")


def test_nothing_to_validate_is_no_success(run):
    result = run("secret.yaml", secret=OTHER)
    assert result.exit_code == 1
    assert "no MonitoredCohort found" in result.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD.replace("Cohort", "Cohrot"), 'kind: "MonitoredCohrot" is none of MonitoredCohort; did you mean'),
        (GOOD.replace("v1alpha1", "v1"), 'apiVersion: "holter.dev/v1" is none of holter.dev/v1alpha1'),
        (GOOD.replace("apiVersion: holter.dev/v1alpha1\n", ""), "apiVersion: is missing"),
        (GOOD.replace("name: ward, ", ""), "metadata.name: is missing"),
        (GOOD.replace("metadata", "metdata"), "metdata: unknown field; did you mean metadata?"),
        (GOOD.replace("metadata: {", "metadata: {owner: x, "), "metadata.owner: unknown field"),
        (GOOD.replace("metadata: {", "metadata: {labels: {a: true}, "), "metadata.labels.a: true is not"),
        (GOOD.replace("metadata: {", "metadata: {labels: {a b: x}, "), "metadata.labels[a b]: "),
        (GOOD.replace("metadata: {name: ward, namespace: st-mary}", "metadata: ward"), "metadata: "),
        (GOOD.replace("st-mary", "St Mary"), "metadata.namespace: "),
        (GOOD.replace("spec: {}", "spec: []"), "spec: [] is not a group of fields"),
        (f"kind: List\nitems:\n- {BAD.replace(chr(10), chr(10) + '  ')}", ":13: spec.inference.window: "),
    ],
)
def test_what_was_meant_for_a_cohort_is_not_skipped(run, text, words):
    result = run("ward.yaml", ward=text)
    assert result.exit_code == 1
    assert words in result.stderr


def test_what_the_server_writes_is_let_be(run):
    metadata = "metadata: {uid: a, resourceVersion: '1', creationTimestamp: null, managedFields: [], "
    text = GOOD.replace("metadata: {", metadata) + "status: {phase: Ready, bucket: {name: st-mary.ward}}\n"
    assert run("ward.yaml", ward=text).exit_code == 0


def test_syntax_has_a_line_and_spares_what_is_before(run):
    result = run("ward.yaml", ward=f"{GOOD}---\na: [\n")
    assert result.exit_code == 1
    assert "ward.yaml:1: st-mary/ward is valid" in result.stdout
    assert "ward.yaml:7: not YAML: " in result.stderr


@pytest.mark.parametrize("arguments", [("none.yaml",), ("ward.yaml", "--old", "none.yaml"), (".",)])
def test_a_file_that_cannot_be_read(run, arguments):
    result = run(*arguments, ward=GOOD)
    assert result.exit_code == 2
    assert "cannot read" in result.stderr


def test_a_file_that_is_no_text(run):
    Path("ward.yaml").write_bytes(b"\xff\xfe")
    result = run("ward.yaml")
    assert result.exit_code == 2
    assert "not UTF-8 at byte 0" in result.stderr


def test_changes_are_validated_against_the_old_one(run):
    new = GOOD.replace("{}", "{signal: {sampleRate: 500}}")
    assert run("new.yaml", new=new).exit_code == 0
    result = run("new.yaml", "--old", "old.yaml", new=new, old=GOOD)
    assert result.exit_code == 1
    assert "new.yaml:4: spec.signal.sampleRate: 500: the sample rate of a cohort cannot be changed" in result.stderr


def test_the_old_one_may_come_from_the_server_with_its_bucket(run):
    old = GOOD + "status: {bucket: {name: st-mary.ward}}\n"
    other, same = (GOOD.replace("{}", f"{{storage: {{bucket: st-mary.{name}}}}}") for name in ("other", "ward"))
    assert run("new.yaml", "--old", "old.yaml", new=other, old=old).exit_code == 1
    assert run("new.yaml", "--old", "old.yaml", new=same, old=old).exit_code == 0


def test_a_cohort_without_an_old_one_is_said(run):
    result = run("new.yaml", "--old", "old.yaml", new=GOOD, old=GOOD.replace("ward", "other"))
    assert result.exit_code == 0
    assert "st-mary/ward is not in old.yaml: validated as a new cohort" in result.stdout


@pytest.mark.parametrize(("text", "words"), [(OTHER, "no MonitoredCohort in it"), ("a: [", "not YAML, line 1")])
def test_an_old_file_without_a_cohort(run, text, words):
    result = run("new.yaml", "--old", "old.yaml", new=GOOD, old=text)
    assert result.exit_code == 2
    assert words in result.stderr


def test_json(run):
    result = run("all.yaml", "--output", "json", all=f"{OTHER}---\n{BAD}")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["valid"] is False
    (file,) = report["files"]
    assert file["file"] == "all.yaml"
    assert file["skipped"][0]["line"] == 1
    (cohort,) = file["cohorts"]
    assert (cohort["namespace"], cohort["name"], cohort["valid"]) == ("st-mary", "ward-7", False)
    assert cohort["faults"][0] == {
        "line": 12,
        "path": "spec.ingest.replcas",
        "message": "unknown field; did you mean replicas?",
    }
    assert json.loads(run("ward.yaml", "--output", "json", ward=GOOD).stdout)["valid"] is True
