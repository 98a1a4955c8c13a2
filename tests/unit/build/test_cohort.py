"""The models say what the CRD says: same fields, and required where it has a default."""

from collections.abc import Iterator
from types import UnionType
from typing import Any, get_args, get_origin

import pytest
from pydantic import BaseModel, ValidationError

from holter_operator.api import crd
from holter_operator.api.cohort import Cohort, Spec, parse, seconds, size_in_bytes


@pytest.mark.parametrize(("text", "expected"), [("90s", 90), ("15m", 900), ("720h", 2_592_000), ("0s", 0)])
def test_durations(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "90", "1.5h", "-1s", "1d", "1h30m", " 1s", None, 90])
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="a duration such as"):
        seconds(text)


@pytest.mark.parametrize(("text", "expected"), [("100Mi", 104_857_600), ("4Gi", 4 << 30), ("2Ti", 2 << 40)])
def test_sizes(text, expected):
    assert size_in_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "4", "4G", "1.5Gi", "-1Gi"])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="a size such as"):
        size_in_bytes(text)


def _model_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (tuple, UnionType):
        return next((found for arg in get_args(annotation) if (found := _model_of(arg))), None)
    return None


def _differences(model: type[BaseModel], schema: dict[str, Any], path: str) -> Iterator[str]:
    fields = {field.alias: field for field in model.model_fields.values()}
    properties = schema["properties"]
    yield from (f"{path}.{name}: in the CRD alone" for name in properties.keys() - fields.keys())
    yield from (f"{path}.{name}: in the model alone" for name in fields.keys() - properties.keys())
    for name in properties.keys() & fields.keys():
        sub = properties[name]
        always_there = "default" in sub or name in schema.get("required", ())
        if fields[name].is_required() != always_there:
            yield f"{path}.{name}: {'always' if always_there else 'not always'} there, says the CRD"
        nested = _model_of(fields[name].annotation)
        if nested is not None:
            yield from _differences(nested, sub.get("items", sub), f"{path}.{name}")


def test_the_models_are_the_crds():
    assert sorted(_differences(Spec, crd.schema()["properties"]["spec"], "spec")) == []


def test_an_undefaulted_document_is_refused():
    with pytest.raises(ValidationError, match=r"spec\.ingest"):
        parse({"metadata": {"name": "ward"}, "spec": {}})


def test_a_document_without_namespace_takes_the_one_given(make):
    document = make().model_dump(by_alias=True, mode="json")
    assert make().namespace == "st-mary"
    del document["metadata"]["namespace"]
    for section, name in (("refit", "lookback"), ("storage", "retention"), ("alerting", "cooldown")):
        document["spec"][section][name] = f"{document['spec'][section][name]}s"
    for name in ("window", "interval"):
        document["spec"]["inference"][name] = f"{document['spec']['inference'][name]}s"
    document["spec"]["ingest"]["batch"]["flushInterval"] = "1s"
    assert parse(document, "elsewhere").namespace == "elsewhere"
    assert parse(document).namespace == "default"


def test_a_cohort_cannot_be_changed(make):
    cohort: Cohort = make()
    with pytest.raises(ValidationError, match="frozen"):
        cohort.spec.inference.replicas = 3
