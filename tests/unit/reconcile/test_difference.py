"""What has to be written: told from digest and ownership, as a real API server writes them."""

from copy import deepcopy

import pytest

from holter_operator.reconcile.difference import APPLIED, difference, drifted, stamped
from holter_operator.reconcile.kinds import DEPLOYMENT
from holter_operator.reconcile.live import trim

DESIRED = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "ward-ingest", "namespace": "st-mary", "labels": {"holter.dev/cohort": "ward"}},
    "spec": {
        "replicas": 2,
        "template": {
            "spec": {
                "nodeSelector": {},
                "containers": [
                    {
                        "name": "ingest",
                        "resources": {"requests": {"cpu": "1000m"}},
                        "ports": [
                            {"name": "http", "containerPort": 8080, "protocol": "TCP"},
                            {"name": "udp", "containerPort": 8080, "protocol": "UDP"},
                        ],
                        "command": ["holter", "ingest"],
                    }
                ],
            }
        },
    },
}
CONTAINER = 'k:{"name":"ingest"}'
OWNED = {
    "f:metadata": {"f:annotations": {f"f:{APPLIED}": {}}, "f:labels": {"f:holter.dev/cohort": {}}},
    "f:spec": {
        "f:replicas": {},
        "f:template": {
            "f:spec": {
                "f:containers": {
                    CONTAINER: {
                        ".": {},
                        "f:name": {},
                        "f:command": {},
                        "f:resources": {"f:requests": {"f:cpu": {}}},
                        "f:ports": {
                            'k:{"containerPort":8080,"protocol":"TCP"}': {
                                ".": {},
                                "f:name": {},
                                "f:containerPort": {},
                                "f:protocol": {},
                            },
                            'k:{"containerPort":8080,"protocol":"UDP"}': {
                                ".": {},
                                "f:name": {},
                                "f:containerPort": {},
                                "f:protocol": {},
                            },
                        },
                    }
                }
            }
        },
    },
}


def live(owned, desired=DESIRED, **annotations):
    document = stamped(desired)
    document["metadata"]["annotations"] |= annotations
    document["metadata"] |= {
        "uid": "1",
        "resourceVersion": "5",
        "managedFields": [
            {"manager": "kube-controller-manager", "operation": "Update", "fieldsV1": {"f:status": {}}},
            {"manager": "holter-operator", "operation": "Apply", "fieldsV1": owned},
        ],
    }
    document["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "1"  # as a server says it
    return trim(DEPLOYMENT, document)


def without(*path):
    """All but one; a server keeps no parent of nothing."""
    owned = deepcopy(OWNED)
    parents = [owned]
    for step in path[:-1]:
        parents.append(parents[-1][step])
    del parents[-1][path[-1]]
    for parent, step in zip(parents[-2::-1], path[-2::-1], strict=True):
        if not parent[step]:
            del parent[step]
    return owned


def test_what_was_applied_and_is_still_ours_is_left_alone():
    assert difference(stamped(DESIRED), live(OWNED)) is None


def test_a_missing_object_is_applied():
    assert difference(stamped(DESIRED), None) == "missing"


def test_another_desired_object_is_applied_and_is_no_drift():
    changed = deepcopy(DESIRED)
    changed["spec"]["replicas"] = 3
    reason = difference(stamped(changed), live(OWNED))
    assert reason == "changed"
    assert not drifted(reason)


def test_a_field_that_is_no_longer_desired_is_let_go_of():
    fewer = deepcopy(DESIRED)
    del fewer["spec"]["replicas"]
    assert difference(stamped(fewer), live(OWNED)) == "changed"


@pytest.mark.parametrize(
    ("path", "named"),
    [
        (("f:spec", "f:replicas"), "spec.replicas"),
        (("f:metadata", "f:labels", "f:holter.dev/cohort"), "metadata.labels"),
        (("f:metadata", "f:annotations", f"f:{APPLIED}"), f"metadata.annotations.{APPLIED}"),
        (
            ("f:spec", "f:template", "f:spec", "f:containers", CONTAINER, "f:resources", "f:requests", "f:cpu"),
            "spec.template.spec.containers[ingest].resources",
        ),
        (("f:spec", "f:template", "f:spec", "f:containers", CONTAINER), "spec.template"),
        (
            (
                *("f:spec", "f:template", "f:spec", "f:containers", CONTAINER, "f:ports"),
                'k:{"containerPort":8080,"protocol":"UDP"}',
            ),
            "spec.template.spec.containers[ingest].ports[udp]",
        ),
        (
            (
                *("f:spec", "f:template", "f:spec", "f:containers", CONTAINER, "f:ports"),
                'k:{"containerPort":8080,"protocol":"UDP"}',
                "f:name",
            ),
            "spec.template.spec.containers[ingest].ports[8080/UDP].name",
        ),
    ],
)
def test_a_field_that_was_taken_from_us_is_drift_and_named(path, named):
    owned = without(*path)
    reason = difference(stamped(DESIRED), live(owned))
    assert reason == named
    assert drifted(reason)


def test_an_object_we_never_applied_is_taken_over():
    assert drifted(difference(stamped(DESIRED), live({})))


def test_a_digest_that_somebody_edits_is_repaired():
    """The edit takes the annotation from us; were it ours still, the object would be applied all the same."""
    assert difference(stamped(DESIRED), live(OWNED, **{APPLIED: "other"})) == "changed"
