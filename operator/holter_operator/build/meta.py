"""What all children have in common: labels, the owner, a selector."""

from collections.abc import Mapping
from typing import Any

from holter_operator.api import crd
from holter_operator.api.cohort import Cohort
from holter_operator.build.given import Component, Given

Object = dict[str, Any]
"""A Kubernetes object, as it is applied."""

COHORT_LABEL = f"{crd.GROUP}/cohort"


def labels(cohort: Cohort, component: Component | None = None) -> dict[str, str]:
    """Labels of a child, of one component or of the whole cohort. No version: it would roll pods at each upgrade."""
    of_all = {
        "app.kubernetes.io/name": "holter",
        "app.kubernetes.io/instance": cohort.name,
        "app.kubernetes.io/part-of": "holter",
        "app.kubernetes.io/managed-by": "holter-operator",
        COHORT_LABEL: cohort.name,
    }
    return of_all if component is None else of_all | {"app.kubernetes.io/component": str(component)}


def selector(cohort: Cohort, component: Component | None = None) -> dict[str, str]:
    """Labels that find a component's pods, or all the cohort's. A workload's selector is immutable: this is final."""
    wanted = ("app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component")
    return {name: value for name, value in labels(cohort, component).items() if name in wanted}


def child(
    api_version: str,
    kind: str,
    name: str,
    cohort: Cohort,
    given: Given,
    component: Component | None = None,
    *,
    owned: bool = True,
    extra_labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Object:
    """The head of a child. `owned` children go with their cohort."""
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": cohort.namespace,
        # Holter's own labels win: they are what finds the child again.
        "labels": {**(extra_labels or {}), **labels(cohort, component)},
    }
    if annotations:
        metadata["annotations"] = dict(annotations)
    if owned:
        metadata["ownerReferences"] = [
            {
                "apiVersion": crd.API_VERSION,
                "kind": crd.KIND,
                "name": cohort.name,
                "uid": given.owner_uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}
