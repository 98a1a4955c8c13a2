"""The device port's requests: where each goes, and how long each may take to arrive."""

import asyncio
from collections.abc import Awaitable

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.web import Application

from holter.ingest.intake import Intake
from holter.ingest.post import PostMessage

IDLE_SECONDS = 75.0
"""That a connection may say nothing."""
BODY_SECONDS = 30.0
"""From a request's headers to the end of its body."""
SWEEP_SECONDS = 5.0
_NEVER = float("inf")


class Door(HTTPServerConnectionDelegate):
    """Posts are taken here, all else by Tornado's application.

    Connections that take too long are looked for now and then: a timer for each request costs as much as its parsing.
    """

    def __init__(self, intake: Intake, application: Application) -> None:
        self._intake, self._application = intake, application
        self._deadlines: dict[object, float] = {}
        self._time = asyncio.get_running_loop().time

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """A connection waits for its next request."""
        self._deadlines[server_conn] = self._time() + IDLE_SECONDS
        return _Message(self, server_conn, request_conn)

    def on_close(self, server_conn: object) -> None:
        """A connection has ended."""
        self._deadlines.pop(server_conn, None)

    async def sweep(self) -> None:
        """Close those that take too long, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = self._time()
            for connection, deadline in tuple(self._deadlines.items()):
                if deadline < now:
                    connection.stream.close()  # type: ignore[attr-defined]  # HTTP1ServerConnection

    def route(self, server_conn: object, request_conn: HTTPConnection, line: RequestStartLine) -> HTTPMessageDelegate:
        """Who takes a request whose headers have come."""
        self._deadlines[server_conn] = self._time() + BODY_SECONDS
        if line.method == "POST" and line.path.partition("?")[0] == "/ingest":
            return PostMessage(self._intake, request_conn)
        return self._application.start_request(server_conn, request_conn)

    def arrived(self, server_conn: object) -> None:
        """A request is there as a whole: what is left is ours to do."""
        self._deadlines[server_conn] = _NEVER


class _Message(HTTPMessageDelegate):
    """A request before it is known whose it is."""

    def __init__(self, door: Door, server_conn: object, request_conn: HTTPConnection) -> None:
        self._door, self._server_conn, self._request_conn = door, server_conn, request_conn
        self._taker: HTTPMessageDelegate | None = None

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        assert isinstance(start_line, RequestStartLine)
        self._taker = self._door.route(self._server_conn, self._request_conn, start_line)
        return self._taker.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        assert self._taker is not None
        return self._taker.data_received(chunk)

    def finish(self) -> None:
        self._door.arrived(self._server_conn)
        if self._taker is not None:
            self._taker.finish()

    def on_connection_close(self) -> None:
        if self._taker is not None:
            self._taker.on_connection_close()
