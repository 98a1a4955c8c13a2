"""Port `metrics` of every service: /metrics, /healthz (alive) and /readyz (serving)."""

from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

Check = Callable[[], str | None]
"""Says in words what is wrong, or None."""


class _Metrics(RequestHandler):
    def initialize(self, registry: CollectorRegistry) -> None:
        self.registry = registry

    def get(self) -> None:
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.write(generate_latest(self.registry))


class _Health(RequestHandler):
    def initialize(self, check: Check) -> None:
        self.check = check

    def get(self) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        fault = self.check()
        if fault is not None:
            self.set_status(503)
        self.write(f"{fault or 'ok'}\n")


def serve(registry: CollectorRegistry, *, alive: Check, ready: Check, port: int, address: str) -> HTTPServer:
    """Listen on the metrics port; runs on the current event loop."""
    app = Application(
        [
            ("/metrics", _Metrics, {"registry": registry}),
            ("/healthz", _Health, {"check": alive}),
            ("/readyz", _Health, {"check": ready}),
        ],
        log_function=lambda _: None,
    )
    return app.listen(port, address=address)
