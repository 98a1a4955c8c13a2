"""Webhooks: the body, the signature, what each answer means."""

import hmac
import json
import shutil
import ssl
import subprocess
from datetime import UTC, datetime
from hashlib import sha256

import pytest

from holter.alert import AlertEvent, Kind, Priority, Transition
from holter.inference.sinks.sink import SinkRefusedError, SinkUnavailableError
from holter.inference.sinks.webhook import SigningSecret, WebhookSink, payload, rfc3339, signature

EVENT = AlertEvent(
    id="0f3c9a5be1d24c7788aa0011-1",
    alert_id="0f3c9a5be1d24c7788aa0011",
    event=Transition.RAISED,
    device_id="bed-07",
    kind=Kind.VENTRICULAR_TACHYCARDIA,
    priority=Priority.HIGH,
    onset=1_772_346_600_000_001,
    decided_at=1_772_346_606_500_000,
    reason="wide-complex rhythm 182/min for 7 s",
    score=0.93,
    threshold=0.71,
    model_revision=7,
)


@pytest.fixture
def make_sink():
    sinks = []

    def make(url, secret=None, **more):
        sinks.append(WebhookSink("ward", url, "st-mary", "cardiology", secret, **more))
        return sinks[-1]

    yield make
    for sink in sinks:
        sink.close()


def test_payload():
    assert json.loads(payload(EVENT, "st-mary", "cardiology")) == {
        "id": "0f3c9a5be1d24c7788aa0011-1",
        "alert": "0f3c9a5be1d24c7788aa0011",
        "event": "raised",
        "cohort": "cardiology",
        "namespace": "st-mary",
        "device_id": "bed-07",
        "category": "physiological",
        "priority": "high",
        "kind": "ventricular_tachycardia",
        "onset": "2026-03-01T06:30:00.000001Z",
        "decided_at": "2026-03-01T06:30:06.500000Z",
        "reason": "wide-complex rhythm 182/min for 7 s",
        "score": 0.93,
        "threshold": 0.71,
        "model_revision": 7,
        "strip": {"start": "2026-03-01T06:29:50.000001Z", "end": "2026-03-01T06:30:10.000001Z"},
    }


@pytest.mark.parametrize("time", [0, 1, 999_999, 1_772_346_600_123_456, 4_102_444_799_999_999])
def test_times_are_exact(time):
    read = datetime.fromisoformat(rfc3339(time))
    assert read.tzinfo == UTC
    assert (read - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1e6 == pytest.approx(time, abs=0.6)
    assert rfc3339(time).endswith(f"{time % 1_000_000:06d}Z")


def test_signature_vector():
    # printf '1772346607.{"id":"x"}' | openssl dgst -sha256 -hmac ward-secret
    expected = "7669daf6e64eac9b385ec976c46804fc39fdc9882ec8893c5b3c33087726ace4"
    assert signature(b"ward-secret", 1772346607, b'{"id":"x"}') == f"t=1772346607,v1={expected}"


async def test_a_request_is_signed_and_named(make_receiver, make_sink, tmp_path):
    (tmp_path / "secret").write_text("ward-secret\n")
    receiver = make_receiver()
    await make_sink(f"{receiver.url}/hook?a=b", SigningSecret(tmp_path / "secret"), clock=lambda: 1772346607.9).send(
        EVENT
    )
    ((headers, body),) = receiver.requests
    assert body == payload(EVENT, "st-mary", "cardiology")
    assert headers["Holter-Event-Id"] == EVENT.id
    assert headers["Content-Type"] == "application/json"
    expected = hmac.new(b"ward-secret", b"1772346607." + body, sha256).hexdigest()
    assert headers["Holter-Signature"] == f"t=1772346607,v1={expected}"


async def test_a_secret_is_read_again_when_it_changes(make_receiver, make_sink, tmp_path):
    path = tmp_path / "ward" / "secret"
    receiver = make_receiver()
    sink = make_sink(receiver.url, SigningSecret(path), clock=lambda: 1.0)
    await sink.send(EVENT)
    path.parent.mkdir()
    for content in ("first", "second", ""):
        path.write_text(content)
        await sink.send(EVENT)
    path.unlink()
    await sink.send(EVENT)
    body = payload(EVENT, "st-mary", "cardiology")
    assert [headers.get("Holter-Signature") for headers, _ in receiver.requests] == [
        None,
        signature(b"first", 1, body),
        signature(b"second", 1, body),
        None,
        None,
    ]
    assert {sent for _, sent in receiver.requests} == {body}


def test_a_secret_that_cannot_be_read_for_a_moment_is_kept(tmp_path):
    path = tmp_path / "secret"
    path.write_text("kept")
    secret = SigningSecret(path)
    assert secret.current() == b"kept"
    path.unlink()
    assert secret.current() == b"kept"
    path.mkdir()
    assert secret.current() == b"kept"


@pytest.mark.parametrize(
    ("answer", "error", "message", "retry_after"),
    [
        (500, SinkUnavailableError, "answered 500", 0),
        ((503, {"Retry-After": "17"}), SinkUnavailableError, "answered 503", 17),
        ((429, {"Retry-After": "99999"}), SinkUnavailableError, "answered 429", 600),
        ((429, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}), SinkUnavailableError, "answered 429", 0),
        ((429, {"Retry-After": "-5"}), SinkUnavailableError, "answered 429", 0),
        (408, SinkUnavailableError, "answered 408", 0),
        (425, SinkUnavailableError, "answered 425", 0),
        ("drop the connection", SinkUnavailableError, "no answer", 0),
        ("never answer", SinkUnavailableError, "no answer", 0),
        ("answer 200 with a megabyte", SinkUnavailableError, "no answer", 0),
        (400, SinkRefusedError, "answered 400", None),
        (401, SinkRefusedError, "answered 401", None),
        (404, SinkRefusedError, "answered 404", None),
        (410, SinkRefusedError, "answered 410", None),
        ((302, {"Location": "/elsewhere"}), SinkRefusedError, "redirects are not followed", None),
        ((307, {"Location": "/elsewhere"}), SinkRefusedError, "redirects are not followed", None),
    ],
)
async def test_what_an_answer_means(make_receiver, make_sink, answer, error, message, retry_after):
    receiver = make_receiver(lambda body: answer)
    with pytest.raises(error, match=message) as caught:
        await make_sink(f"{receiver.url}/token-in-the-path", timeout=0.5).send(EVENT)
    assert getattr(caught.value, "retry_after", None) == retry_after
    assert "token-in-the-path" not in str(caught.value)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_any_2xx_is_taken(make_receiver, make_sink, status):
    await make_sink(make_receiver(lambda body: status).url).send(EVENT)


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://localhost:1/secret", SinkUnavailableError),
        ("http://name.invalid/secret", SinkUnavailableError),
        ("ftp://localhost/secret", SinkRefusedError),
        ("http://[::1/secret", SinkRefusedError),
        ("secret", SinkRefusedError),
        ("", SinkRefusedError),
    ],
)
async def test_a_url_that_leads_nowhere(make_sink, url, error):
    with pytest.raises(error) as caught:
        await make_sink(url, timeout=2).send(EVENT)
    assert "secret" not in str(caught.value)


@pytest.fixture
def self_signed(tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("the openssl command is missing: it makes this test's certificate")
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost"
    more = ["-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate]
    subprocess.run([*command.split(), *more], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


async def test_a_certificate_that_nobody_signed_is_not_trusted(make_receiver, make_sink, self_signed):
    receiver = make_receiver(ssl_options=self_signed)
    with pytest.raises(SinkUnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
        await make_sink(receiver.url, timeout=5).send(EVENT)
    assert receiver.requests == []
