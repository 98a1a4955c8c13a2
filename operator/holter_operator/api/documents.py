"""YAML as kubectl reads it (booleans of YAML 1.1, dates as text), and the line of each field."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.resolver import BaseResolver

from holter_operator.api.fault import Path


class SyntaxFault(Exception):  # noqa: N818 - a fault of the file, not of the program
    """The text is not YAML; `line` counts from 1."""

    def __init__(self, message: str, line: int | None) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file.

    Attributes:
        value: as plain dicts, lists, strings, numbers, booleans and None.
        lines: of each field, counted from 1; of the document itself at `()`.
    """

    value: Any
    lines: Mapping[Path, int]


class _Resolver(BaseResolver):
    """What an unquoted word is, as in kubectl's YAML library: the booleans of 1.1, but no times and no base 60."""

    processing_version = (1, 2)

    def __init__(self, version: Any = None, loader: Any = None) -> None:  # noqa: ARG002 - as ruamel calls it
        super().__init__(loader)


for _tag, _pattern, _first in (
    ("bool", r"y|Y|yes|Yes|YES|n|N|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF", "yYnNtTfFoO"),
    ("int", r"[-+]?(0|[1-9][0-9_]*|0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+)", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
):
    _Resolver.add_implicit_resolver_base(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), list(_first))


class _Constructor(SafeConstructor):
    def construct_yaml_bool(self, node: Any) -> bool:
        return str(self.construct_scalar(node)).lower() in {"y", "yes", "true", "on"}

    def construct_yaml_int(self, node: Any) -> int:
        text = str(self.construct_scalar(node)).replace("_", "")
        octal = re.fullmatch("([-+]?)0([0-7]+)", text)
        return int(f"{octal[1]}0o{octal[2]}" if octal else text, 0)

    def construct_yaml_float(self, node: Any) -> float:
        # kubectl sends 2.0 as 2.
        number = float(super().construct_yaml_float(node))
        return int(number) if number.is_integer() else number


_Constructor.add_constructor("tag:yaml.org,2002:bool", _Constructor.construct_yaml_bool)
_Constructor.add_constructor("tag:yaml.org,2002:int", _Constructor.construct_yaml_int)
_Constructor.add_constructor("tag:yaml.org,2002:float", _Constructor.construct_yaml_float)


def read(text: str) -> Iterator[Document]:
    """The documents of a YAML (or JSON) text; the items of a List are documents of their own, empty ones are left out.

    Raises:
        SyntaxFault: the text is not YAML, or a mapping has a key twice; what came before it has been given by then.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.Resolver = _Resolver
    yaml.Constructor = _Constructor
    yaml.composer.warn_double_anchors = False  # an anchor may be used again, as in kubectl's
    try:
        for node in yaml.compose_all(text):
            value = _plain(yaml.constructor.construct_document(node))
            lines = dict(_lines(node, ()))
            if value is not None:
                yield from _items(Document(value, lines))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = next(iter((error.problem or error.context or "not YAML").strip().splitlines()))
        raise SyntaxFault(what, mark.line + 1 if mark else None) from error
    except RecursionError as error:
        raise SyntaxFault("nested too deeply, or within itself", None) from error
    except TypeError as error:  # ruamel's constructor, on a key that holds a mapping
        raise SyntaxFault("a key has to be a scalar, not a list or a mapping", None) from error
    except (YAMLError, ValueError) as error:
        raise SyntaxFault(next(iter(str(error).strip().splitlines()), "not YAML"), None) from error


def _items(document: Document) -> Iterator[Document]:
    value = document.value
    if not (
        isinstance(value, dict) and str(value.get("kind", "")).endswith("List") and isinstance(value.get("items"), list)
    ):
        yield document
        return
    for n, item in enumerate(value["items"]):
        start: Path = ("items", n)
        yield Document(item, {path[2:]: line for path, line in document.lines.items() if path[:2] == start})


def _plain(value: Any) -> Any:
    """JSON knows text keys only."""
    if isinstance(value, dict):
        return {_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _key(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _lines(node: Node, path: Path) -> Iterator[tuple[Path, int]]:
    """Where each field begins: at its key, or at the item of a list."""
    if not path:
        yield path, node.start_mark.line + 1
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if isinstance(key, ScalarNode):
                yield (*path, key.value), key.start_mark.line + 1
                yield from _lines(value, (*path, key.value))
    elif isinstance(node, SequenceNode):
        for n, item in enumerate(node.value):
            yield (*path, n), item.start_mark.line + 1
            yield from _lines(item, (*path, n))
