"""`kubectl holter` as a person runs it, against a real API server and the operator."""

import base64
import json
import os
import secrets
import signal
import subprocess
import tarfile
import time
from datetime import UTC, datetime

import pytest
from tests.operating import HOLTER, wait

from holter import keys

pytestmark = pytest.mark.timeout(240)
PLUGIN = HOLTER.with_name("kubectl-holter")
NO_PODS = ("--measure", "0", "--alerts", "0")
"""No node runs pods here: there is nothing to ask them."""


def run(*arguments, kubeconfig=None, program=PLUGIN, stdin="", path=None):
    environment = {**os.environ, **({"KUBECONFIG": str(kubeconfig)} if kubeconfig else {})}
    if path:  # kubectl finds its plugins there
        environment["PATH"] = f"{path}:{environment['PATH']}"
    return subprocess.run(
        [program, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=120, input=stdin
    )


def told(*arguments, code=0, **more):
    """What a command answers as JSON."""
    done = run(*arguments, "-o", "json", **more)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def ward(cluster, ns, operator):
    """A cohort that is Ready; its operator runs."""
    operator.start()
    cluster.cohort(ns, refit={"minWindows": 50})
    wait(lambda: cluster.run_pods(ns), 60, "Ready")
    return ns


def jobs(cluster, ns):
    return {job.metadata.name: job for job in cluster.kind("batch/v1/Job").get(namespace=ns).items}


def end(cluster, ns, name, *, failed=False):
    """End a Job, as its controller would."""
    started = wait(lambda: (jobs(cluster, ns)[name].get("status") or {}).get("startTime"), 30, "its controller saw it")
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    kinds = ("FailureTarget", "Failed") if failed else ("SuccessCriteriaMet", "Complete")
    why = {"reason": "BackoffLimitExceeded", "message": "it has failed too often"} if failed else {}
    status = {
        "startTime": started,
        "conditions": [{"type": kind, "status": "True", "lastTransitionTime": now, **why} for kind in kinds],
        **({} if failed else {"completionTime": now, "succeeded": 1}),
    }
    job = cluster.kind("batch/v1/Job")
    body = {"status": {**status, "active": 0, "ready": 0, "terminating": 0, "uncountedTerminatedPods": {}}}
    job.status.patch(namespace=ns, name=name, body=body, content_type="application/merge-patch+json")


def test_status_of_a_cohort_that_is_well(cluster, ward):
    found = told("status", "ward", "-n", ward, *NO_PODS)
    assert (found["verdict"], found["exitCode"], found["phase"]) == ("well", 0, "Ready")
    assert {part["component"]: part["available"] for part in found["workloads"]}["ingest"] is True
    assert found["bucket"]["name"] == f"{ward}.ward"
    # It is learning, and its operator is a process of this test.
    assert [each["level"] for each in found["findings"]] == ["note", "note"]
    screen = run("status", "-n", ward, *NO_PODS)
    assert screen.returncode == 0
    assert f"{ward}/ward  well" in screen.stdout
    assert "learning" in screen.stdout
    # The plugin's name for kubectl, and the same by holter's own.
    by_kubectl = run("holter", "status", "-n", ward, *NO_PODS, program="kubectl", path=PLUGIN.parent)
    assert by_kubectl.stdout.startswith(f"{ward}/ward  well")
    by_holter = run("-n", ward, "status", *NO_PODS, program=HOLTER)
    assert by_holter.stdout.startswith(f"{ward}/ward  well")


def test_pods_that_cannot_be_asked_are_not_called_well(ward):
    done = run("status", "-n", ward, "--measure", "0.1")
    assert done.returncode == 2
    assert "cannot tell" in done.stdout
    assert "whether patients are watched" in done.stdout


def test_status_names_the_fault_and_the_next_step(cluster, ward):
    cluster.delete("v1/Secret", ward, "ward-device-key")
    wait(lambda: cluster.condition(ward, "Degraded").get("status") == "True", 30, "Degraded")
    found = told("status", "ward", "-n", ward, *NO_PODS, code=1)
    (fault,) = [each for each in found["findings"] if each["level"] == "fault"]
    assert fault["what"].startswith("DeviceKeyLost")
    assert "from a backup" in fault["do"]
    overview = told("status", "-A", code=1)
    assert {"namespace": ward, "name": "ward", "phase": "Degraded", "revision": 0} in overview["cohorts"]
    assert told("status", "other", "-n", ward, code=2)["error"].startswith("no cohort other in namespace")


def test_without_an_operator_it_says_so(cluster, ward, operator):
    operator.stop()
    cluster.spec(ward, description="changed")
    found = told("status", "-n", ward, *NO_PODS, code=1)
    assert found["findings"][0]["what"].startswith("no operator runs")


def test_pause_and_resume(cluster, ward):
    assert told("pause", "-n", ward) == {"cohort": "ward", "namespace": ward, "paused": True}
    assert cluster.status(ward)["phase"] == "Paused"
    assert "paused" in run("status", "-n", ward, *NO_PODS).stdout
    assert told("resume", "ward", "-n", ward)["paused"] is False
    assert cluster.condition(ward, "Paused")["status"] == "False"


def test_refit_waits_for_the_gate(cluster, ward):
    before = set(jobs(cluster, ward))
    command = [PLUGIN, "refit", "ward", "-n", ward, "-o", "json", "--timeout", "60"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    (name,) = wait(
        lambda: {n for n in jobs(cluster, ward) if n.startswith("ward-refit-")} - before - first(cluster, ward)
    )
    cluster.candidate(ward, arrays=b"one", trainedAt=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    end(cluster, ward, name)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert json.loads(output)["candidate"]["verdict"] == "Accepted as revision 1"
    assert json.loads(output)["job"] == name
    job = jobs(cluster, ward)[name]
    assert job.metadata.ownerReferences[0].name == "ward-refit"


def first(cluster, ns):
    """Jobs that the operator has started by itself while there is no model."""
    return {name for name in jobs(cluster, ns) if "-first-" in name}


def test_refit_tells_of_a_failure(cluster, ward):
    process = subprocess.Popen([PLUGIN, "refit", "-n", ward], stderr=subprocess.PIPE, text=True)
    (name,) = wait(lambda: {n for n in jobs(cluster, ward) if n.startswith("ward-refit-")} - first(cluster, ward))
    end(cluster, ward, name, failed=True)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"Job {name} has failed: it has failed too often; kubectl -n {ward} logs job/{name}" in said
    found = told("status", "-n", ward, *NO_PODS, code=1)
    assert any("has failed" in each["what"] and each["runbook"] for each in found["findings"])


def test_rollback_holds_and_release_lets_go(cluster, ward):
    for number, arrays in ((1, b"one"), (2, b"two")):
        cluster.candidate(ward, arrays=arrays)
        wait(lambda n=number: cluster.status(ward).get("model", {}).get("revision") == n, 30, f"revision {number}")
    found = told("rollback", "-n", ward)
    assert (found["revision"], found["held"], found["before"]) == (1, True, 2)
    assert cluster.status(ward)["model"]["revision"] == 1
    assert "held at revision 1" in run("status", "-n", ward, *NO_PODS).stdout
    assert "kept are 1, 2" in told("rollback", "-n", ward, "--to", "7", code=1)["error"]
    assert told("rollback", "-n", ward, "--release")["revision"] == 2
    assert cluster.status(ward)["model"]["revision"] == 2


def test_tokens_and_rotation(cluster, ward):
    def secret():
        found = cluster.get("v1/Secret", ward, "ward-device-key")
        return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}

    def expected(text):
        return keys.bearer(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "wearable-7")

    old = secret()["current"]
    assert run("token", "wearable-7", "-n", ward).stdout == expected(old) + "\n"
    assert set(told("token", "wearable-7", "ward", "-n", ward, "--mac-key")) == {"device", "token", "macKey"}
    assert run("token", "bad id", "-n", ward).returncode == 2
    assert run("rotate-key", "-n", ward, stdin="n\n").returncode == 1
    assert secret() == {"current": old}

    assert told("rotate-key", "-n", ward, "--yes")["rotated"] is True
    new = secret()
    assert new["previous"] == old
    assert new["current"] != old
    assert run("-n", ward, "token", "wearable-7", program=HOLTER).stdout == expected(new["current"]) + "\n"
    assert "would be cut off" in told("rotate-key", "-n", ward, "--yes", code=1)["error"]
    assert secret() == new
    time.sleep(2)
    assert secret() == new, "the operator leaves it"


def test_a_report_holds_no_secret(cluster, ward, tmp_path):
    spec = {
        "description": "Mrs. Jones",
        "alerting": {"webhooks": [{"name": "a", "url": "https://x.example/T0/hidden"}]},
    }
    cluster.spec(ward, **spec)
    wait(lambda: "x.example" in str(cluster.get("v1/ConfigMap", ward, "ward-config")), 30)
    found = told("report", "-n", ward, "--file", tmp_path / "r.tar.gz", "--measure", "0", "--logs")
    with tarfile.open(found["file"]) as bundle:
        files = {name.partition("/")[2]: bundle.extractfile(name).read().decode() for name in bundle.getnames()}
    assert {"cohort.json", "status.json", "events.json", "objects/secrets.json", "objects/deployments.json"} <= set(
        files
    )
    assert json.loads(files["missing.json"]) == found["missing"]
    kept = json.loads(files["objects/secrets.json"])
    assert {each["metadata"]["name"] for each in kept} >= {"ward-device-key", "ward-influxdb-ingest"}
    everything = "".join(files.values())
    for each in cluster.core.list_namespaced_secret(ward).items:
        for key, value in (each.data or {}).items():
            if key in ("token", "current", "view", "acknowledge"):
                assert value not in everything
                assert base64.b64decode(value).decode() not in everything
    assert "Jones" not in everything
    assert "hidden" not in everything
    assert (
        "https://x.example/…"
        in everything.encode().decode("unicode_escape").encode("latin1", "ignore").decode("utf8", "ignore")
        or "x.example" in everything
    )


def test_watching_is_a_line_each_for_programs(ward):
    command = [PLUGIN, "status", "-n", ward, "-o", "json", "--watch", "--interval", "0.5", *NO_PODS]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    lines = [json.loads(process.stdout.readline()) for _ in range(2)]
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    process.stdout.close()
    assert [each["verdict"] for each in lines] == ["well", "well"]


def test_with_the_role_view_one_sees_and_changes_nothing(cluster, ward, tmp_path):
    user = f"viewer-{secrets.token_hex(3)}"
    cluster.core.create_namespaced_service_account(ward, {"metadata": {"name": user}})
    cluster.kind("rbac.authorization.k8s.io/v1/RoleBinding").create(
        namespace=ward,
        body={
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": user},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
            "subjects": [{"kind": "ServiceAccount", "name": user, "namespace": ward}],
        },
    )
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": user},
        "rules": [{"apiGroups": ["holter.dev"], "resources": ["monitoredcohorts"], "verbs": ["get", "list"]}],
    }
    cluster.kind("rbac.authorization.k8s.io/v1/Role").create(namespace=ward, body=role)
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": f"{user}-cohorts"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user},
        "subjects": [{"kind": "ServiceAccount", "name": user, "namespace": ward}],
    }
    cluster.kind("rbac.authorization.k8s.io/v1/RoleBinding").create(namespace=ward, body=binding)
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    token = cluster.core.create_namespaced_service_account_token(user, ward, request).status.token
    done = subprocess.run(["kubectl", "config", "view", "--raw", "-o", "json"], capture_output=True, check=True)
    document = json.loads(done.stdout)
    document["users"] = [{"name": user, "user": {"token": token}}]
    for each in document["contexts"]:
        each["context"] |= {"user": user, "namespace": ward}
    (tmp_path / "kubeconfig").write_text(json.dumps(document))

    found = told("status", *NO_PODS, kubeconfig=tmp_path / "kubeconfig")
    assert found["verdict"] == "well"
    for command in (("token", "wearable-7"), ("pause",), ("refit",)):
        answer = told(*command, code=2, kubeconfig=tmp_path / "kubeconfig")
        assert "forbidden" in answer["error"]
        assert "role `edit`" in answer["error"]
