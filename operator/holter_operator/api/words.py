"""What a schema does not allow, in words: the value, what is wrong with it and what would be right."""

import json
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

import jsonschema

from holter_operator.api.fault import Path, spell
from holter_operator.api.structural import Refusal, Schema

_TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "text",
    "array": "a list",
    "object": "a group of fields",
    "null": "null",
}


def in_words(refusal: Refusal, schema: Schema) -> Iterator[tuple[Path, str]]:
    """Path and message of each fault in a refused value.

    Args:
        refusal: what was found.
        schema: the whole, to find where a misplaced field belongs.
    """
    path, value, field = refusal.path, refusal.value, refusal.schema
    match refusal.keyword:
        case "required":
            for name in field["required"]:
                if name not in value:
                    yield (*path, name), f"is missing; {_expected(field['properties'][name])} is needed"
        case "additionalProperties":
            for name in value:
                if name not in field["properties"]:
                    yield (*path, name), _unknown(name, path, field["properties"], schema)
        case "propertyNames":
            yield (*path, value), f"{show(value)} is not {field['title']}"
        case keyword:
            yield path, _fault(keyword, value, field)


def show(value: Any) -> str:
    """A value as it may stand in a file, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 100 else f"{text[:97]}…"


def _fault(keyword: str, value: Any, field: Schema) -> str:
    match keyword:
        case "type":
            return f"{show(value)} is not {_expected(field)}{_quotes(value, field)}"
        case "enum":
            return f"{show(value)} is none of {', '.join(field['enum'])}{_guess(str(value), field['enum'])}"
        case "pattern":
            return f"{show(value)} is not {_expected(field)}"
        case "minimum" | "maximum":
            return f"{show(value)} is out of range; {_range(field)}"
        case "minLength":
            return f"is empty; {_expected(field)} is needed"
        case "maxLength":
            return f"{show(value)} has {len(value)} characters; at most {field['maxLength']}"
        case "maxItems" | "maxProperties":
            return f"has {len(value)} entries; at most {field[keyword]}"
        case "x-kubernetes-list-map-keys":
            keys = ", ".join(f"{key} {show(value[key])}" for key in field[keyword])
            return f"{keys} is there twice; each needs its own"
    return f"{show(value)} is not allowed: {keyword} is {show(field.get(keyword))}"


def _expected(field: Schema) -> str:
    kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
    words = str(field.get("title") or " or ".join(_TYPES[kind] for kind in kinds))
    if "enum" in field:
        return f"one of {', '.join(field['enum'])}"
    return f"a group with {', '.join(field['required'])}" if "required" in field else words


def _quotes(value: Any, field: Schema) -> str:
    """Quotes decide between text and what looks like a number or a boolean."""
    if isinstance(value, str) and "string" not in field["type"]:
        try:
            unquoted = json.loads(value)
        except ValueError:
            return ""
        return (
            "; leave out the quotes"
            if jsonschema.Draft202012Validator({"type": field["type"]}).is_valid(unquoted)
            else ""
        )
    if isinstance(value, bool | int | float) and field["type"] == "string" and "enum" not in field:
        return "; put it in quotes" if "pattern" not in field or isinstance(value, bool) else ""
    return ""


def _range(field: Schema) -> str:
    low, high = field.get("minimum"), field.get("maximum")
    if low is not None and high is not None:
        return f"between {low} and {high}"
    return f"at least {low}" if low is not None else f"at most {high}"


def _unknown(name: str, path: Path, known: Mapping[str, Any], schema: Schema) -> str:
    if guess := _guess(name, known):
        return f"unknown field{guess}"
    if elsewhere := [spell(place) for place in _places(name, schema, ()) if place[:-1] != path][:3]:
        return f"unknown field here; it belongs to {' or '.join(elsewhere)}"
    return f"unknown field; known here: {', '.join(sorted(known))}"


def _guess(name: str, known: Any) -> str:
    spellings = {each.lower(): each for each in known}
    close = get_close_matches(name.lower(), spellings, n=1, cutoff=0.7)
    return f"; did you mean {spellings[close[0]]}?" if close else ""


def _places(name: str, schema: Schema, path: Path) -> Iterator[Path]:
    for field, inner in schema.get("properties", {}).items():
        if field == name:
            yield (*path, field)
        yield from _places(name, inner, (*path, field))
