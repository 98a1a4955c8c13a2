"""`/metrics` and `/healthz`, in the event loop: a loop that hangs does not answer, and the kubelet restarts it."""

from collections.abc import Callable

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from holter_operator.observe.metrics import Metrics

Health = Callable[[], str | None]
"""What is wrong, in words; None when nothing is."""


def serve(metrics: Metrics, health: Health, listen: str, port: int) -> tuple[HTTPServer, int]:
    """Serve until the server is stopped.

    Returns:
        The server, and its port (another than asked for when that was 0).

    Raises:
        OSError: the port is taken.
    """
    application = Application(
        [(r"/metrics", _Metrics, {"metrics": metrics}), (r"/healthz", _Health, {"health": health})],
        log_function=lambda _: None,
    )
    server = HTTPServer(application)
    sockets = bind_sockets(port, listen)
    server.add_sockets(sockets)
    return server, sockets[0].getsockname()[1]


class _Metrics(RequestHandler):
    def initialize(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def get(self) -> None:
        self.set_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.write(self._metrics.text())


class _Health(RequestHandler):
    def initialize(self, health: Health) -> None:
        self._health = health

    def get(self) -> None:
        fault = self._health()
        self.set_status(503 if fault else 200)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.write(fault or "ok")
