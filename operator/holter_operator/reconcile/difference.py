"""Whether an object has to be written. Pure.

Two questions, neither of which looks at a value of the live object, for the server normalises values (`1000m` is `1`)
and admission may change them:
- Is it what we applied last? A digest of the desired object stands in its annotation.
- Is it as we applied it? Whoever changes or removes a field takes it from us: then `managedFields` says so.
"""

import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from holter_operator.api import crd
from holter_operator.build.meta import Object
from holter_operator.reconcile.live import Live, digest

APPLIED = f"{crd.GROUP}/applied"
"""Annotation: the digest."""

_IDENTITY = ("apiVersion", "kind")
_METADATA = ("name", "namespace", "uid")


def stamped(desired: Object, of: Any = None) -> Object:
    """The object with its digest, or that of what it was made of, as it is applied."""
    built = deepcopy(desired)
    built["metadata"].setdefault("annotations", {})[APPLIED] = digest(desired if of is None else of)
    return built


def difference(desired: Object, live: Live | None) -> str | None:
    """Why a stamped object has to be applied: `missing`, `changed`, or the first field that drifted; None if not."""
    if live is None:
        return "missing"
    annotations = live.owned.get("f:metadata", {}).get("f:annotations", {})
    if f"f:{APPLIED}" not in annotations:
        return f"metadata.annotations.{APPLIED}"
    if live.annotations.get(APPLIED) != desired["metadata"]["annotations"][APPLIED]:
        return "changed"
    return _lost({key: value for key, value in desired.items() if key not in _IDENTITY}, live.owned, "")


def drifted(reason: str | None) -> bool:
    """Whether it is somebody else's doing."""
    return reason not in (None, "changed")


def _lost(desired: Any, owned: Mapping[str, Any], path: str) -> str | None:
    """The first field of `desired` that is not in a set of owned ones, as managedFields' fieldsV1 has it."""
    if not owned:
        return None  # a leaf, a list or a map that is owned as a whole
    if isinstance(desired, Mapping):
        for name, value in desired.items():
            here = f"{path}.{name}" if path else name
            if here in {f"metadata.{field}" for field in _METADATA}:
                continue
            below = owned.get(f"f:{name}")
            if below is None:
                if value in ({}, []):
                    continue  # nothing to own
                return here
            lost = _lost(value, below, here)
            if lost:
                return lost
        return None
    if isinstance(desired, list):
        return _lost_items(desired, owned, path)
    return None


def _lost_items(desired: list[Any], owned: Mapping[str, Any], path: str) -> str | None:
    keyed = [(json.loads(name[2:]), below) for name, below in owned.items() if name.startswith("k:")]
    values = [json.loads(name[2:]) for name in owned if name.startswith("v:")]
    for item in desired:
        if not isinstance(item, Mapping):
            if item not in values:
                return f"{path}[{item}]"
            continue
        for keys, below in keyed:
            if all(item.get(key, value) == value for key, value in keys.items()):
                lost = _lost(item, below, f"{path}[{'/'.join(str(value) for value in keys.values())}]")
                if lost:
                    return lost
                break
        else:
            return f"{path}[{item.get('name', '')}]"
    return None
