"""What holds for all objects of all cohorts."""

import re
from copy import deepcopy

import pytest

from holter_operator.build.everything import objects

COHORTS = ("minimal", "everything", "persistent")
RUN_AS_PODS = ("Deployment", "StatefulSet", "CronJob")
SAFE_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}


@pytest.fixture(params=COHORTS)
def built(request, make, full):
    return objects(make(request.param), full)


def violations(spec):
    """What the *restricted* Pod Security Standard has against a pod spec, and our own wish for a read-only root."""
    pod = spec.get("securityContext", {})
    found = [name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    if pod.get("sysctls"):
        found.append("sysctls")
    found += [
        f"volume {volume['name']}"
        for volume in spec.get("volumes", [])
        if not (volume.keys() - {"name"}) <= SAFE_VOLUMES
    ]
    for container in [*spec["containers"], *spec.get("initContainers", []), *spec.get("ephemeralContainers", [])]:
        own = container.get("securityContext", {})
        effective = {**pod, **own}
        capabilities = own.get("capabilities", {})
        wrong = {
            "privileged": bool(own.get("privileged")),
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is not False,
            "capabilities.drop": "ALL" not in capabilities.get("drop", []),
            "capabilities.add": not set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"},
            "runAsNonRoot": effective.get("runAsNonRoot") is not True,
            "runAsUser": effective.get("runAsUser") in (None, 0),
            "seccompProfile": effective.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"),
            "procMount": own.get("procMount", "Default") != "Default",
            "readOnlyRootFilesystem": own.get("readOnlyRootFilesystem") is not True,
            "hostPort": any("hostPort" in port for port in container.get("ports", [])),
        }
        found += [name for name, is_wrong in wrong.items() if is_wrong]
    return found


def test_names_are_unique(built):
    identities = [(each["kind"], each["metadata"]["name"]) for each in built]
    assert len(identities) == len(set(identities))


def test_names_and_labels_fit_for_the_longest_cohort_name(make, full):
    cohort = make("everything", called="a" * 40)
    for each in objects(cohort, full):
        name = each["metadata"]["name"]
        # A CronJob's Jobs and a StatefulSet's revisions add to its name what a label must hold.
        limit = {"CronJob": 52, "StatefulSet": 52}.get(each["kind"], 63)
        assert len(name) <= limit, name
        assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name)
        assert all(len(value) <= 63 for value in each["metadata"]["labels"].values())


def test_every_object_is_labelled_and_owned(built):
    cohort = built[0]["metadata"]["labels"]["holter.dev/cohort"]
    for each in built:
        metadata = each["metadata"]
        assert metadata["labels"]["app.kubernetes.io/managed-by"] == "holter-operator"
        assert metadata["labels"]["app.kubernetes.io/instance"] == cohort
        if metadata["name"].endswith("-device-key"):
            assert "ownerReferences" not in metadata
        else:
            (owner,) = metadata["ownerReferences"]
            assert (owner["kind"], owner["name"], owner["controller"]) == ("MonitoredCohort", cohort, True)


@pytest.mark.parametrize("name", COHORTS)
def test_the_same_is_built_twice(name, make, full):
    first = objects(make(name), full)
    kept = deepcopy(first)
    assert objects(make(name), full) == kept
    assert first == kept


def emptied(value):
    """Empty every dict and list, from the inside out."""
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, dict | list):
            emptied(inner)
    value.clear()


def test_who_edits_an_object_edits_no_other(make, full):
    cohort = make("everything")
    kept = deepcopy(objects(cohort, full))
    for each in objects(cohort, full):
        emptied(each)
    assert objects(cohort, full) == kept


def test_pods_are_restricted(built, template):
    workloads = [each for each in built if each["kind"] in RUN_AS_PODS]
    assert workloads
    for each in workloads:
        assert violations(template(each)["spec"]) == []


@pytest.mark.parametrize(
    ("fault", "spoil"),
    [
        ("hostNetwork", lambda spec: spec.update(hostNetwork=True)),
        ("volume config", lambda spec: spec["volumes"][0].update(hostPath={"path": "/"})),
        ("runAsNonRoot", lambda spec: spec["securityContext"].pop("runAsNonRoot")),
        ("runAsUser", lambda spec: spec["securityContext"].update(runAsUser=0)),
        ("seccompProfile", lambda spec: spec["securityContext"].pop("seccompProfile")),
        ("privileged", lambda spec: spec["containers"][0]["securityContext"].update(privileged=True)),
        (
            "allowPrivilegeEscalation",
            lambda spec: spec["containers"][0]["securityContext"].pop("allowPrivilegeEscalation"),
        ),
        ("capabilities.drop", lambda spec: spec["containers"][0]["securityContext"].pop("capabilities")),
        ("hostPort", lambda spec: spec["containers"][0]["ports"][0].update(hostPort=80)),
    ],
)
def test_the_check_of_restriction_finds_faults(fault, spoil, make, bare, find, template):
    spec = template(find(objects(make(), bare), "Deployment", "ward-ingest"))["spec"]
    spoil(spec)
    assert violations(spec) == [fault]


def test_all_that_pods_refer_to_is_built_or_named_by_the_cohort(built, template):
    """A pod whose Secret nobody makes never starts."""
    there = {(each["kind"], each["metadata"]["name"]) for each in built}
    named_by_cohort = {"ward-webhook", "bridge", "ward-patients", "ward-tls", "our-devices", "kube-root-ca.crt"}
    for each in built:
        if each["kind"] not in RUN_AS_PODS:
            continue
        spec = template(each)["spec"]
        assert ("ServiceAccount", spec["serviceAccountName"]) in there
        for volume in spec["volumes"]:
            for source in [volume, *volume.get("projected", {}).get("sources", [])]:
                if "configMap" in source:
                    name = source["configMap"]["name"]
                    assert ("ConfigMap", name) in there or name in named_by_cohort
                if "secret" in source:
                    name = source["secret"].get("secretName") or source["secret"]["name"]
                    assert ("Secret", name) in there or name in named_by_cohort


def test_what_pods_need_comes_before_them(built):
    order = [each["kind"] for each in built]
    first_pod = min(order.index(kind) for kind in RUN_AS_PODS if kind in order)
    for kind in ("ServiceAccount", "Role", "NetworkPolicy", "Secret", "Service"):
        assert max(n for n, other in enumerate(order) if other == kind) < first_pod


def test_no_version_of_holter_is_in_a_pod_template(make, full, template, monkeypatch):
    """An upgrade of the operator alone rolls no pod."""
    from importlib import metadata

    version = metadata.version("holter")
    for each in objects(make("everything"), full):
        if (pod := template(each)) is not None:
            assert version not in str(pod)
