"""Connections and tokens as Secrets have them, good and bad."""

from base64 import b64encode

import pytest

from holter_operator.reconcile.provision_access import access, read_access, read_token
from holter_operator.reconcile.provision_state import Access, Refused

GOOD = {"url": "http://influxdb:8086", "org": "hospital", "token": "secret=="}


def secret(**values):
    return {"data": {key: b64encode(value.encode()).decode() for key, value in (GOOD | values).items()}}


@pytest.mark.parametrize(
    ("url", "used"),
    [
        ("http://influxdb:8086", "http://influxdb:8086"),
        ("https://influxdb.example/", "https://influxdb.example"),
        ("http://10.0.0.1:8086/behind/proxy/", "http://10.0.0.1:8086/behind/proxy"),
        ("http://[fd00::1]:8086\n", "http://[fd00::1]:8086"),
    ],
)
def test_good(url, used):
    assert read_access(secret(url=url, token="secret==\n"), "Secret a/b") == Access(used, "hospital", "secret==")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("influxdb:8086", "scheme 'influxdb'"),
        ("file:///etc/passwd", "scheme 'file'"),
        ("ftp://influxdb", "scheme 'ftp'"),
        ("http://", "no host"),
        ("http://influxdb:0", "port 0"),
        ("http://influxdb:99999", "is not one"),
        ("http://influxdb:x", "is not one"),
        ("http://[fd00::1", "is not one"),
        ("http://me:pass@influxdb", "user or password"),
        ("http://influxdb?org=x", "query"),
        ("http://influxdb#x", "fragment"),
        ("http://influx db", "is not one"),
        ("http://influxdb\r\nX: y", "is not one"),
        ("http://" + "x" * 3000, "is not one"),
    ],
)
def test_bad_url(url, why):
    refused = read_access(secret(url=url), "Secret a/b")
    assert isinstance(refused, Refused)
    assert refused.reason == "InfluxDBConnectionInvalid"
    assert refused.message.startswith("Secret a/b: url ")
    assert why in refused.message
    assert "pass@" not in refused.message


@pytest.mark.parametrize("token", ["two words", "two\nlines", "tab\there", "é", "x" * 3000])
def test_bad_token_is_not_told(token):
    refused = read_access(secret(token=token), "Secret a/b")
    assert isinstance(refused, Refused)
    assert token not in refused.message


@pytest.mark.parametrize("key", ["url", "org", "token"])
def test_missing_key(key):
    for broken in ("", "   \n"):
        refused = read_access(secret(**{key: broken}), "Secret a/b")
        assert refused == Refused("InfluxDBConnectionInvalid", f"Secret a/b: {key} missing or empty, or no text")
    for raw in ("%%%", "/w==", None, 7):
        data = secret()["data"] | {key: raw}
        assert isinstance(read_access({"data": data}, "Secret a/b"), Refused)


def test_no_secret():
    refused = read_access(None, "Secret a/b")
    assert refused.reason == "InfluxDBConnectionMissing"
    for empty in ({}, {"data": None}, {"data": {}}):
        assert isinstance(read_access(empty, "Secret a/b"), Refused)
    assert isinstance(access("http://x", "", "t", "settings"), Refused)
    assert isinstance(access("http://x", "a\nb", "t", "settings"), Refused)


def test_token_of_a_component():
    assert read_token(secret()) == "secret=="
    for none in (None, {}, {"data": None}, {"data": {"token": "%%"}}, {"data": {"token": ""}}):
        assert read_token(none) is None


def test_a_token_is_in_no_repr():
    assert "secret" not in repr(read_access(secret(), "Secret a/b"))
