import json
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from holter_operator.api.cohort import Cohort, parse
from holter_operator.api.schema import check
from holter_operator.build.given import (
    POD_MONITOR,
    PROMETHEUS_RULE,
    Component,
    Connection,
    ConsoleTokens,
    DeviceKey,
    Given,
    ModelFiles,
)

COHORTS = Path(__file__).parent / "cohorts"
NAMES = sorted(path.stem for path in COHORTS.glob("*.yaml"))
UID = "11111111-2222-3333-4444-555555555555"
IMAGES = dict.fromkeys(Component, "holter-services:1")


@cache
def _cohort(name: str, called: str | None, sections: str) -> Cohort:
    document = YAML(typ="safe").load(COHORTS / f"{name}.yaml")
    if called:
        document["metadata"]["name"] = called
    document["spec"] = _merged(document["spec"], json.loads(sections))
    defaulted, faults = check(document)
    assert faults == []
    return parse(defaulted)


@pytest.fixture
def make() -> Callable[..., Cohort]:
    """A cohort by name; keywords change its spec, as merge patches of its sections do."""

    def build(name: str = "minimal", *, called: str | None = None, **sections: Any) -> Cohort:
        return _cohort(name, called, json.dumps(sections))

    return build


def _merged(target: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    result = deepcopy(target)
    for key, value in patch.items():
        result[key] = _merged(result.get(key, {}), value) if isinstance(value, dict) else value
    return result


@pytest.fixture
def bare() -> Given:
    """The least that is given."""
    return Given(images=IMAGES, owner_uid=UID)


@pytest.fixture
def full() -> Given:
    """All that can be given."""
    models = tuple(ModelFiles(n, f'{{"revision": {n}}}\n', f"arrays {n}".encode()) for n in (5, 6, 7, 8))
    return Given(
        images=IMAGES,
        owner_uid=UID,
        kinds=frozenset({POD_MONITOR, PROMETHEUS_RULE}),
        influxdb={
            component: Connection("http://influxdb.storage.svc:8086", "hospital", "st-mary.ward", f"{component}-token")
            for component in Component
        },
        device_key=DeviceKey(current="current-key", previous="previous-key"),
        console_tokens=ConsoleTokens(view="view-token", acknowledge="acknowledge-token"),
        model=models[2],
        history=models,
    )


@pytest.fixture
def find() -> Callable[..., dict[str, Any]]:
    """The one object of a kind and name."""

    def pick(objects: tuple[dict[str, Any], ...], kind: str, name: str) -> dict[str, Any]:
        (found,) = [built for built in objects if built["kind"] == kind and built["metadata"]["name"] == name]
        return found

    return pick


@pytest.fixture
def template() -> Callable[[dict[str, Any]], dict[str, Any] | None]:
    """The pod template of a workload, None of anything else."""

    def pick(built: dict[str, Any]) -> dict[str, Any] | None:
        spec = built.get("spec", {})
        return spec["jobTemplate"]["spec"]["template"] if built["kind"] == "CronJob" else spec.get("template")

    return pick
