"""What the client makes of servers that are no, or no well-behaved, InfluxDB."""

import gzip
import json
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from holter_operator.io import influx_http
from holter_operator.io.influx_api import Api
from holter_operator.io.influx_http import Http, InfluxError
from holter_operator.reconcile.provision_state import Access

TOKEN = "a-secret-token"


@pytest.fixture
def serve():
    servers = []

    @contextmanager
    def start(*answers):
        """Each request gets the next answer (status, body, headers); the last one stays."""
        left, seen = list(answers), []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                seen.append((self.command, self.path, self.headers["Authorization"]))
                length = int(self.headers.get("Content-Length") or 0)
                self.rfile.read(length)
                status, body, headers = left.pop(0) if len(left) > 1 else left[0]
                if status is None:
                    self.close_connection = True
                    self.connection.close()
                    return
                self.send_response_only(status)
                for name, value in ({"Content-Length": str(len(body))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.handle_error = lambda *_: None  # a client that hangs up is what some tests are about
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        yield Access(f"http://127.0.0.1:{server.server_port}", "hospital", TOKEN), seen

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def http():
    http = Http(connect=2, read=2)
    yield http
    http.close()


def answer(status=200, content=None, **headers):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return status, body, {name.replace("_", "-"): value for name, value in headers.items()}


def error(status, message="said", code="x"):
    return answer(status, {"code": code, "message": message})


def failing(http, access, method="GET"):
    with pytest.raises(InfluxError) as caught:
        http.request(access, method, "orgs")
    assert TOKEN not in str(caught.value)
    assert access.url in str(caught.value)
    return caught.value


def test_an_answer_and_influxdb_s_time(serve, http):
    with serve(answer(200, {"a": 1}, Date="Sun, 22 Nov 2026 13:18:49 GMT")) as (access, seen):
        found = http.request(access, "GET", "orgs", {"org": "a b&c"})
    assert (found.content, found.at) == ({"a": 1}, datetime(2026, 11, 22, 13, 18, 49, tzinfo=UTC))
    assert seen == [("GET", "/api/v2/orgs?org=a+b%26c", f"Token {TOKEN}")]


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_a_proxy_that_takes_the_time_away(serve, http, date):
    with serve(answer(200, {}, Date=date)) as (access, _):
        before = datetime.now(UTC).replace(microsecond=0)
        assert before <= http.request(access, "GET", "orgs").at <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("status", "message", "reason", "transient"),
    [
        (400, "bad", "InfluxDBRefused", False),
        (401, "unauthorized access", "InfluxDBUnauthorized", False),
        (403, "forbidden", "InfluxDBUnauthorized", False),
        (403, "creating bucket would exceed maximum allowed: 2 buckets", "InfluxDBQuotaExceeded", False),
        (404, "not found", "InfluxDBRefused", False),
        (422, "conflict", "InfluxDBRefused", False),
        (429, "slow down", "InfluxDBUnavailable", True),
        (500, "internal", "InfluxDBUnavailable", True),
        (503, "starting", "InfluxDBUnavailable", True),
    ],
)
def test_refusals(serve, http, status, message, reason, transient):
    with serve(error(status, message)) as (access, _):
        found = failing(http, access)
    assert (found.reason, found.transient, found.status) == (reason, transient, status)
    assert message in str(found)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_redirect_is_followed(serve, http, status):
    with (
        serve(answer(200, {"secret": 1})) as (inside, inner),
        serve(answer(status, b"", Location=f"{inside.url}/x")) as (access, _),
    ):
        assert failing(http, access).status == status
    assert inner == []


@pytest.mark.parametrize("body", [b"<html>", b"\xff\xfe", b'{"a":', gzip.compress(b'{"orgs": []}', mtime=0)])
def test_no_json(serve, http, body):
    with serve(answer(200, body, Content_Encoding="gzip" if body[:1] == b"\x1f" else "identity")) as (access, _):
        found = failing(http, access)
    assert (found.reason, found.transient) == ("InfluxDBUnavailable", True)
    assert "not InfluxDB 2" in str(found)


@pytest.mark.parametrize("content", [[], "x", 1, {"orgs": None}, {"orgs": [1]}, {"orgs": [{}]}, {"other": []}])
def test_json_of_something_else(serve, http, content):
    with serve(answer(200, content)) as (access, _), pytest.raises(InfluxError, match="not InfluxDB 2"):
        Api(http, access).organisation()


def test_what_it_says_is_cut_short_and_only_its_message(serve, http):
    with serve(error(400, "m" * 9000), answer(400, b"internal page, not to be shown")) as (access, _):
        assert len(str(failing(http, access))) < 300
        assert "internal page" not in str(failing(http, access))


def test_an_endless_answer(serve, http, monkeypatch):
    monkeypatch.setattr(influx_http, "MOST_BYTES", 3 << 20)
    with serve(answer(200, b" " * (8 << 20))) as (access, _):
        assert "not complete" in str(failing(http, access))


def test_an_answer_that_drips(serve, monkeypatch):
    """Each piece comes in time, but all of it would take for ever: the clock of the whole is looked at, too."""
    now = iter(range(0, 1000, 3))
    monkeypatch.setattr(influx_http.time, "monotonic", lambda: next(now))
    http = Http(read=2)
    response = type("Response", (), {"close": lambda self: None})()
    response.stream = lambda *_, **__: iter([b" "] * 100)
    with pytest.raises(TimeoutError, match="after 2 bytes"):
        http._content(response)


@pytest.mark.parametrize(
    ("method", "first", "attempts"),
    [
        ("GET", error(503), 2),
        ("PATCH", error(429), 2),
        ("DELETE", (None, b"", {}), 2),
        ("GET", (None, b"", {}), 2),
        ("POST", error(503), 1),
        ("POST", (None, b"", {}), 1),
        ("GET", error(500), 1),
    ],
)
def test_what_may_be_repeated_is_and_nothing_else(serve, http, method, first, attempts):
    """A POST that may have been done is not: an authorization would be made twice."""
    with serve(first, answer(200, {})) as (access, seen):
        if attempts == 2:
            assert http.request(access, method, "orgs").content == {}
        else:
            assert failing(http, access, method).reason == "InfluxDBUnavailable"
    assert len(seen) == attempts


def test_retry_after_is_not_slept(serve, http, monkeypatch):
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    with serve(answer(503, {"message": "later"}, Retry_After="86400")) as (access, _):
        failing(http, access)
    assert sum(slept) < 5


def test_nobody_there_says_the_same_each_time(http):
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as closed:
        access = Access(f"http://127.0.0.1:{closed.server_port}", "hospital", TOKEN)
    messages = {str(failing(http, access)) for _ in range(3)}
    assert len(messages) == 1
    assert "Connection refused" in messages.pop()
    unknown = failing(http, Access("http://no-such-host.invalid:8086", "hospital", TOKEN))
    assert (unknown.reason, "0x" in str(unknown)) == ("InfluxDBUnavailable", False)


def test_silence_ends(serve):
    """The other side takes the connection and never answers."""
    http = Http(connect=0.2, read=0.2)
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as silent:
        found = failing(http, Access(f"http://127.0.0.1:{silent.server_port}", "hospital", TOKEN))
    assert found.transient
    assert "Read timed out" in str(found)
    http.close()


def test_pages(serve, http):
    def page(*numbers):
        return answer(200, {"buckets": [{"id": f"{n:03}", "name": f"b{n}", "retentionRules": []} for n in numbers]})

    with serve(page(*range(100)), page(*range(100, 200)), page()) as (access, seen):
        found = list(Api(http, access).buckets("o"))
    assert [bucket.id for bucket in found] == [f"{n:03}" for n in range(200)]
    assert {bucket.retention for bucket in found} == {0}
    assert [path.partition("after=")[2] for _, path, _ in seen] == ["", "099", "199"]


def test_a_listed_token_is_not_kept(serve, http):
    listed = {
        "id": "a",
        "token": "plain-text",
        "status": "active",
        "description": "d",
        "createdAt": "2026-11-22T13:18:49.774973738Z",
        "permissions": [{"action": "read", "resource": {"type": "buckets", "id": "b", "orgID": "o"}}],
    }
    with serve(answer(200, {"authorizations": [listed, {"id": "odd"}]})) as (access, _):
        _, (found, odd) = Api(http, access).authorizations("o")
    assert found.permissions == {("read", "buckets", "b")}
    assert found.created == datetime(2026, 11, 22, 13, 18, 49, 774973, tzinfo=UTC)
    assert "plain-text" not in repr(found)
    assert (odd.active, odd.permissions) == (False, frozenset())
