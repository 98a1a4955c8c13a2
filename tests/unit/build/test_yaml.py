"""Objects as YAML say the same to every reader."""

import pytest
import yaml as libyaml
from ruamel.yaml import YAML

from holter_operator.api import documents
from holter_operator.build.everything import objects
from holter_operator.build.yaml import dump

WORDS = """
y n yes no on off true null ~ 012 0o14 0x1f 1:30 1e3 1_000 .5 .inf 2020-01-01 = << 8080 - ? * & % @ | > ! # a:b
"""


def readers():
    yield "kubectl's rules", lambda text: [document.value for document in documents.read(text)]
    yield "YAML 1.2", lambda text: list(YAML(typ="safe").load_all(text))
    yield "YAML 1.1", lambda text: list(libyaml.load_all(text, libyaml.CSafeLoader))


@pytest.fixture(params=list(readers()), ids=lambda reader: reader[0])
def read(request):
    return request.param[1]


def test_objects_read_back_as_they_were_built(read, make, full):
    built = objects(make("everything"), full)
    back = read(dump(built))
    assert [each["kind"] for each in back] == [each["kind"] for each in built]
    assert [each for each in back if each["kind"] != "Secret"] == [each for each in built if each["kind"] != "Secret"]


def test_words_that_a_reader_could_take_for_something_else_stay_words(read):
    texts = [
        "",
        " ",
        "two words ",
        "a: b",
        "a\nb\n",
        "\na",
        "a\n\n",
        " a\n b",
        "ends\n ",
        "tab\t",
        "x" * 500,
        *WORDS.split(),
    ]
    built = {
        "kind": "ConfigMap",
        "data": {f"{n}": text for n, text in enumerate(texts)},
        **dict.fromkeys(WORDS.split(), 1),
    }
    assert read(dump([built])) == [built]


def test_secrets_are_in_the_clear_and_the_object_stays_as_it_was():
    built = {"kind": "Secret", "data": {"token": "dG9rZW4="}}
    assert dump([built]) == "---\nkind: Secret\nstringData:\n  token: token\n"
    assert built == {"kind": "Secret", "data": {"token": "dG9rZW4="}}
