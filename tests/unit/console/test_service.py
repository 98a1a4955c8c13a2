"""The service over real sockets: what each token gets, the WebSocket, acknowledgements, a store that is away."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
import structlog
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.websocket import websocket_connect

from holter.alert import Priority, Transition
from holter.chunk import MICROSECONDS
from holter.console import live, wire
from holter.console.live import CROWDED, UNAUTHORISED, LiveHandler
from holter.console.main import Service
from holter.console.web import POLICY, application
from holter.settings import SettingError, Settings
from holter.store.protocol import StoreRefusedError, StoreUnavailableError, Strip


class Reached:
    """A console that listens."""

    def __init__(self, port: int, token: str | None = None) -> None:
        self.port, self.token = port, token
        self.sockets = []

    async def ask(self, path: str, token: str | None = None, **more):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= more.pop("headers", {})
        request = HTTPRequest(f"http://127.0.0.1:{self.port}{path}", headers=headers, **more)
        return await AsyncHTTPClient().fetch(request, raise_error=False)

    async def acknowledge(self, identity: str, token: str | None, **body):
        headers = {"Content-Type": "application/json"}
        path = f"/api/alerts/{identity}/acknowledgement"
        return await self.ask(path, token, method="POST", body=json.dumps(body), headers=headers)

    async def connect(self, **more):
        self.sockets.append(await websocket_connect(HTTPRequest(f"ws://127.0.0.1:{self.port}/live", **more)))
        return self.sockets[-1]

    async def listen(self, token: str, **more):
        socket = await self.connect(**more)
        await socket.write_message(json.dumps({"token": token}))
        return socket


async def heard(socket):
    message = await asyncio.wait_for(socket.read_message(), 10)
    return json.loads(message) if isinstance(message, str) else message


@asynccontextmanager
async def serving(monitor, access):
    app = application(monitor, access, LiveHandler)
    app.settings["cohort"] = {"cohort": "ward", "namespace": "st-mary"}
    server = HTTPServer(app)
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    reached = Reached(sockets[0].getsockname()[1])
    try:
        yield reached
    finally:
        for socket in reached.sockets:
            ended = socket.close_code is not None
            socket.close()
            if not ended:
                while await asyncio.wait_for(socket.read_message(), 5) is not None:
                    pass
        server.stop()
        await server.close_all_connections()


@pytest.fixture
async def console(monitor, access):
    async with serving(monitor, access) as reached:
        yield reached


async def test_the_page_needs_no_token_and_every_answer_is_strict(console, tokens):
    for path in ("/", "/static/main.js", "/static/style.css", "/nothing", "/api/session", "/api/patients/bed1"):
        answer = await console.ask(path)
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "Server" not in answer.headers
        assert "Set-Cookie" not in answer.headers
    assert "unsafe" not in POLICY
    assert (await console.ask("/")).code == 200
    assert (await console.ask("/static/../main.py")).code in (403, 404)


@pytest.mark.parametrize(
    "path", ["/api/session", "/api/patients/bed1", "/api/patients/bed1/ecg", "/api/alerts", "/api/alerts/ab1/strip"]
)
async def test_nobody_looks_without_a_token(console, path):
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic eDp5"}, {"Cookie": "token=x"}):
        answer = await console.ask(path, headers=headers)
        assert answer.code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_a_session_says_what_it_may(console, tokens):
    view, acknowledge = tokens
    assert json.loads((await console.ask("/api/session", view)).body) == {"may": ["view"]}
    assert json.loads((await console.ask("/api/session", acknowledge)).body) == {"may": ["acknowledge", "view"]}


async def test_a_browser_hears_a_snapshot_and_then_what_changes(console, monitor, store, tokens, chunk, event, windows):
    store.write_chunks([chunk("bed1", ago=n, arrived=n + 1) for n in (3, 2)])
    store.write_scores(windows(("bed1", "bed2"), revision=6))
    store.write_alert(event())
    for step in (monitor.ecg, monitor.alerts, monitor.windows):
        await step()
    socket = await console.listen(tokens[0])
    hello, alerts, figures, backlog = [await heard(socket) for _ in range(4)]
    assert (hello["type"], hello["may"], hello["cohort"], hello["namespace"]) == ("hello", ["view"], "ward", "st-mary")
    assert [(a["id"], a["kind"], a["delay"]) for a in alerts["alerts"]] == [("ab1", "ventricular_tachycardia", 3.5)]
    assert [(p["id"], p["quality"]) for p in figures["patients"]] == [("bed1", 0.9), ("bed2", 0.9)]
    assert (figures["health"]["revision"], figures["health"]["store"]) == (6, None)
    assert len(wire.parse(backlog)) == 2

    store.write_chunks([chunk("bed1", ago=1)])
    await monitor.ecg()
    assert [c.t0 for c in wire.parse(await heard(socket))] == [chunk("bed1", ago=1).t0]
    store.write_alert(event(number=1, ago=10, event=Transition.CLEARED, priority=Priority.HIGH))
    await monitor.alerts()
    told = await heard(socket)
    assert (told["type"], told["alert"]["id"], told["alert"]["active"]) == ("alert", "ab1", False)
    await monitor.figures()
    assert (await heard(socket))["type"] == "figures"
    assert len(monitor.browsers) == 1
    socket.close()
    async with asyncio.timeout(10):
        while monitor.browsers:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("said", ['{"token": "wrong"}', "{", "[]", '{"token": 5}', b"\x00\xff"])
async def test_a_stranger_on_the_socket_hears_nothing(console, said):
    socket = await console.connect()
    await socket.write_message(said, binary=isinstance(said, bytes))
    assert await heard_end(socket) == UNAUTHORISED


async def heard_end(socket) -> int:
    assert await asyncio.wait_for(socket.read_message(), 10) is None
    return socket.close_code


async def test_who_says_nothing_is_sent_away(console, monkeypatch):
    monkeypatch.setattr(live, "_TOKEN_WITHIN", 0.05)
    socket = await console.connect()
    assert await heard_end(socket) == UNAUTHORISED
    async with asyncio.timeout(10):
        while LiveHandler.strangers:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_another_sites_page_gets_no_socket(console):
    shake = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "x"}
    assert (await console.ask("/live", headers={**shake, "Origin": "http://elsewhere.example"})).code == 403


async def test_more_browsers_than_there_is_room_for_are_asked_to_wait(console, tokens, monkeypatch):
    monkeypatch.setattr(live, "BROWSERS", 1)
    first = await console.listen(tokens[0])
    await heard(first)
    assert await heard_end(await console.listen(tokens[0])) == CROWDED


async def test_an_acknowledgement_is_stored_told_and_logged(console, monitor, store, tokens, event):
    store.write_alert(event())
    await monitor.alerts()
    view, acknowledge = tokens
    socket = await console.listen(view)
    for _ in range(4):
        await heard(socket)
    with structlog.testing.capture_logs() as logs:
        answer = await console.acknowledge("ab1", acknowledge, by="  R.  Okafor ", reason="Artefact")
    assert answer.code == 201
    (ack,) = store.read_acks(0)
    assert (ack.alert_id, ack.device_id, ack.by, ack.reason, ack.at) == (
        "ab1", "bed1", "R. Okafor", "Artefact", monitor.clock(),
    )  # fmt: skip
    told = (await heard(socket))["alert"]
    assert told["acknowledged"] is True
    assert told["acks"][0]["reason"] == "Artefact"
    (line,) = [entry for entry in logs if entry["event"] == "acknowledged"]
    assert (line["by"], line["alert"], line["device_id"], line["address"]) == ("R. Okafor", "ab1", "bed1", "127.0.0.1")
    assert "Artefact" not in str(line), "a reason may tell of the patient"


async def test_looking_is_not_acknowledging(console, monitor, store, tokens, event):
    store.write_alert(event())
    await monitor.alerts()
    for token, code in ((None, 401), ("wrong", 401), (tokens[0], 403)):
        answer = await console.acknowledge("ab1", token, by="x")
        assert answer.code == code
        assert "error" in json.loads(answer.body)
    # No cookie is ever looked at, and a form of another site cannot send what is asked for.
    forged = await console.ask(
        "/api/alerts/ab1/acknowledgement", method="POST", body="by=x", headers={"Cookie": f"token={tokens[1]}"}
    )
    assert forged.code == 401
    plain = await console.ask("/api/alerts/ab1/acknowledgement", tokens[1], method="POST", body='{"by": "x"}')
    assert plain.code == 415
    assert store.read_acks(0) == ()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "by"), ({"by": "  "}, "by"), ({"by": "x" * 65}, "by"), ({"by": 5}, "by"),
        ({"by": "x", "reason": "y" * 201}, "reason"), ({"by": "x", "else": 1}, "else"),
    ],
)  # fmt: skip
async def test_a_wrong_acknowledgement_names_its_field(console, monitor, store, tokens, event, body, words):
    store.write_alert(event())
    await monitor.alerts()
    answer = await console.acknowledge("ab1", tokens[1], **body)
    assert answer.code == 400
    assert words in json.loads(answer.body)["error"]
    assert store.read_acks(0) == ()


async def test_an_unknown_alert_cannot_be_acknowledged(console, tokens):
    assert (await console.acknowledge("dead", tokens[1], by="x")).code == 404


async def test_the_record_of_a_patient(console, monitor, store, tokens, chunk, event, windows):
    store.write_chunks([chunk(ago=n) for n in range(5, -1, -1)])
    store.write_strip(Strip("ab1", chunk(ago=3)))
    store.write_scores(windows(("bed1",)))
    await monitor.ecg()
    await monitor.windows()
    view = tokens[0]
    ecg = await console.ask("/api/patients/bed1/ecg?seconds=3", view)
    assert len(wire.parse(ecg.body)) == 3
    assert ecg.headers["Cache-Control"] == "no-store"
    assert len(wire.parse((await console.ask("/api/alerts/ab1/strip", view)).body)) == 1
    assert (await console.ask("/api/alerts/ab2/strip", view)).code == 404
    assert json.loads((await console.ask("/api/patients/bed1", view)).body)["score"] == [1.0]
    assert (await console.ask("/api/patients/nobody/ecg", view)).code == 404
    for seconds in ("0", "-1", "nan", "601", "x"):
        assert (await console.ask(f"/api/patients/bed1/ecg?seconds={seconds}", view)).code == 400


class Away:
    """A store that does not answer until it does."""

    def __init__(self, store, error: Exception) -> None:
        self.store, self.error = store, error
        self.away = True

    def __getattr__(self, name: str):
        if self.away and name != "close":
            raise self.error
        return getattr(self.store, name)


@pytest.mark.parametrize(
    ("error", "code"), [(StoreUnavailableError("write_ack: no"), 503), (StoreRefusedError("no right"), 500)]
)
async def test_what_was_not_stored_is_not_said_to_be(monitor, access, store, tokens, event, error, code):
    store.write_alert(event())
    await monitor.alerts()
    monitor._store = Away(store, error)
    async with serving(monitor, access) as console:
        assert (await console.acknowledge("ab1", tokens[1], by="x")).code == code
        assert monitor.book.describe("ab1", lambda _: 0)["acknowledged"] is False
        assert (await console.ask("/api/alerts/ab1/strip", tokens[0])).code == code


async def test_a_store_that_is_away_is_told_and_followed_again_when_it_is_back(monitor, store, chunk, monkeypatch):
    away = Away(store, StoreUnavailableError("read_chunks: refused"))
    monitor._store = away
    monkeypatch.setattr("holter.console.monitor.wait_exponential_jitter", lambda *_, **__: lambda _: 0.01)
    monkeypatch.setattr("holter.console.monitor.ECG_EVERY", 0.01)
    running = asyncio.create_task(monitor.run())
    try:
        async with asyncio.timeout(20):
            while len(monitor.health.faults) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert "refused" in json.loads(await monitor.figures_message())["health"]["store"]
            store.write_chunks([chunk()])
            away.away = False
            while monitor.health.faults or not monitor.ward.patients:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert monitor.measures.store_errors._value.get() >= 3


async def test_after_a_long_absence_it_goes_on_with_now(monitor, store, chunk, monkeypatch):
    await monitor.ecg()
    store.write_chunks([chunk(ago=9)])
    monkeypatch.setattr("holter.console.monitor._BEHIND", -1.0)
    monkeypatch.setattr(store, "cursor_at", lambda time: 10**9 if time == monitor.clock() - 12 * MICROSECONDS else 0)
    await monitor.ecg()
    assert not monitor.ward.patients


def settings(tmp_path, **more) -> Settings:
    (tmp_path / "config").mkdir(exist_ok=True)
    (tmp_path / "config/console.json").write_text(json.dumps({"cohort": "ward", "namespace": "st-mary"}))
    fields = {
        "config": tmp_path / "config", "store": f"sqlite:{tmp_path / 's.db'}", "state": tmp_path,
        "listen": "127.0.0.1", "ports": {"http": 0, "metrics": 0}, "pod": "x",
    }  # fmt: skip
    return Settings(**{**fields, **more})


async def test_the_service_starts_serves_and_stops(tmp_path, token_folder, tokens, monkeypatch):
    monkeypatch.setattr("holter.console.main._WATCH_SECONDS", 0.01)
    service = Service(settings(tmp_path, console_tokens=token_folder))
    stop = asyncio.Event()
    running = asyncio.create_task(service.run(stop))
    async with asyncio.timeout(20):
        while not hasattr(service, "http_port"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        reached = Reached(service.http_port)
        assert (await reached.ask("/api/session", tokens[0])).code == 200
        (token_folder / "view").write_text("a-newer-view-token")
        while (await reached.ask("/api/session", "a-newer-view-token")).code != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        assert (await reached.ask("/api/session", tokens[0])).code == 401
        stop.set()
        await running


def test_a_console_without_tokens_does_not_start(tmp_path):
    with pytest.raises(SettingError, match="HOLTER_CONSOLE_TOKENS"):
        Service(settings(tmp_path))
