"""The CRD's CEL rules (`x-kubernetes-validations`), evaluated as the API server does."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import cel

from holter_operator.api.fault import Path
from holter_operator.api.structural import Schema


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule that does not hold.

    Attributes:
        path: of the field that it blames.
        message: the value, what is wrong with it and what would be right.
        evaluated: False when the rule could not be evaluated, as happens with values of a wrong type.
    """

    path: Path
    message: str
    evaluated: bool = True


@dataclass(frozen=True, slots=True)
class _Scope:
    schema: Schema
    value: Any
    old: Any
    path: Path


def broken(document: Any, old: Any | None, schema: Schema) -> Iterator[Broken]:
    """The rules that do not hold.

    Args:
        document: defaulted.
        old: what it replaces, defaulted; None for a new object, whose transition rules (on `oldSelf`) are left out.
        schema: with the rules.
    """
    for scope in _scopes(_Scope(schema, document, old, ())):
        for rule in scope.schema.get("x-kubernetes-validations", ()):
            transition = "oldSelf" in _program(rule["rule"]).variables()
            if transition and scope.old is None:
                continue
            variables = {"self": _cel_value(scope.value, scope.schema)}
            if transition:
                variables["oldSelf"] = _cel_value(scope.old, scope.schema)
            path = (*scope.path, *filter(None, rule.get("fieldPath", "").split(".")))
            try:
                if _program(rule["rule"]).execute(variables) is not True:
                    yield Broken(path, _message(rule, variables, _at(scope.value, path[len(scope.path) :])))
            except (TypeError, ValueError, KeyError, RuntimeError) as error:
                yield Broken(path, f"rule {rule['rule']!r} cannot be evaluated: {error}", evaluated=False)


@cache
def _program(expression: str) -> cel.Program:
    return cel.compile(expression)


def _message(rule: Mapping[str, str], variables: Mapping[str, Any], value: Any) -> str:
    if "messageExpression" in rule:
        return str(_program(rule["messageExpression"]).execute(dict(variables)))
    if value in (None, "") or isinstance(value, Mapping | list | bool):
        return rule["message"]
    return f"{value}: {rule['message']}"


def _scopes(scope: _Scope) -> Iterator[_Scope]:
    """This value and all values within it, each with its schema and the value that it replaces, where there is one."""
    yield scope
    schema, value, old = scope.schema, scope.value, scope.old
    if isinstance(value, Mapping):
        others = schema.get("additionalProperties")
        for name, item in value.items():
            field = schema.get("properties", {}).get(name, others)
            if field and item is not None:
                before = old.get(name) if isinstance(old, Mapping) else None
                yield from _scopes(_Scope(field, item, before, (*scope.path, name)))
    elif isinstance(value, list) and "items" in schema:
        keys = schema.get("x-kubernetes-list-map-keys")
        known = {_identity(item, keys): item for item in old} if keys and isinstance(old, list) else {}
        for n, item in enumerate(value):
            yield from _scopes(_Scope(schema["items"], item, known.get(_identity(item, keys)), (*scope.path, n)))


def _identity(item: Any, keys: list[str] | None) -> tuple[str, ...] | None:
    return tuple(str(item.get(key)) for key in keys) if keys and isinstance(item, Mapping) else None


def _at(value: Any, path: Path) -> Any:
    for step in path:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _cel_value(value: Any, schema: Schema) -> Any:
    """As Kubernetes shows a value to CEL: a null field is absent, and `number` is always a double."""
    if isinstance(value, Mapping):
        fields, others = schema.get("properties", {}), schema.get("additionalProperties", {})
        return {k: _cel_value(v, fields.get(k, others)) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_cel_value(item, schema.get("items", {})) for item in value]
    if schema.get("type") == "number" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value
