"""`kubectl holter` as an engineer runs it, on the ward that test_e2e.py has left running."""

import tarfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from scripts.cluster import eventually
from tests.e2e.steps import WARD, said

pytestmark = pytest.mark.timeout(420)
INGEST = f"http://ward-ingest.{WARD}.svc:8080/ingest"


@pytest.fixture
def live(replay):
    """A patient who sends for a minute while the test goes on."""
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(replay, "http", {"bed-101": ("mitdb/101", 0, 60)}, 1)
        yield
        sending.result()


def test_status_of_a_ward_that_is_well(plugin, live, capsys):
    def well():
        found = plugin("status", "ward", "--measure", "4", code=None)
        return found if found["exitCode"] == 0 and found["figures"]["samples"] > 0 else None

    found = eventually("the ward is well", well, seconds=45)
    assert (found["verdict"], found["phase"]) == ("well", "Ready")
    assert found["figures"]["unowned"] == 0
    assert {alert["device"] for alert in found["alerts"]}, "the console tells of the alerts so far"
    assert [each for each in found["findings"] if each["level"] != "note"] == []
    said(capsys, f"{found['figures']['samples']:.0f} samples/s, {found['figures']['delay']:.2f} s to a decision")


def test_a_devices_token_lets_it_in_and_a_refused_one_is_named(plugin, toolbox):
    token = plugin("token", "wearable-7", "ward")["token"]
    assert toolbox("post", INGEST, "wearable-7", token) == 202
    assert toolbox("post", INGEST, "wearable-8", token) == 403

    def named():
        found = plugin("status", "ward", "--measure", "1", "--alerts", "0", code=None)
        return [each for each in found["findings"] if "ingest refuses wearable-8" in each["what"]]

    (finding,) = eventually("the refused device", named, seconds=45, pause=2)
    assert finding["level"] == "note"
    assert finding["do"] == f"kubectl holter token wearable-8 ward -n {WARD}"


def test_what_breaks_while_paused_is_repaired_at_resume(kubectl, plugin, settled):
    assert plugin("pause", "ward")["paused"] is True
    kubectl.run("delete", "service/ward-console", "-n", WARD)
    assert plugin("status", "ward", "--measure", "0", "--alerts", "0", code=None)["phase"] == "Paused"
    assert kubectl.get("service", "ward-console", namespace=WARD) is None
    assert plugin("resume", "ward")["paused"] is False
    settled("ward", 60)
    eventually("the Service", lambda: kubectl.get("service", "ward-console", namespace=WARD), seconds=30)


def test_a_refit_ends_with_the_gates_word(kubectl, plugin, capsys):
    before = kubectl.get("cohort", "ward", namespace=WARD)["status"]["model"]["revision"]
    found = plugin("refit", "ward", code=None)
    verdict = found["candidate"]["verdict"]
    now = kubectl.get("cohort", "ward", namespace=WARD)["status"]["model"]["revision"]
    # Both are answers: the false-alert budget has been changed since the first model.
    accepted = verdict == f"Accepted as revision {before + 1}"
    assert accepted or verdict == "Refused", found
    assert now == before + accepted
    said(capsys, f"{found['job']}: {verdict}")


def test_rollback_holds_a_revision_until_it_is_released(kubectl, plugin, pods):
    newest = kubectl.get("cohort", "ward", namespace=WARD)["status"]["model"]["revision"]
    found = plugin("rollback", "ward", "--to", "1")
    assert (found["revision"], found["held"]) == (1, True)
    assert kubectl.get("cohort", "ward", namespace=WARD)["spec"]["model"]["pinnedRevision"] == 1
    assert plugin("rollback", "ward", "--release")["revision"] == newest


def test_a_report_has_what_support_needs_and_no_patient(plugin, tmp_path):
    file = tmp_path / "report.tar.gz"
    plugin("report", "ward", "--logs", "--file", file)
    with tarfile.open(file) as bundle:
        found = {
            entry.name.split("/", 1)[-1]: bundle.extractfile(entry).read().decode()
            for entry in bundle
            if entry.isfile()
        }
    assert {"status.json", "cohort.json"} <= set(found)
    assert any(
        name.startswith("metrics/ward-ingest") and "holter_ingest_samples_total" in text for name, text in found.items()
    )
    assert any(name.startswith("logs/ward-inference") and text for name, text in found.items())
    for device in ("vf-426", "vf-424", "wearable-8", "bed-100"):
        assert [name for name, text in found.items() if device in text] == []
