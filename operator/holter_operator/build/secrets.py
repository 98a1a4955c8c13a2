"""Secrets: each component's connection to its bucket, the device key, the console's tokens."""

from base64 import b64encode
from collections.abc import Mapping

from holter_operator.api.cohort import Cohort
from holter_operator.build import console, names
from holter_operator.build.given import Component, Given
from holter_operator.build.meta import Object, child
from holter_operator.build.serviceaccounts import components


def connections(cohort: Cohort, given: Given) -> tuple[Object, ...]:
    """A Secret for each component whose connection is given."""
    return tuple(
        child("v1", "Secret", names.influxdb(cohort, component), cohort, given, component)
        | _content({"url": found.url, "org": found.org, "bucket": found.bucket, "token": found.token})
        for component in components(cohort, given)
        if (found := given.influxdb.get(component))
    )


def device_key(cohort: Cohort, given: Given) -> Object | None:
    """The generated key, unless the cohort names its own or is open.

    No owner: every wearable's token hangs on it, so deleting the cohort must not take it along.
    """
    access = cohort.spec.access
    if given.device_key is None or access.key_secret_ref or access.mode == "Open":
        return None
    content = {"current": given.device_key.current}
    if given.device_key.previous is not None:
        content["previous"] = given.device_key.previous
    head = child("v1", "Secret", names.device_key(cohort), cohort, given, Component.INGEST, owned=False)
    return head | _content(content)


def console_tokens(cohort: Cohort, given: Given) -> Object | None:
    """Tokens of those who look and of those who acknowledge."""
    if given.console_tokens is None or not console.wanted(cohort, given):
        return None
    tokens = given.console_tokens
    head = child("v1", "Secret", names.component(cohort, Component.CONSOLE), cohort, given, Component.CONSOLE)
    return head | _content({"view": tokens.view, "acknowledge": tokens.acknowledge})


def _content(values: Mapping[str, str]) -> Object:
    # `data`, not `stringData`: a server-side apply of the latter never owns what it wrote.
    data = {key: b64encode(value.encode()).decode() for key, value in values.items()}
    return {"type": "Opaque", "data": data}
