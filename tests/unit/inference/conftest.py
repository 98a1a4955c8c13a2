"""A real HTTP receiver that misbehaves as told."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

DROP = "drop the connection"
HANG = "never answer"
HUGE = "answer 200 with a megabyte"


@dataclass
class Receiver:
    """Records what it gets; `answer(body)` says what to do: a status, (status, headers), DROP, HANG or HUGE."""

    answer: Callable[[bytes], object] = lambda body: 200
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    port: int = 0
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://localhost:{self.port}"

    @property
    def seen(self) -> list[str]:
        """Event ids of all requests, in order."""
        return [headers["Holter-Event-Id"] for headers, _ in self.requests]


class _Handler(RequestHandler):
    def initialize(self, receiver: Receiver) -> None:
        self.receiver = receiver

    async def post(self) -> None:
        receiver = self.receiver
        receiver.requests.append((dict(self.request.headers), self.request.body))
        answer = receiver.answer(self.request.body)
        if answer == DROP:
            self.request.connection.detach().close()
            self._finished = True
            return
        if answer == HANG:
            await asyncio.sleep(3600)
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        if answer == HUGE:
            status = 200
            self.write(b"x" * (1 << 20))
        if 200 <= status < 300 and "Holter-Event-Id" in self.request.headers:
            receiver.taken.append(self.request.headers["Holter-Event-Id"])
        self.set_status(status)
        for name, value in headers.items():
            self.set_header(name, value)


@pytest.fixture
def until():
    async def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - any condition
                await asyncio.sleep(0.005)

    return until


@pytest.fixture
async def make_receiver():
    servers = []

    def make(answer=None, ssl_options=None) -> Receiver:
        receiver = Receiver(scheme="https" if ssl_options else "http")
        if answer is not None:
            receiver.answer = answer
        app = Application([(r"/.*", _Handler, {"receiver": receiver})], log_function=lambda _: None)
        server = HTTPServer(app, ssl_options=ssl_options)
        (socket,) = bind_sockets(0, "127.0.0.1")
        server.add_socket(socket)
        servers.append(server)
        receiver.port = socket.getsockname()[1]
        return receiver

    yield make
    for server in servers:
        server.stop()
        # A handler that hangs would keep its connection open beyond the test.
        await server.close_all_connections()
