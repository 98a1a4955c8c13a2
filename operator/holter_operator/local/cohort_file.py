"""The cohort's file: one MonitoredCohort, and beside it the Secrets and ConfigMaps that it names."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holter_operator.api import documents, schema
from holter_operator.api.cohort import Cohort, parse
from holter_operator.api.crd import KIND


class FileFaultError(Exception):
    """The file is not a valid cohort; the message has one fault a line, with its line and field."""


@dataclass(frozen=True, slots=True)
class CohortFile:
    """A valid file.

    Attributes:
        cohort: with every default.
        document: the same as a document, for the rules that look at what was before.
        others: Secrets and ConfigMaps of the file.
    """

    cohort: Cohort
    document: dict[str, Any]
    others: tuple[dict[str, Any], ...]


def read(path: Path, old: Mapping[str, Any] | None = None) -> CohortFile:
    """Read, validate and default.

    Args:
        path: a YAML file of one or more documents.
        old: the document that was applied before, for rules on changes.

    Raises:
        FileFaultError: it is not valid.
    """
    try:
        found = list(documents.read(path.read_text()))
    except (OSError, UnicodeDecodeError) as error:
        raise FileFaultError(f"{path}: cannot be read: {error}") from error
    except documents.SyntaxFault as error:
        raise FileFaultError(f"{path}:{error.line or 1}: {error}") from error
    kinds = [d.value.get("kind") if isinstance(d.value, dict) else None for d in found]
    others = [d for d, kind in zip(found, kinds, strict=True) if kind in ("Secret", "ConfigMap")]
    cohorts = [d for d in found if d not in others]
    if len(cohorts) != 1:
        raise FileFaultError(
            f"{path}: {kinds.count(KIND)} documents of kind {KIND}: one is expected, beside it Secrets and ConfigMaps"
        )
    document, faults = schema.check(cohorts[0].value, old, cohorts[0].lines)
    if faults:
        raise FileFaultError("\n".join(f"{path}:{fault.line or 1}: {fault}" for fault in faults))
    cohort = parse(document)
    before = parse(old) if old is not None else cohort
    if (cohort.namespace, cohort.name) != (before.namespace, before.name):
        raise FileFaultError(
            f"{path}: metadata: {cohort.namespace}/{cohort.name} is another cohort than "
            f"{before.namespace}/{before.name}, whose state this is: give it a state folder of its own"
        )
    return CohortFile(cohort, document, tuple(d.value for d in others))


def one_machine(cohort: Cohort) -> Cohort:
    """The cohort with one replica of each component: here they would only share the same two hands."""
    ingest, inference = cohort.spec.ingest, cohort.spec.inference
    spec = cohort.spec.model_copy(
        update={
            "ingest": ingest.model_copy(
                update={"replicas": 1, "autoscaling": ingest.autoscaling.model_copy(update={"enabled": False})}
            ),
            "inference": inference.model_copy(update={"replicas": min(1, inference.replicas)}),
        }
    )
    return cohort.model_copy(update={"spec": spec})


def notes(cohort: Cohort) -> tuple[str, ...]:
    """What is other here than in a cluster, in words."""
    ingest, inference = cohort.spec.ingest, cohort.spec.inference
    wanted = {
        "ingest": (ingest.autoscaling.max_replicas if ingest.autoscaling.enabled else ingest.replicas),
        "inference": inference.replicas,
    }
    return tuple(f"{name}: {n} replicas in a cluster, one process here" for name, n in wanted.items() if n > 1)
