"""YAML as kubectl reads it; where its fields are."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from holter_operator.api import documents
from holter_operator.api.documents import Document, SyntaxFault

# What kubectl 1.32 makes of each unquoted word.
WORDS = {
    "y": True,
    "yes": True,
    "on": True,
    "N": False,
    "OFF": False,
    "tRUE": "tRUE",
    '"yes"': "yes",
    "010": 8,
    "0o10": 8,
    "0o9": "0o9",
    "09": 9,
    "0x1F": 31,
    "0b101": 5,
    "1_000": 1000,
    "+5": 5,
    "-7": -7,
    "1.0": 1,
    "1e3": 1000,
    "1.5e-2": 0.015,
    ".5": 0.5,
    '"1.0"': "1.0",
    "12:30": "12:30",
    "2024-01-02": "2024-01-02",
    "2024-01-02T03:04:05Z": "2024-01-02T03:04:05Z",
    "~": None,
    "null": None,
    '""': "",
    "=": "=",
    "4Gi": "4Gi",
}

YAMLISH = [*"{}[]b", "a: ", "- ", "\n", "  ", "&x ", "*x ", "!!int ", "!!binary ", "<<: ", "0x", "1e999", "---\n", "? "]
GARBAGE = (
    st.text() | st.text(alphabet="ab01:-[]{},&*!#|>%'\"\\ \n\t~<?.") | st.lists(st.sampled_from(YAMLISH)).map("".join)
)


def only(text: str) -> Document:
    (document,) = documents.read(text)
    return document


@pytest.mark.parametrize(("word", "value"), list(WORDS.items()))
def test_words_are_what_kubectl_takes_them_for(word, value):
    (found,) = only(f"[{word}]").value
    assert found == value
    assert type(found) is type(value)


def test_keys_are_text_and_merges_are_made():
    assert only("8080: a\non: b\nm: {<<: {x: 1}, z: 2}").value == {"8080": "a", "true": "b", "m": {"x": 1, "z": 2}}


def test_other_readers_of_yaml_are_let_be():
    only("a: y")
    assert YAML(typ="safe", pure=True).load("a: y") == {"a": "y"}


def test_lines_of_fields():
    lines = only("# comment\na:\n  b: 1\n  c:\n  - d: 2\n  - 3\n").lines
    assert lines == {
        (): 2,
        ("a",): 2,
        ("a", "b"): 3,
        ("a", "c"): 4,
        ("a", "c", 0): 5,
        ("a", "c", 0, "d"): 5,
        ("a", "c", 1): 6,
    }


def test_many_documents_and_lists():
    text = "a: 1\n---\n---\nkind: List\nitems:\n- b: 2\n-\n  c: 3\n--- # nothing\n"
    found = list(documents.read(text))
    assert [d.value for d in found] == [{"a": 1}, {"b": 2}, {"c": 3}]
    assert [d.lines[()] for d in found] == [1, 6, 8]
    assert found[2].lines["c",] == 8


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: [1, 2\nc: 3\n", 3, "expected"),
        ("a:\n  b: 1\n  b: 2\n", 3, "duplicate key"),
        ("a: 1\n\tb: 2\n", 2, "\\t"),
        ("a: *b\n", 1, "undefined alias"),
        ("a: !!python/name:os.system x\n", 1, "constructor"),
        ("a: \x00", None, "not allowed"),
    ],
)
def test_syntax_faults_have_a_line(text, line, words):
    with pytest.raises(SyntaxFault, match="(?i)" + words.replace("\\", r"\\")) as fault:
        list(documents.read(text))
    assert fault.value.line == line


def test_documents_before_a_fault_are_given():
    found = []
    with pytest.raises(SyntaxFault):
        found.extend(documents.read("a: 1\n---\nb: [\n"))
    reader = documents.read("a: 1\n---\nb: [\n")
    assert next(reader).value == {"a": 1}


@pytest.mark.parametrize("text", ["a: &a [*a]", "[" * 500])
def test_no_bottom(text):
    with pytest.raises(SyntaxFault):
        list(documents.read(text))


@settings(deadline=None)
@given(GARBAGE)
def test_garbage_is_read_or_refused(text):
    try:
        found = list(documents.read(text))
    except SyntaxFault:
        return
    assert all(() in document.lines for document in found)


def test_an_anchor_may_be_used_again():
    assert only("{a: &x 1, b: *x, c: &x 2, d: *x}").value == {"a": 1, "b": 1, "c": 2, "d": 2}


def test_a_key_that_is_no_scalar_is_refused():
    with pytest.raises(SyntaxFault, match="a key has to be a scalar"):
        only("? - :")
