"""Objects as YAML that people read: secrets in the clear (`stringData`), texts as blocks."""

from base64 import b64decode
from collections.abc import Iterable
from copy import deepcopy
from io import StringIO

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import walk_tree

from holter_operator.build.meta import Object


def dump(objects: Iterable[Object]) -> str:
    """Objects as one text of many documents, in their order."""
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.explicit_start = True
    yaml.width = 1 << 16  # no line breaks of the writer's own
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = StringIO()
    for built in objects:
        shown = _in_the_clear(deepcopy(built))
        walk_tree(shown)
        yaml.dump(shown, stream)
    return stream.getvalue()


def _in_the_clear(built: Object) -> Object:
    if built["kind"] == "Secret":
        built["stringData"] = {key: b64decode(value).decode() for key, value in built.pop("data").items()}
    return built
