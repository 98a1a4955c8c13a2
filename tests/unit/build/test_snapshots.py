"""All objects of three cohorts, as people read them."""

import pytest
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from holter_operator.build.everything import objects
from holter_operator.build.yaml import dump


class _Text(SingleFileSnapshotExtension):
    _write_mode = WriteMode.TEXT
    file_extension = "yaml"


@pytest.mark.parametrize(("name", "given"), [("minimal", "bare"), ("everything", "full"), ("persistent", "full")])
def test_objects(name, given, make, request, snapshot):
    assert dump(objects(make(name), request.getfixturevalue(given))) == snapshot(extension_class=_Text)
