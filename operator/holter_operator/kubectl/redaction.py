"""What is left out of a support bundle: secrets, device ids, names of people. Pure."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from holter_operator.build.meta import Object
from holter_operator.kubectl.snapshot import Snapshot

_DEVICE_KEYS = frozenset({"device_id", "device", "by", "patient"})
_ADDRESS = re.compile(r"(https?://)(?:[^/\s\"'@]+@)?([^/\s\"'?#]+)[/?#][^\s\"']*")
_LEFT_OUT = "(left out)"


class Pseudonyms:
    """The same device is the same pseudonym within one bundle, and in no other.

    Args:
        salt: of this bundle; thrown away with it.
    """

    def __init__(self, salt: bytes) -> None:
        self._salt = salt

    def of(self, identity: str) -> str:
        """`device-` and 8 hexadecimal digits."""
        return f"device-{hashlib.blake2b(identity.encode(), key=self._salt, digest_size=4).hexdigest()}"


def secret(document: Object) -> Object:
    """A Secret with the names of its keys and the lengths of their values alone."""
    kept = outline(document)
    sizes = {key: f"{len(value)} characters of base64" for key, value in (document.get("data") or {}).items()}
    return {**kept, "type": document.get("type"), "data": sizes}


def outline(document: Object) -> Object:
    """An object without what repeats others or names people."""
    metadata = {k: v for k, v in document["metadata"].items() if k not in ("managedFields", "annotations")}
    annotations = document["metadata"].get("annotations") or {}
    metadata["annotations"] = {k: v for k, v in annotations.items() if k.startswith("holter.dev/")}
    return {**{k: v for k, v in document.items() if k != "metadata"}, "metadata": metadata}


def cohort(document: Object) -> Object:
    """The cohort; free text and what a webhook's address carries beyond its host are left out."""
    kept = json.loads(json.dumps(outline(document)))
    spec = kept["spec"]
    if spec.get("description"):
        spec["description"] = _LEFT_OUT
    for hook in spec.get("alerting", {}).get("webhooks", ()):
        hook["url"] = _addresses(hook["url"])
    if spec.get("alerting", {}).get("alertmanager"):
        spec["alerting"]["alertmanager"]["url"] = _addresses(spec["alerting"]["alertmanager"]["url"])
    return dict(kept)


def config_map(document: Object) -> Object:
    """A ConfigMap: models by their numbers, webhooks by their hosts, arrays by their sizes."""
    kept = outline(document)
    kept["data"] = {
        k: _addresses(v) for k, v in (document.get("data") or {}).items() if not k.endswith("dashboard.json")
    }
    kept["binaryData"] = {k: f"{len(v)} characters" for k, v in (document.get("binaryData") or {}).items()}
    return kept


def seen(snapshot: Snapshot, pseudonyms: Pseudonyms) -> Snapshot:
    """A snapshot that was taken without alerts, with pseudonyms for refused devices and no names of their fields."""
    assert not snapshot.alerts, "alerts hold reasons"
    if not isinstance(snapshot.refused, tuple):
        return snapshot
    found = tuple(replace(one, device=pseudonyms.of(one.device), field=_LEFT_OUT) for one in snapshot.refused)
    return replace(snapshot, refused=found)


def log(text: str, pseudonyms: Pseudonyms) -> str:
    """A log of JSON lines, with pseudonyms for devices and people. What is no JSON keeps its length alone.

    A device that one line names is replaced in the texts of all others too.
    """
    parsed = [_line(line) for line in text.splitlines()]
    known = sorted(
        {name for each in parsed if isinstance(each, Mapping) for name in _names(each)}, key=len, reverse=True
    )
    pattern = re.compile("|".join(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])" for name in known)) if known else None

    def cleared(value: Any, key: str = "") -> Any:
        if isinstance(value, str):
            if key in _DEVICE_KEYS:
                return pseudonyms.of(value)
            found = _addresses(value)
            return pattern.sub(lambda match: pseudonyms.of(match[0]), found) if pattern else found
        if isinstance(value, Mapping):
            return {name: cleared(each, name) for name, each in value.items()}
        return [cleared(each, key) for each in value] if isinstance(value, list) else value

    return "".join(
        (json.dumps(cleared(each)) if isinstance(each, Mapping) else f"({len(each)} characters, no JSON)") + "\n"
        for each in parsed
    )


def _line(line: str) -> Mapping[str, Any] | str:
    try:
        found = json.loads(line)
    except ValueError:
        return line
    return found if isinstance(found, dict) else line


def _names(value: Any, key: str = "") -> set[str]:
    if isinstance(value, str):
        return {value} if key in _DEVICE_KEYS and value else set()
    if isinstance(value, Mapping):
        return {name for k, each in value.items() for name in _names(each, k)}
    return {name for each in value for name in _names(each, key)} if isinstance(value, list) else set()


def _addresses(text: str) -> str:
    """Addresses up to their host: what comes after it may be a secret, as in a chat's incoming webhook."""
    return _ADDRESS.sub(r"\1\2/…", text)
