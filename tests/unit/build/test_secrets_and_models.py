"""Secrets and model ConfigMaps: what is given, and nothing where nothing is."""

from base64 import b64decode
from dataclasses import replace

import pytest

from holter_operator.build import models, secrets
from holter_operator.build.given import DeviceKey, ModelFiles


def opened(built):
    return {key: b64decode(value).decode() for key, value in built["data"].items()}


def test_each_component_has_a_connection_of_its_own(make, full):
    built = {each["metadata"]["name"]: opened(each) for each in secrets.connections(make("everything"), full)}
    assert list(built) == [f"cardiology-ward-influxdb-{name}" for name in ("ingest", "inference", "refit", "console")]
    assert built["cardiology-ward-influxdb-refit"] == {
        "url": "http://influxdb.storage.svc:8086",
        "org": "hospital",
        "bucket": "st-mary.ward",
        "token": "refit-token",
    }


def test_no_connection_for_a_component_that_does_not_run(make, full, bare):
    assert len(secrets.connections(make("persistent"), full)) == 3
    assert secrets.connections(make(), bare) == ()


def test_the_device_key_outlives_its_cohort(make, full):
    built = secrets.device_key(make(), full)
    assert opened(built) == {"current": "current-key", "previous": "previous-key"}
    assert "ownerReferences" not in built["metadata"]


def test_before_a_rotation_there_is_no_previous_key(make, full):
    assert opened(secrets.device_key(make(), replace(full, device_key=DeviceKey("only")))) == {"current": "only"}


@pytest.mark.parametrize("access", [{"mode": "Open"}, {"keySecretRef": {"name": "ours"}}])
def test_no_key_is_made_where_none_is_used_or_one_is_named(make, full, access):
    assert secrets.device_key(make(access=access), full) is None


def test_no_key_without_one(make, bare):
    assert secrets.device_key(make(), bare) is None


def test_the_console_has_two_tokens(make, full, bare):
    built = secrets.console_tokens(make("everything"), full)
    assert opened(built) == {"view": "view-token", "acknowledge": "acknowledge-token"}
    assert built["metadata"]["name"] == "cardiology-ward-console"
    assert secrets.console_tokens(make("persistent"), full) is None


def test_no_secret_shows_in_a_repr(full):
    """Given is what a traceback or a log would print."""
    shown = repr(full)
    for secret in ("ingest-token", "current-key", "previous-key", "view-token", "acknowledge-token", "arrays 7"):
        assert secret not in shown


def test_the_model_in_use(make, full, bare):
    built = models.current(make(), full)
    assert built["metadata"]["name"] == "ward-model"
    assert built["data"] == {"model.json": '{"revision": 7}\n'}
    assert b64decode(built["binaryData"]["model.npz"]) == b"arrays 7"
    assert "immutable" not in built
    assert models.current(make(), bare) is None


@pytest.mark.parametrize(("keep", "expected"), [(1, [7, 8]), (2, [7, 8]), (3, [6, 7, 8]), (9, [5, 6, 7, 8])])
def test_revisions_never_change_and_the_one_in_use_is_never_dropped(make, full, keep, expected):
    built = models.revisions(make(refit={"keepRevisions": keep}), full)
    assert [each["metadata"]["name"] for each in built] == [f"ward-model-r{number}" for number in expected]
    assert all(each["immutable"] is True for each in built)


def test_a_model_accepted_just_now_is_in_the_history(make, bare):
    given = replace(bare, model=ModelFiles(1, "{}", b""))
    assert [each["metadata"]["name"] for each in models.revisions(make(), given)] == ["ward-model-r1"]
