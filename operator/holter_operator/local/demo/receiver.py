"""A receiver of alert webhooks on 127.0.0.1, as a ward's paging system would have one."""

from collections.abc import Callable
from datetime import UTC, datetime

from pydantic import ValidationError
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from holter_operator.local.demo.alerts import Alert, signed

_MOST = 1 << 20


class Receiver:
    """Takes signed alert events; an event that comes again is taken once.

    Args:
        secret: what they are signed with.
        tell: called with each new event.
    """

    def __init__(self, secret: bytes, tell: Callable[[Alert], None] = lambda _: None) -> None:
        self.alerts: dict[str, Alert] = {}
        self.refused = 0
        self._secret = secret
        self._tell = tell
        self._server: HTTPServer | None = None
        self.port = 0

    def start(self) -> None:
        """Listen on a free port of 127.0.0.1."""
        app = Application([("/alerts", _Handler, {"receiver": self})], log_function=lambda _: None)
        sockets = bind_sockets(0, "127.0.0.1")
        self.port = sockets[0].getsockname()[1]
        self._server = HTTPServer(app, max_body_size=_MOST)
        self._server.add_sockets(sockets)

    async def stop(self) -> None:
        """Take no more."""
        if self._server is not None:
            self._server.stop()
            await self._server.close_all_connections()

    def take(self, header: str, body: bytes) -> int:
        """Deal with one request.

        Returns:
            HTTP status: 204, or 401 for a wrong signature, or 400 for what is no alert.
        """
        if not signed(self._secret, header, body, datetime.now(UTC)):
            self.refused += 1
            return 401
        try:
            alert = Alert.model_validate_json(body)
        except ValidationError:
            self.refused += 1
            return 400
        if alert.id not in self.alerts:
            self.alerts[alert.id] = alert
            self._tell(alert)
        return 204


class _Handler(RequestHandler):
    def initialize(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def post(self) -> None:
        self.set_status(self.receiver.take(self.request.headers.get("Holter-Signature", ""), self.request.body))
