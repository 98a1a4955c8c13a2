"""The file of a cohort, and what of it is other on one machine."""

import pytest

from holter_operator.local.cohort_file import FileFaultError, notes, one_machine, read

SECRET = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: pager}\nstringData: {secret: s}\n"


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "ward.yaml"
        path.write_text(text)
        return path

    return write


def test_a_cohort_and_its_secrets(file, cohort_text):
    found = read(file(cohort_text + SECRET))
    assert (found.cohort.namespace, found.cohort.name) == ("st-mary", "ward")
    assert found.document["spec"]["inference"]["window"] == "10s", "defaulted"
    assert [o["metadata"]["name"] for o in found.others] == ["pager"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "0 documents of kind MonitoredCohort: one is expected"),
        (SECRET, "0 documents of kind MonitoredCohort"),
        ("a: [", r"ward.yaml:\d+: "),
        ("{}\n---\n{}", "one is expected"),
        ("kind: Deployment", "kind"),
        ("just text", "not a group of fields"),
    ],
)
def test_what_is_no_cohort_is_told(file, text, words):
    with pytest.raises(FileFaultError, match=words):
        read(file(text))


def test_two_cohorts_in_one_file_are_one_too_many(file, cohort_text):
    with pytest.raises(FileFaultError, match="2 documents of kind MonitoredCohort"):
        read(file(f"{cohort_text}---{cohort_text}"))


def test_every_fault_is_told_with_its_line(file, cohort_text):
    text = cohort_text + "  inference: {window: soon}\n  refit: {minWindows: 1}\n"
    with pytest.raises(FileFaultError) as raised:
        read(file(text))
    first, second = str(raised.value).splitlines()
    assert "ward.yaml:9: spec.inference.window" in first
    assert "ward.yaml:10: spec.refit.minWindows" in second


def test_one_replica_of_each_here_and_it_is_said(file, cohort_text):
    cohort = read(file(f"{cohort_text}  ingest: {{autoscaling: {{enabled: true, maxReplicas: 9}}}}\n")).cohort
    here = one_machine(cohort)
    assert (here.spec.ingest.replicas, here.spec.inference.replicas) == (1, 1)
    assert not here.spec.ingest.autoscaling.enabled
    assert notes(cohort) == (
        "ingest: 9 replicas in a cluster, one process here",
        "inference: 2 replicas in a cluster, one process here",
    )
    assert notes(here) == ()
