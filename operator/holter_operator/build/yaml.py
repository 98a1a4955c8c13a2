"""Objects as YAML that people read: secrets in the clear (`stringData`), texts as blocks."""

from base64 import b64decode
from collections.abc import Iterable
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.resolver import VersionedResolver
from ruamel.yaml.scalarstring import LiteralScalarString, SingleQuotedScalarString

from holter_operator.build.meta import Object

_TEXT = "tag:yaml.org,2002:str"


def dump(objects: Iterable[Object]) -> str:
    """Objects as one text of many documents, in their order; readers of YAML 1.1 and 1.2 take it for the same."""
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.explicit_start = True
    yaml.width = 1 << 16  # no line breaks of the writer's own
    yaml.indent(mapping=2, sequence=4, offset=2)
    # kubectl reads YAML 1.1, where `yes` is a boolean and 1:30 is 90.
    older = VersionedResolver(version=(1, 1))
    stream = StringIO()
    for built in objects:
        yaml.dump(_readable(_in_the_clear(built), older), stream)
    return stream.getvalue()


def _in_the_clear(built: Object) -> Object:
    if built["kind"] != "Secret":
        return built
    clear = {name: value for name, value in built.items() if name != "data"}
    return clear | {"stringData": {key: b64decode(value).decode() for key, value in built["data"].items()}}


def _readable(value: Any, older: VersionedResolver) -> Any:
    match value:
        case dict():
            return {_readable(key, older): _readable(item, older) for key, item in value.items()}
        case list():
            return [_readable(item, older) for item in value]
        case str() if "\n" in value:
            return LiteralScalarString(value)
        case str() if older.resolve(ScalarNode, value, (True, False)) != _TEXT:
            return SingleQuotedScalarString(value)
    return value
