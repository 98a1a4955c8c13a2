"""Connections that can be used, and those that cannot."""

from dataclasses import replace

import pytest

from holter_operator.build.given import Component
from holter_operator.io.influx import FirstUser, Influx
from holter_operator.reconcile.provision_access import unusable
from holter_operator.reconcile.provision_state import Access, Refused, Wanted

GOOD = Access("http://influxdb:8086", "hospital", "secret==")
BAD_URLS = [
    ("", "is empty"),
    ("influxdb:8086", "scheme 'influxdb'"),
    ("file:///etc/passwd", "scheme 'file'"),
    ("ftp://influxdb", "scheme 'ftp'"),
    ("http://", "no host"),
    ("http://influxdb:0", "port 0"),
    ("http://influxdb:99999", "Port out of range"),
    ("http://influxdb:x", "no URL"),
    ("http://[fd00::1", "Invalid IPv6"),
    ("http://me:pass@influxdb", "user or password"),
    ("http://influxdb?org=x", "query"),
    ("http://influxdb#x", "fragment"),
    ("http://influx db", "no URL"),
    ("http://influxdb\r\nX: y", "no URL"),
    ("http://influxdb\n", "no URL"),
    ("http://influxdb.exämple", "no URL"),
    ("http://" + "x" * 3000, "too long"),
]


@pytest.mark.parametrize(
    "url", ["http://influxdb:8086", "https://influxdb.example/", "http://10.0.0.1:8086/proxy", "http://[fd00::1]:8086"]
)
def test_good(url):
    assert unusable(replace(GOOD, url=url)) is None


@pytest.mark.parametrize(("url", "why"), BAD_URLS)
def test_bad_url(url, why):
    refused = unusable(replace(GOOD, url=url))
    assert isinstance(refused, Refused)
    assert (refused.reason, refused.transient) == ("InfluxDBConnectionInvalid", False)
    assert why in refused.message
    assert "pass@" not in refused.message


@pytest.mark.parametrize("token", ["", "two words", "two\nlines", "tab\there", "clé", "x" * 3000])
def test_bad_token_is_not_told(token):
    refused = unusable(replace(GOOD, token=token))
    assert isinstance(refused, Refused)
    assert not token or token not in refused.message


@pytest.mark.parametrize("org", ["", " ", "a\nb", "x" * 3000])
def test_bad_org(org):
    assert "its org" in unusable(replace(GOOD, org=org)).message


def test_nothing_is_asked_of_a_bad_one():
    class NoHttp:
        def request(self, *_, **__):
            pytest.fail("no request may be sent")

    influx, bad = Influx(http=NoHttp()), replace(GOOD, url="file:///etc/passwd")
    asked = Wanted("u", "ns", "ward", "ns.ward", 3600, False, False, frozenset(Component))
    for refused in (
        influx.ensure(asked, bad, {}),
        influx.remove("u", bad, delete_bucket=True),
        influx.set_up(bad, FirstUser("admin", "password")),
    ):
        assert refused == unusable(bad)
    assert not influx.settled(asked, bad, {})


def test_a_token_is_in_no_repr():
    assert "secret" not in repr(GOOD)
