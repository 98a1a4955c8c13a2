"""Structural schemas as the API server applies them: defaults first, then types, bounds and unknown fields."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import cel
import jsonschema
from jsonschema.protocols import Validator

from holter_operator.api import crd
from holter_operator.api.fault import Path

Schema = Mapping[str, Any]

# Checked by the API server for every object, whatever a CRD says.
_NAME_SEGMENT = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_KEYS = {
    "pattern": rf"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?{_NAME_SEGMENT}$",
    "title": "a name such as team or example.com/team",
}
_OBJECT_META: Schema = {
    "namespace": {
        "type": "string",
        "maxLength": 63,
        "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        "title": "the name of a namespace, lower-case letters, digits and dashes",
    },
    "labels": {
        "type": "object",
        "propertyNames": _KEYS,
        "additionalProperties": {
            "type": "string",
            "maxLength": 63,
            "pattern": f"^({_NAME_SEGMENT})?$",
            "title": "the value of a label, letters, digits, dashes, underscores and dots",
        },
    },
    "annotations": {"type": "object", "propertyNames": _KEYS, "additionalProperties": {"type": "string"}},
    # Written by the server; here when a manifest was read from it.
    **{
        name: {}
        for name in (
            "creationTimestamp",
            "deletionGracePeriodSeconds",
            "deletionTimestamp",
            "finalizers",
            "generation",
            "managedFields",
            "ownerReferences",
            "resourceVersion",
            "selfLink",
            "uid",
        )
    },
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A value that a schema does not allow.

    Attributes:
        path: where it is.
        keyword: of JSON Schema, that does not hold: `required`, `pattern`, ...
        value: the value.
        schema: of the field.
    """

    path: Path
    keyword: str
    value: Any
    schema: Schema


def object_schema() -> Schema:
    """The CRD's schema, with what the API server demands of `metadata`, and without `status`, the operator's."""
    schema = crd.schema()
    metadata = schema["properties"]["metadata"]
    properties = {
        "apiVersion": {"type": "string", "enum": [crd.API_VERSION]},
        "kind": {"type": "string", "enum": [crd.KIND]},
        "metadata": {**metadata, "properties": {**_OBJECT_META, **metadata["properties"]}},
        "spec": schema["properties"]["spec"],
    }
    return {**schema, "required": ["apiVersion", "kind", "metadata", *schema["required"]], "properties": properties}


def defaulted(value: Any, schema: Schema) -> Any:
    """A copy with defaults filled in.

    A null that the schema does not allow is as if the field had not been written; in a list it stays, and is a fault.
    """
    if isinstance(value, Mapping):
        properties = schema.get("properties", {})
        others = schema.get("additionalProperties") or {"nullable": True}  # an unknown field stays, to be found
        filled = {k: v for k, v in value.items() if v is not None or properties.get(k, others).get("nullable", False)}
        for name, field in properties.items():
            if "default" in field:
                filled.setdefault(name, copy.deepcopy(field["default"]))
        return {k: defaulted(v, properties.get(k, others)) for k, v in filled.items()}
    if isinstance(value, list):
        return [defaulted(item, schema.get("items", {})) for item in value]
    return value


def refusals(document: Any) -> Iterator[Refusal]:
    """All that `object_schema` does not allow in a defaulted document: types, bounds, unknown fields, repeated keys."""
    for error in _validator().iter_errors(document):
        keyword = "propertyNames" if "propertyNames" in error.absolute_schema_path else str(error.validator)
        field = error.schema if isinstance(error.schema, Mapping) else {}
        yield Refusal(tuple(error.absolute_path), keyword, error.instance, field)


_MATCHES = cel.compile("text.matches(pattern)")


def _pattern(_: Validator, pattern: str, value: Any, __: Schema) -> Iterator[jsonschema.ValidationError]:
    # CEL's expressions are RE2's, as the API server's: Python's `$` would let a line feed pass.
    if isinstance(value, str) and not _MATCHES.execute({"text": value, "pattern": pattern}):
        yield jsonschema.ValidationError("")


def _list_map_keys(_: Validator, keys: list[str], value: Any, __: Schema) -> Iterator[jsonschema.ValidationError]:
    seen = set()
    for n, item in enumerate(value if isinstance(value, list) else ()):
        if isinstance(item, Mapping) and all(key in item for key in keys):
            identity = tuple(str(item[key]) for key in keys)
            if identity in seen:
                yield jsonschema.ValidationError("", path=[n], instance=item)
            seen.add(identity)


@cache
def _validator() -> Validator:
    keywords = {"pattern": _pattern, "x-kubernetes-list-map-keys": _list_map_keys}
    kind: type[Validator] = jsonschema.validators.extend(jsonschema.Draft202012Validator, keywords)  # type: ignore[no-untyped-call]
    return kind(_json_schema(object_schema()))


def _json_schema(schema: Schema) -> dict[str, Any]:
    """The same in JSON Schema's words."""
    result = {k: v for k, v in schema.items() if k not in {"x-kubernetes-validations", "default", "nullable", "anyOf"}}
    if schema.get("x-kubernetes-int-or-string"):
        result["type"] = ["integer", "string"]
    if schema.get("nullable"):
        result["type"] = [result["type"], "null"]
    if "properties" in schema:
        result["properties"] = {name: _json_schema(field) for name, field in schema["properties"].items()}
        result["additionalProperties"] = False
    if "additionalProperties" in schema:
        result["additionalProperties"] = _json_schema(schema["additionalProperties"])
    if "items" in schema:
        result["items"] = _json_schema(schema["items"])
    return result
