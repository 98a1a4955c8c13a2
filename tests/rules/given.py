"""What the tests build rules and dashboards from, and where the tools are."""

import shutil
from functools import cache

import pytest

from holter_operator.api.cohort import parse
from holter_operator.api.schema import check
from holter_operator.build.everything import objects
from holter_operator.build.given import POD_MONITOR, PROMETHEUS_RULE, Component, ConsoleTokens, Given

NAMESPACE, SERVICE = "holter-system", "holter-operator"
OPERATOR = f'namespace="{NAMESPACE}",service="{SERVICE}"'

SPEC = {
    "alerting": {
        "webhooks": [{"name": "ward", "url": "https://alerts.st-mary.example/holter"}],
        "alertmanager": {"url": "http://alertmanager.monitoring.svc:9093"},
    }
}


def cohort(spec=None):
    """A cohort on whose ways to fail there is a rule each."""
    document = {
        "apiVersion": "holter.dev/v1alpha1",
        "kind": "MonitoredCohort",
        "metadata": {"name": "ward", "namespace": "st-mary"},
        "spec": spec or SPEC,
    }
    defaulted, faults = check(document)
    assert not faults
    return parse(defaulted)


@cache
def everything():
    """All its objects."""
    given = Given(
        images=dict.fromkeys(Component, "holter-services:1"),
        owner_uid="11111111-2222-3333-4444-555555555555",
        kinds=frozenset({POD_MONITOR, PROMETHEUS_RULE}),
        console_tokens=ConsoleTokens("view", "acknowledge"),
    )
    return objects(cohort(), given)


def tool(name):
    """A program's path."""
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is not on PATH: apt-get install prometheus (make test-rules does it as root)")
    return found
