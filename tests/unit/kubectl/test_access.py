"""Pods reached through port-forward: the official client, the API server's protocol, a real service behind it."""

import asyncio
import json
import ssl
import struct
import subprocess
import threading
from typing import ClassVar

import pytest
from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError
from tornado.tcpclient import TCPClient
from tornado.web import Application, HTTPError, RequestHandler
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from holter_operator.io.kube import KubeError
from holter_operator.kubectl.access import Access, AccessError

DATA, ERROR = b"\x00", b"\x01"


class PortForward(WebSocketHandler):
    """As the API server does it: a data and an error channel, each told of its port first."""

    ports: ClassVar[dict[int, int]] = {}

    def select_subprotocol(self, subprotocols):
        return subprotocols[0] if subprotocols else None

    def prepare(self):
        if self.request.headers.get("Authorization") != "Bearer right":
            raise HTTPError(403)

    async def open(self, *_):
        port = int(self.get_query_argument("ports"))
        for channel in (DATA, ERROR):
            await self.write_message(channel + struct.pack("<H", port), binary=True)
        if port not in self.ports:
            await self.write_message(ERROR + b"connection refused: nothing listens", binary=True)
            return
        self.stream = await TCPClient().connect("127.0.0.1", self.ports[port])
        self.reading = asyncio.create_task(self.read())  # no message comes before `open` has returned

    async def read(self):
        try:
            while True:
                await self.write_message(DATA + await self.stream.read_bytes(65536, partial=True), binary=True)
        except (StreamClosedError, WebSocketClosedError):
            self.close()

    async def on_message(self, message):
        if hasattr(self, "stream"):
            await self.stream.write(message[1:])

    def write_error(self, status_code, **_):
        self.finish({"kind": "Status", "message": f'pods "p" is forbidden: User "me" ({status_code})'})


class Service(RequestHandler):
    def get(self, path):
        if path == "secret" and self.request.headers.get("Authorization") != "Bearer token":
            raise HTTPError(401)
        self.write({"path": path, "long": "x" * 200_000})


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificate")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=other.example -days 2 -keyout k.pem -out c.pem"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "c.pem", folder / "k.pem")
    return context


@pytest.fixture(scope="module")
def api(certificate):
    """Its address; behind it a pod whose ports are 9090 (plain) and 8443 (TLS)."""
    started, told, loop = threading.Event(), {}, asyncio.new_event_loop()

    async def serve():
        def port(server):
            server.listen(0, "127.0.0.1")
            return next(iter(server._sockets.values())).getsockname()[1]

        service = Application([(r"/(.*)", Service)], log_function=lambda _: None)
        PortForward.ports = {9090: port(HTTPServer(service)), 8443: port(HTTPServer(service, ssl_options=certificate))}
        path = r"/api/v1/namespaces/st-mary/pods/p/portforward"
        told["port"] = port(HTTPServer(Application([(path, PortForward)], log_function=lambda _: None)))
        started.set()

    def run():
        asyncio.set_event_loop(loop)
        loop.create_task(serve())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(10)
    yield f"http://127.0.0.1:{told['port']}"
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


def kubeconfig(folder, server, token="right"):
    path = folder / "kubeconfig"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "st-mary"}}],
        "current-context": "here",
    }
    path.write_text(json.dumps(document))
    return str(path)


@pytest.fixture
def access(api, tmp_path):
    return Access(kubeconfig(tmp_path, api), None, None)


def test_a_pod_is_asked_through_the_api_server(access):
    assert (access.context, access.namespace) == ("here", "st-mary")
    for _ in range(2):  # the client that lists objects is not the one that forwards
        found = access.fetch_json("st-mary", "p", 9090, "/metrics")
        assert (found["path"], len(found["long"])) == ("metrics", 200_000)


def test_by_tls_whatever_name_its_certificate_has(access):
    assert access.fetch_json("st-mary", "p", 8443, "/secret", "token", tls=True)["path"] == "secret"


@pytest.mark.parametrize(
    ("port", "path", "words"),
    [(9090, "/secret", "p:9090/secret answered 401"), (9999, "/", "p:9999/: connection refused: nothing listens")],
)
def test_what_does_not_answer_says_why(access, port, path, words):
    with pytest.raises(KubeError, match=words):
        access.fetch("st-mary", "p", port, path)


def test_without_the_right_to_it_says_what_the_server_says(api, tmp_path):
    access = Access(kubeconfig(tmp_path, api, "wrong"), None, "other")
    assert access.namespace == "other"
    with pytest.raises(KubeError) as refused:
        access.fetch("st-mary", "p", 9090, "/metrics")
    assert 'pods "p" is forbidden: User "me" (403)' in str(refused.value)


def test_a_context_that_is_not_there(api, tmp_path):
    with pytest.raises(AccessError, match="--context there: kubeconfig has here"):
        Access(kubeconfig(tmp_path, api), "there", None)
    with pytest.raises(AccessError, match="KUBECONFIG"):
        Access(str(tmp_path / "none"), None, None)
