"""The newest refit's candidate, the verdict on it, and the model that is at work.

What is known stands on the objects themselves: the verdict in an annotation of the candidate, a revision's number in a
label. So a pass that was cut short anywhere is taken up by the next.
"""

import json
import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from holter_operator.api import crd
from holter_operator.api.cohort import Cohort
from holter_operator.build import models as building
from holter_operator.build import names, refit
from holter_operator.build.given import Given, ModelFiles
from holter_operator.build.meta import Object
from holter_operator.io.events import Events
from holter_operator.io.kube import Kube
from holter_operator.observe.metrics import Metrics
from holter_operator.reconcile.children import Children
from holter_operator.reconcile.gate import Verdict
from holter_operator.reconcile.kinds import CONFIG_MAP
from holter_operator.reconcile.live import Key, Live, digest
from holter_operator.reconcile.models import choose, examine, numbered, outdated
from holter_operator.reconcile.status import Model, Problem

JUDGED = f"{crd.GROUP}/judged"
"""Annotation of the candidate: the verdict, and the digest of what it is on."""

_EMPTY = digest([{}, {}])


@dataclass(frozen=True, slots=True)
class Judged:
    """What an annotation says of a candidate."""

    content: str = ""
    accepted: bool = False
    reason: str = ""
    message: str = ""
    revision: int | None = None
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """As it is written."""
        said = {
            "content": self.content,
            "accepted": self.accepted,
            "reason": self.reason,
            "message": self.message,
            "revision": self.revision,
            "numbers": dict(self.numbers),
        }
        return json.dumps(said, sort_keys=True)


class Candidates:
    """The steps of a pass that are about models."""

    def __init__(self, kube: Kube, children: Children, events: Events, metrics: Metrics) -> None:
        self._kube = kube
        self._children = children
        self._events = events
        self._metrics = metrics

    def step(
        self, document: Object, cohort: Cohort, given: Given, live: Mapping[Key, Live]
    ) -> tuple[Model, Object, tuple[Problem, ...]]:
        """Judge, number, put to work, and remove what is outdated.

        Returns:
            What status says of models, the candidate's ConfigMap as it should be, and what is refused for good.

        Raises:
            KubeError: refused, or no answer.
        """
        revisions = self._revisions(cohort, live)
        judged = self._judged(document, cohort, given, live, revisions)
        candidate = refit.candidate(cohort, given)
        if judged.content:
            candidate["metadata"].setdefault("annotations", {})[JUDGED] = judged.text()
            self._metrics.refitted(cohort.namespace, cohort.name, judged.numbers, judged.accepted)
        # Judged before anything is put to work: or the next pass might judge it against itself.
        refused = self._children.apply(document, candidate, _config_map(live, names.candidate(cohort)))
        current = _config_map(live, names.model(cohort))
        self._restore(cohort, given, current, revisions)
        pinned = cohort.spec.model.pinned_revision
        chosen, problem = choose(revisions, pinned), None
        if pinned is not None and chosen is None:
            kept = ", ".join(f"r{number}" for number in sorted(revisions)) or "none"
            problem = Problem(
                "PinnedRevisionMissing",
                f"spec.model.pinnedRevision is {pinned}, and kept are {kept}: the model at work stays as it is",
            )
            chosen = _number(current) or choose(revisions, None)
        files = None
        if chosen is not None:
            also, files = self._put_to_work(document, cohort, given, current, revisions[chosen])
            refused = refused or also
        for number in outdated(revisions, cohort.spec.refit.keep_revisions, (chosen, pinned, _number(current))):
            self._children.delete(revisions[number], "a newer revision is kept")
        model = self._model(document, chosen, files, judged, problem)
        return model, candidate, (refused,) if refused else ()

    def _revisions(self, cohort: Cohort, live: Mapping[Key, Live]) -> dict[int, Live]:
        found = {}
        for each in live.values():
            number = _number(each)
            if each.kind is CONFIG_MAP and number is not None and each.name == names.revision(cohort, number):
                found[number] = each
        return found

    def _judged(
        self, document: Object, cohort: Cohort, given: Given, live: Mapping[Key, Live], revisions: dict[int, Live]
    ) -> Judged:
        """The verdict that stands, after a new candidate was judged."""
        candidate = _config_map(live, names.candidate(cohort))
        before = _read(candidate)
        if candidate is None or candidate.content in (_EMPTY, before.content):
            return before
        found = self._children.read(candidate)
        if found is None:
            return before
        text = (found.get("data") or {}).get("model.json", "")
        arrays = b64decode((found.get("binaryData") or {}).get("model.npz", ""))
        content = digest([found.get("data") or {}, found.get("binaryData") or {}])
        if content in (_EMPTY, before.content):  # only its metadata was told
            return before
        newest = self._files(revisions[max(revisions)]) if revisions else None
        taken = _taken(text, newest)
        if taken is not None:  # a pass was cut short between its number and its verdict
            return _verdict(content, taken, text, Verdict(True, "Accepted", f"accepted as revision {taken}"))
        pinned = choose(revisions, cohort.spec.model.pinned_revision)
        compared = newest if pinned in (None, max(revisions, default=None)) else self._files(revisions[pinned])
        verdict, parsed = examine(text, arrays, compared.document if compared else None, cohort.spec.refit.min_windows)
        number = None
        if verdict.accepted:
            said = document.get("status", {}).get("model", {}).get("revision", 0)
            number = max((*revisions, before.revision or 0, said), default=0) + 1
            files = ModelFiles(number, numbered(parsed, number), arrays)
            revisions[number] = self._children.create(_revision(cohort, given, files))
        told = "ModelAccepted" if verdict.accepted else "ModelRefused"
        words = f"revision {number}: {verdict.message}" if number else f"{verdict.reason}: {verdict.message}"
        self._events.tell(document, told, words, warning=not verdict.accepted)
        return _verdict(content, number, text, verdict)

    def _put_to_work(
        self, document: Object, cohort: Cohort, given: Given, current: Live | None, revision: Live
    ) -> tuple[Problem | None, ModelFiles | None]:
        number = _number(revision)
        assert number is not None
        # Its content follows from its number: the digest is of all but that, and it is read only to be written.
        outline = building.current(cohort, _with(given, ModelFiles(number, "", b"")))
        assert outline is not None
        if current is not None and self._children.settled(outline, current):
            return None, None
        files = self._files(revision)
        if files is None:
            return None, None
        built = building.current(cohort, _with(given, files))
        assert built is not None
        return self._children.apply(document, built, current, outline), files

    def _restore(self, cohort: Cohort, given: Given, current: Live | None, revisions: dict[int, Live]) -> None:
        """The revision at work, when somebody has removed it from the history."""
        number = _number(current)
        if current is None or number is None or number in revisions or current.deleting:
            return
        files = self._files(current)
        if files is not None:
            revisions[number] = self._children.create(_revision(cohort, given, files))

    def _files(self, revision: Live) -> ModelFiles | None:
        found = self._kube.get(CONFIG_MAP, revision.namespace, revision.name)
        number = _number(revision)
        if found is None or number is None:
            return None
        arrays = b64decode((found.get("binaryData") or {}).get("model.npz", ""))
        return ModelFiles(number, (found.get("data") or {}).get("model.json", "{}"), arrays)

    def _model(
        self, document: Object, chosen: int | None, files: ModelFiles | None, judged: Judged, problem: Problem | None
    ) -> Model:
        before = document.get("status", {}).get("model", {})
        facts = json.loads(files.document) if files else before if before.get("revision") == chosen else {}
        candidate = None
        if judged.content:
            verdict = f"Accepted as revision {judged.revision}" if judged.accepted else "Refused"
            reason = f"{judged.reason}: {judged.message}"
            candidate = {"verdict": verdict, "reason": reason}
            if judged.numbers.get("trainedAt"):
                candidate["trainedAt"] = judged.numbers["trainedAt"]
        words = f"revision {chosen} is at work"
        if chosen is None:
            last = f"; the last one was refused, {judged.reason}: {judged.message}" if judged.content else ""
            words = f"no model yet, a refit is tried every 10 minutes; the ordered score and alarms work without{last}"
        return Model(
            revision=chosen,
            trained_at=_time(facts.get("trainedAt")),
            windows=facts.get("windows"),
            threshold=facts.get("threshold"),
            candidate=candidate,
            problem=problem,
            words=words,
        )


def _config_map(live: Mapping[Key, Live], name: str) -> Live | None:
    return next((each for each in live.values() if each.kind is CONFIG_MAP and each.name == name), None)


def _number(live: Live | None) -> int | None:
    text = live.labels.get(building.REVISION_LABEL, "") if live else ""
    return int(text) if text.isdigit() else None


def _revision(cohort: Cohort, given: Given, files: ModelFiles) -> Object:
    (built,) = building.revisions(cohort, _with(given, files))
    return built


def _with(given: Given, files: ModelFiles) -> Given:
    return Given(images=given.images, owner_uid=given.owner_uid, model=files)


def _taken(text: str, newest: ModelFiles | None) -> int | None:
    """The newest revision's number, when it is this candidate."""
    if newest is None:
        return None
    try:
        candidate, kept = json.loads(text), json.loads(newest.document)
    except ValueError:
        return None
    same = isinstance(candidate, dict) and {**candidate, "revision": newest.revision} == kept
    return newest.revision if same else None


def _verdict(content: str, revision: int | None, text: str, verdict: Verdict) -> Judged:
    try:
        said = json.loads(text)
    except ValueError:
        said = {}
    said = said if isinstance(said, dict) else {}
    numbers: dict[str, Any] = {}
    for name, field_name in (("seconds", "refitSeconds"), ("windows", "windows")):
        value = said.get(field_name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12:
            numbers[name] = value
    if trained := _time(said.get("trainedAt")):
        numbers["trainedAt"] = trained
    return Judged(content, verdict.accepted, verdict.reason, verdict.message[:500], revision, numbers)


def _time(said: Any) -> str | None:
    """RFC 3339, or None: one odd character, and the API server refuses the whole status."""
    known = isinstance(said, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", said)
    return said if known else None


def _read(candidate: Live | None) -> Judged:
    try:
        said = json.loads(candidate.annotations.get(JUDGED, "{}")) if candidate else {}
        return Judged(**said)
    except (ValueError, TypeError):
        return Judged()
