"""docs/api.md, from the CRD: `python -m scripts.api_reference` writes it, and a test holds it to the CRD."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from holter_operator.api import crd

PAGE = Path(__file__).parents[1] / "docs" / "api.md"
Schema = Mapping[str, Any]

_HEAD = """\
# API reference

<!-- Written by scripts/api_reference.py from crds/monitoredcohorts.holter.dev.yaml. -->

`{api_version}`, kind `{kind}`, namespaced; `kubectl get {short}`. {description}

Schema, defaults and rules are the CRD's, and the same for the API server, `holter validate` and `holter up`.
`kubectl explain {short}.spec` tells the same on a cluster. [One example for each feature](../examples).
"""


def page() -> str:
    """The whole page."""
    definition = crd.load()
    version = definition["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    names = definition["spec"]["names"]
    head = _HEAD.format(
        api_version=f"{definition['spec']['group']}/{version['name']}",
        kind=names["kind"],
        short=names["shortNames"][0],
        description=schema["description"],
    )
    parts = [head, "## Name\n", _bullet(schema["properties"]["metadata"]["properties"]["name"]["title"])]
    for section in ("spec", "status"):
        parts += [f"\n## {section}\n", schema["properties"][section]["description"], "\n"]
        fields = schema["properties"][section]["properties"]
        simple = {name: field for name, field in fields.items() if not field.get("properties")}
        parts.append(_table(_rows(simple, "")))
        for name, field in fields.items():
            if field.get("properties"):
                parts += [f"\n### {section}.{name}\n", field.get("description", ""), "\n"]
                parts.append(_table(_rows(field["properties"], "")))
                parts += [_bullet(rule) for rule in _rules(field)]
        rules = [_bullet(rule) for rule in _rules(schema["properties"][section])]
        if rules:
            parts += [f"\n### Rules of {section} as a whole\n", *rules]
    return "\n".join(part.rstrip("\n") if part != "\n" else "" for part in parts) + "\n"


def _table(rows: Iterator[tuple[str, str, str, str]]) -> str:
    lines = ["| field | type | default | |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(_cell(each) for each in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _rows(fields: Mapping[str, Schema], path: str, required: frozenset[str] = frozenset()) -> Iterator[tuple[str, ...]]:
    for name, field in fields.items():
        here = f"{path}{name}"
        inner = field.get("items", field) if field.get("type") == "array" else field
        words = [field.get("description") or inner.get("description") or "", *_limits(field)]
        words += ["Required."] if name in required else []
        words += [f"{rule[0].upper()}{rule[1:]}." for rule in _rules(field)]
        yield f"`{here}`", _type(field), _default(field), " ".join(words)
        if inner.get("properties"):
            below = f"{here}[]." if inner is not field else f"{here}."
            yield from _rows(inner["properties"], below, frozenset(inner.get("required", ())))


def _type(field: Schema) -> str:
    if field.get("type") == "array":
        return f"list of {_type(field['items'])}"
    if "additionalProperties" in field:
        return "map"
    if field.get("x-kubernetes-int-or-string"):
        return "integer or string"
    return str(field.get("type", "any"))


def _default(field: Schema) -> str:
    if "default" not in field:
        return ""
    value = field["default"]
    if value in ({}, []) and field.get("properties"):
        return ""
    text = {True: "true", False: "false"}.get(value, value) if isinstance(value, bool) else value
    return '`""`' if text == "" else f"`{_flow(text)}`"


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(each)}" for key, each in value.items()) + "}"
    return str(value)


def _limits(field: Schema) -> Iterator[str]:
    if field.get("title"):
        yield f"{field['title'][0].upper()}{field['title'][1:]}."
    if "enum" in field:
        yield f"One of {', '.join(f'`{each}`' for each in field['enum'])}."
    least, most = field.get("minimum"), field.get("maximum")
    if least is not None and most is not None:
        yield f"{least:,} to {most:,}."
    elif least is not None:
        yield f"At least {least:,}."
    elif most is not None:
        yield f"At most {most:,}."
    if "maxItems" in field:
        yield f"At most {field['maxItems']}."


def _rules(field: Schema) -> Iterator[str]:
    for rule in field.get("x-kubernetes-validations", ()):
        where = rule.get("fieldPath", "").removeprefix(".")
        text = rule["message"].rstrip(".")
        yield f"`{where}`: {text}" if where else text


def _cell(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")


def _bullet(text: str) -> str:
    return f"- {_cell(text)}"


if __name__ == "__main__":
    PAGE.write_text(page())
