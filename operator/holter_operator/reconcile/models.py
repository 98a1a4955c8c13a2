"""Accepted models: what becomes of a candidate, which revision is at work, which are kept. Pure."""

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

from holter_operator.reconcile.gate import Limits, Verdict, judge


def examine(
    text: str | bytes, arrays: bytes, current: str | None, min_windows: int
) -> tuple[Verdict, Mapping[str, Any]]:
    """Judge a candidate.

    Args:
        text: its `model.json`, from outside: anything may be in it.
        arrays: its `model.npz`; empty where it has none.
        current: `model.json` of the model in use.
        min_windows: `spec.refit.minWindows`.

    Returns:
        The verdict, and `model.json` as it was read.
    """
    try:
        document = json.loads(text)
        in_use = json.loads(current) if current else None
    except ValueError as error:
        return Verdict(False, "Malformed", f"model.json cannot be read: {error}"), {}
    if not isinstance(document, dict):
        return Verdict(False, "Malformed", "model.json is no object"), {}
    verdict = judge(document, in_use, Limits(min_windows=min_windows))
    if verdict.accepted and document["sha256"] != sha256(arrays).hexdigest():
        verdict = Verdict(False, "Malformed", "model.npz does not have the sha256 that model.json says")
    return verdict, document


def numbered(document: Mapping[str, Any], revision: int) -> str:
    """`model.json` of a candidate that was accepted as this revision."""
    return json.dumps({**document, "revision": revision})


def choose(revisions: Iterable[int], pinned: int | None) -> int | None:
    """The pinned revision, or the newest; None when there is none, or the pinned one is not there."""
    kept = set(revisions)
    if pinned is not None:
        return pinned if pinned in kept else None
    return max(kept, default=None)


def outdated(revisions: Iterable[int], keep: int, in_use: Iterable[int | None]) -> tuple[int, ...]:
    """Revisions to be removed: all but the newest `keep` and those in use."""
    ordered = sorted(set(revisions))
    used = set(in_use)
    return tuple(number for number in ordered[: max(0, len(ordered) - keep)] if number not in used)
