"""Validation of a MonitoredCohort without an API server, with the CRD that the API server has."""

from collections.abc import Iterator, Mapping
from typing import Any

from holter_operator.api import rules, structural
from holter_operator.api.fault import Fault, Path, line_of, spell
from holter_operator.api.words import in_words


def check(
    document: Any, old: Mapping[str, Any] | None = None, lines: Mapping[Path, int] | None = None
) -> tuple[dict[str, Any], list[Fault]]:
    """Default and validate a cohort: types, bounds, unknown fields, CEL rules, and what CEL cannot see.

    `status` is the operator's: it is left out, as the API server does.

    Args:
        document: as read from a file or an API server.
        old: the cohort that it replaces, for rules on changes; its `status.bucket.name` is the bucket that was made.
        lines: of the document's fields, as `documents.read` gives them.

    Returns:
        The document with defaults, and its faults in the file's order; it can be built from when there are none.
    """
    lines = lines or {}
    if not isinstance(document, Mapping):
        return {}, [Fault("", "not a group of fields; a MonitoredCohort is needed", line_of(lines, ()))]
    schema = structural.object_schema()
    wanted = structural.defaulted({k: v for k, v in document.items() if k != "status"}, schema)
    before = structural.defaulted(old, schema) if old is not None else None
    found: dict[tuple[Path, str], None] = dict.fromkeys(_faults(wanted, before, schema))
    faults = [Fault(spell(path), message, line_of(lines, path)) for path, message in found]
    return wanted, sorted(faults, key=lambda fault: fault.line or 0)


def _faults(
    document: dict[str, Any], old: Mapping[str, Any] | None, schema: structural.Schema
) -> Iterator[tuple[Path, str]]:
    malformed: set[Path] = set()
    for refusal in structural.refusals(document):
        for path, message in in_words(refusal, schema):
            malformed.add(path)
            yield path, message
    for rule in rules.broken(document, old, schema):
        # A malformed value has been told of; rules on it would only say so again.
        if rule.path not in malformed and (rule.evaluated or not malformed):
            yield rule.path, rule.message
    if not malformed:
        yield from _beyond_cel(document)


def _beyond_cel(document: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """What rules in a CRD cannot say, for lack of a look at the whole of `metadata`."""
    metadata, storage = document["metadata"], document["spec"]["storage"]
    if "name" not in metadata and "generateName" not in metadata:
        yield ("metadata", "name"), "is missing; a cohort needs a name"
    namespace, bucket = metadata.get("namespace"), storage["bucket"]
    own = "connectionSecretRef" in storage["influxdb"]
    if namespace and "." in bucket and not own and not bucket.startswith(f"{namespace}."):
        yield (
            ("spec", "storage", "bucket"),
            f"{bucket}: with the operator's own connection a bucket's name begins with {namespace}. (the namespace and "
            "a dot); add it, leave bucket out, or name a connection of the namespace's own in "
            "influxdb.connectionSecretRef",
        )
