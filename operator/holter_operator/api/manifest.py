"""The cohorts of a manifest file, validated."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from holter_operator.api import crd, documents
from holter_operator.api.fault import Fault
from holter_operator.api.schema import check

Identity = tuple[str, str]
"""Namespace (empty where the manifest does not name one) and name."""


@dataclass(frozen=True, slots=True)
class Checked:
    """One cohort of a file.

    Attributes:
        document: with defaults; to be built from when there are no faults.
        faults: in the file's order.
        line: where it begins.
        compared: whether an older one was there to compare with.
    """

    document: Mapping[str, Any]
    faults: tuple[Fault, ...]
    line: int
    compared: bool

    @property
    def identity(self) -> Identity:
        """Namespace and name."""
        return identity(self.document)

    @property
    def title(self) -> str:
        """Namespace and name, for people."""
        return "/".join(filter(None, self.identity)) or "a cohort without a name"


@dataclass(frozen=True, slots=True)
class Manifest:
    """One file.

    Attributes:
        cohorts: its cohorts.
        skipped: documents of other kinds, in words.
        syntax: what is no YAML; cohorts before it are in `cohorts`.
    """

    cohorts: tuple[Checked, ...]
    skipped: tuple[Fault, ...] = ()
    syntax: Fault | None = None

    @property
    def valid(self) -> bool:
        """Whether there is no fault."""
        return self.syntax is None and not any(cohort.faults for cohort in self.cohorts)


def parse(text: str, older: Mapping[Identity, Mapping[str, Any]] | None = None) -> Manifest:
    """Read and validate the cohorts of a YAML or JSON text.

    Args:
        text: one or many documents.
        older: the cohorts that these replace, for rules on changes.
    """
    cohorts, skipped, syntax = [], [], None
    try:
        for document in documents.read(text):
            line = document.lines[()]
            if not _meant(document.value):
                skipped.append(Fault("", f"{_what(document.value)} is not a {crd.KIND}: skipped", line))
                continue
            old = (older or {}).get(identity(document.value))
            defaulted, faults = check(document.value, old, document.lines)
            cohorts.append(Checked(defaulted, tuple(faults), line, compared=old is not None))
    except documents.SyntaxFault as fault:
        syntax = Fault("", f"not YAML: {fault}", fault.line)
    return Manifest(tuple(cohorts), tuple(skipped), syntax)


def as_they_are(text: str) -> dict[Identity, Mapping[str, Any]]:
    """The cohorts of a YAML or JSON text, as written: what `parse` takes as `older`.

    Raises:
        documents.SyntaxFault: the text is not YAML.
    """
    return {identity(document.value): document.value for document in documents.read(text) if _meant(document.value)}


def identity(document: Any) -> Identity:
    """Namespace and name of a document, empty where it has none."""
    metadata = document.get("metadata") if isinstance(document, Mapping) else None
    if not isinstance(metadata, Mapping):
        return "", ""
    return str(metadata.get("namespace") or ""), str(metadata.get("name") or "")


def _meant(document: Any) -> bool:
    """Whether it is a cohort, or was meant to be one: a misspelt kind must not pass as another's document."""
    if not isinstance(document, Mapping):
        return False
    group, kind = str(document.get("apiVersion", "")).partition("/")[0], str(document.get("kind", ""))
    return group == crd.GROUP or SequenceMatcher(None, kind.lower(), crd.KIND.lower()).ratio() > 0.85


def _what(document: Any) -> str:
    if not isinstance(document, Mapping):
        return "a document without fields"
    words = [str(document.get("kind") or "a document without kind"), "/".join(filter(None, identity(document)))]
    return " ".join(filter(None, words))
