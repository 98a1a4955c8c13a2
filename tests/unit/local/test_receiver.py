"""The demo's receiver takes what is signed, once."""

import hmac
import json
import time
from datetime import UTC, datetime

import pytest
from tornado.httpclient import AsyncHTTPClient

from holter_operator.local.demo.alerts import signed
from holter_operator.local.demo.receiver import Receiver

SECRET = b"s3cret"
BODY = json.dumps(
    {
        "id": "e-1",
        "alert": "e",
        "event": "raised",
        "device_id": "bed",
        "category": "physiological",
        "priority": "high",
        "kind": "asystole",
        "onset": "2026-03-01T10:00:00.000001Z",
        "decided_at": "2026-03-01T10:00:05.000001Z",
        "reason": "no beat for 4 s",
        "score": None,
        "unknown": 1,
    }
).encode()


def signature(body=BODY, secret=SECRET, at=None):
    at = int(time.time()) if at is None else at
    return f"t={at},v1={hmac.digest(secret, f'{at}.'.encode() + body, 'sha256').hex()}"


def test_a_signed_event_is_taken_once_and_told_once():
    told = []
    receiver = Receiver(SECRET, told.append)
    assert [receiver.take(signature(), BODY) for _ in range(2)] == [204, 204]
    assert [alert.kind for alert in told] == ["asystole"]
    assert (told[0].decided_at - told[0].onset).total_seconds() == 5.0
    assert receiver.refused == 0


@pytest.mark.parametrize(
    ("header", "body", "status"),
    [
        ("", BODY, 401),
        (signature(secret=b"other"), BODY, 401),
        (signature(at=1), BODY, 401),
        (signature(), BODY + b" ", 401),
        ("t=x,v1=y", BODY, 401),
        (signature(b"{}"), b"{}", 400),
        (signature(b"\xff"), b"\xff", 400),
    ],
    ids=["none", "another secret", "long ago", "another body", "no signature", "no alert", "no JSON"],  # not the time
)
def test_others_are_refused_and_counted(header, body, status):
    receiver = Receiver(SECRET)
    assert receiver.take(header, body) == status
    assert (receiver.refused, receiver.alerts) == (1, {})


def test_the_services_own_signature_is_understood():
    webhook = pytest.importorskip("holter.inference.sinks.webhook", reason="the data plane's extra is not installed")
    assert signed(
        SECRET, webhook.signature(SECRET, 1_700_000_000, BODY), BODY, datetime.fromtimestamp(1_700_000_100, UTC)
    )


async def test_over_http():
    receiver = Receiver(SECRET)
    receiver.start()
    try:
        url = f"http://127.0.0.1:{receiver.port}/alerts"
        for header, status in ((signature(), 204), ("", 401)):
            response = await AsyncHTTPClient().fetch(
                url, method="POST", body=BODY, headers={"Holter-Signature": header}, raise_error=False
            )
            assert response.code == status
    finally:
        await receiver.stop()
    assert set(receiver.alerts) == {"e-1"}
