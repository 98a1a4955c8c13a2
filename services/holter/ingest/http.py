"""What the device port answers besides posts: streams, and in words whatever else is asked for."""

from typing import Any

import orjson
from tornado.web import Application, RequestHandler

from holter.ingest.intake import Intake
from holter.ingest.refusal import RefusalError


class JsonHandler(RequestHandler):
    """Answers errors as `{"error": {"field", "value"?, "reason"}}` and counts every answer."""

    def initialize(self, intake: Intake) -> None:
        """Tornado's constructor."""
        self.intake = intake

    def set_default_headers(self) -> None:
        """Every answer is JSON; nothing tells which server this is."""
        self.clear_header("Server")
        self.set_header("Content-Type", "application/json")

    def refuse(self, refusal: RefusalError, **more: Any) -> None:
        """Answer with a refusal."""
        self.intake.measures.refused(refusal)
        self.set_status(refusal.code)
        if refusal.wait is not None:
            self.set_header("Retry-After", refusal.wait)
        if refusal.code == 401:
            self.set_header("WWW-Authenticate", 'Bearer realm="holter"')
        self.finish(orjson.dumps({"error": refusal.as_json(), **more}))

    def write_error(self, status_code: int, **_: Any) -> None:
        """What Tornado itself refuses: wrong method, malformed request; 500 is a fault of ours."""
        field, reason = "request", self._reason
        if status_code == 405:
            allowed = ", ".join(self.SUPPORTED_METHODS)
            self.set_header("Allow", allowed)
            field, reason = "method", f"{self.request.method} is not for this path; {allowed} is"
        self.finish(orjson.dumps({"error": {"field": field, "reason": reason}}))

    def on_finish(self) -> None:
        """Count the answer."""
        self.intake.measures.answered("http", self.get_status())


class NotFoundHandler(JsonHandler):
    """Any other path."""

    def prepare(self) -> None:
        """404."""
        self.refuse(RefusalError(404, "path", "is not served here; POST /ingest and GET /stream are"))


class PostsOnlyHandler(JsonHandler):
    """`/ingest` with any method but POST, which does not come this way (`holter.ingest.door`)."""

    SUPPORTED_METHODS = ("POST",)


def application(intake: Intake, stream: type[RequestHandler]) -> Application:
    """The routes of the device port; `stream` serves `/stream`."""
    with_intake = {"intake": intake}
    return Application(
        [("/ingest", PostsOnlyHandler, with_intake), ("/stream", stream, with_intake)],
        default_handler_class=NotFoundHandler,
        default_handler_args=with_intake,
        log_function=lambda _: None,
        websocket_ping_interval=20,
        websocket_ping_timeout=15,
        websocket_max_message_size=256 << 10,
    )
