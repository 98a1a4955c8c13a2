"""A support bundle holds no patient data and no secrets."""

import base64
import json

import pytest

from holter_operator.kubectl import redaction
from holter_operator.kubectl.findings import findings
from holter_operator.kubectl.redaction import Pseudonyms
from holter_operator.kubectl.refused import Refused
from holter_operator.kubectl.render import document


def test_of_a_secret_only_names_and_lengths_are_kept():
    data = {"current": base64.b64encode(b"the device key").decode()}
    document = {
        "metadata": {"name": "ward-device-key", "managedFields": [1], "annotations": {"x": "the device key"}},
        "type": "Opaque",
        "data": data,
        "stringData": None,
    }
    kept = redaction.secret(document)
    assert kept["data"] == {"current": "20 characters of base64"}
    assert data["current"] not in json.dumps(kept)
    assert "the device key" not in json.dumps(kept)


def test_of_a_cohort_free_text_and_what_addresses_carry_is_left_out():
    document = {
        "metadata": {
            "name": "ward",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{secret}", "holter.dev/x": "1"},
        },
        "spec": {
            "description": "Mrs. Jones's ward",
            "alerting": {
                "webhooks": [{"name": "a", "url": "https://hooks.example/T0/B0/secret"}],
                "alertmanager": {"url": "http://u:p@am.svc:9093/"},
            },
        },
    }
    text = json.dumps(redaction.cohort(document), ensure_ascii=False)
    for word in ("Jones", "secret", "u:p"):
        assert word not in text
    assert "https://hooks.example/…" in text
    assert "http://am.svc:9093/…" in text
    assert document["spec"]["description"] == "Mrs. Jones's ward", "what was given is not changed"


def test_a_config_map_has_no_arrays_and_no_paths_of_addresses():
    document = {
        "metadata": {"name": "ward-config"},
        "data": {"inference.json": '{"webhooks": [{"url": "https://x.example/a/b?key=c"}]}'},
        "binaryData": {"model.npz": "AAAA"},
    }
    kept = redaction.config_map(document)
    assert kept["data"]["inference.json"] == '{"webhooks": [{"url": "https://x.example/…"}]}'
    assert kept["binaryData"] == {"model.npz": "4 characters"}


LOG = """\
{"event": "alert", "device_id": "bed-07", "kind": "asystole"}
{"event": "acknowledged", "device_id": "bed-7", "by": "R. Okafor", "address": "10.0.0.1"}
{"event": "refused", "reason": "device bed-07 sends too fast, not bed-071", "by": ""}
{"event": "deep", "more": {"device_id": ["bed-09"]}, "n": 3}
Traceback of patient bed-07
"""


def test_devices_and_people_have_pseudonyms_in_logs():
    names = Pseudonyms(b"salt")
    text = redaction.log(LOG, names)
    for word in ('"bed-07"', "bed-7", "Okafor", "bed-09", " bed-07 "):
        assert word not in text, word
    lines = [json.loads(line) for line in text.splitlines()[:-1]]
    assert lines[0]["device_id"] == names.of("bed-07")
    assert lines[0]["kind"] == "asystole"
    assert lines[2]["reason"] == f"device {names.of('bed-07')} sends too fast, not bed-071"
    assert lines[3] == {"event": "deep", "more": {"device_id": [names.of("bed-09")]}, "n": 3}
    assert text.splitlines()[-1] == "(27 characters, no JSON)"


@pytest.mark.parametrize("other", [b"other salt", b""])
def test_pseudonyms_of_two_bundles_cannot_be_compared(other):
    assert Pseudonyms(b"salt").of("bed-07") != Pseudonyms(other).of("bed-07")


def test_what_was_refused_names_no_device(snapshot):
    found = (Refused("wearable-7", 403, "Authorization", "is not this device's token", 3),)
    kept = redaction.seen(snapshot(refused=found), Pseudonyms(b"salt"))
    text = json.dumps(document(kept, findings(kept)))
    assert "wearable-7" not in text
    assert Pseudonyms(b"salt").of("wearable-7") in text
    assert redaction.seen(snapshot(refused=None), Pseudonyms(b"salt")).refused is None
