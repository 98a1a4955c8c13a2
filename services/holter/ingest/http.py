"""`POST /ingest`: JSON, NDJSON and binary frames. 202 means on disk."""

from collections.abc import Iterable, Iterator
from typing import Any

import orjson
from tornado.web import Application, RequestHandler, stream_request_body

from holter.ingest.body import Post, parse, parse_lines
from holter.ingest.commit import LogBrokenError
from holter.ingest.intake import RETRY_SECONDS, Intake
from holter.ingest.refusal import RefusalError
from holter.ingest.wal import LogFullError

JSON = "application/json"
NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines")
FRAMES = "application/vnd.holter.chunks"
MAX_BODY = 1 << 20
READ_AND_DROPPED = 16 << 20
"""A body up to this size is read to its end, so that the client gets to read the 413."""
MAX_BODIES = 64 << 20
"""Bytes of all bodies that are being received."""
MAX_FAULTS = 1000
"""Faults in one body after which the rest of it is refused."""

Outcome = tuple[int, int, RefusalError | None]
"""Of a line or frame: samples accepted, samples in conflict, why it is refused."""


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


@stream_request_body
class IngestHandler(JsonHandler):
    """`POST /ingest`."""

    SUPPORTED_METHODS = ("POST",)

    def initialize(self, intake: Intake) -> None:
        """Tornado's constructor."""
        super().initialize(intake)
        self._body = bytearray()
        self._too_large = self._crowded = False

    def prepare(self) -> None:
        """Judge the headers; a body that is far too large is not waited for."""
        self.intake.requests.add(self)
        length = self.request.headers.get("Content-Length", "0")
        if length.isdigit() and int(length) > READ_AND_DROPPED:
            self.refuse(_too_large())

    def data_received(self, chunk: bytes) -> None:
        """Gather the body within its bounds."""
        if self._too_large or self._crowded:
            return
        self._too_large = len(self._body) + len(chunk) > MAX_BODY
        self._crowded = self.intake.body_bytes + len(chunk) > MAX_BODIES
        if self._too_large or self._crowded:
            self._drop()
        else:
            self._body += chunk
            self.intake.body_bytes += len(chunk)

    async def post(self) -> None:
        """Take the body, wait until it is on disk, answer."""
        body = bytes(self._body)
        self._drop()
        try:
            answer = self._take(body)
            if answer is not None:
                await self.intake.commits.on_disk()
                self.set_status(202)
                self.finish(orjson.dumps(answer))
        except RefusalError as e:
            self.refuse(e)
        except LogBrokenError as e:
            self.refuse(RefusalError(503, "service", f"is about to restart: {e}", wait=RETRY_SECONDS))
        except LogFullError as e:
            self.refuse(RefusalError(503, "service", f"cannot take more now: {e}", wait=RETRY_SECONDS))

    def on_finish(self) -> None:
        """Count the answer and its time."""
        super().on_finish()
        self._drop()
        self.intake.requests.end(self)
        self.intake.measures.seconds.observe(self.request.request_time())

    def on_connection_close(self) -> None:
        """The client went away in the middle."""
        self._drop()
        self.intake.requests.end(self)

    def _drop(self) -> None:
        self.intake.body_bytes -= len(self._body)
        self._body = bytearray()

    def _take(self, body: bytes) -> dict[str, Any] | None:
        """Take what is good; None when all of many was refused and that has been answered.

        Raises:
            RefusalError: for the body as a whole.
        """
        if self._too_large:
            raise _too_large()
        if self._crowded:
            raise RefusalError(503, "service", "is receiving too much at once", wait=1)
        encoding = self.request.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding != "identity":
            raise RefusalError(415, "Content-Encoding", "is not read: send the body as it is", value=encoding)
        content_type, _, options = self.request.headers.get("Content-Type", JSON).lower().partition(";")
        content_type = content_type.strip()
        if "charset" in options and "utf-8" not in options.replace("utf8", "utf-8"):
            raise RefusalError(415, "Content-Type", "has to be UTF-8", value=options.strip())
        if content_type == JSON:
            token = self._bearer()
            return self._single(parse(body, self.intake.config.sample_rate), token)
        if content_type in NDJSON:
            return self._many(self._lines(body))
        if content_type == FRAMES:
            return self._many(self._frames(body))
        known = f"{JSON}, {NDJSON[0]} or {FRAMES}"
        raise RefusalError(415, "Content-Type", f"has to be {known}", value=content_type)

    def _bearer(self) -> str | None:
        """The token of the header; looked at before the body is parsed."""
        if self.intake.config.access == "Open":
            return None
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise RefusalError(401, "Authorization", "has to be 'Bearer <the token of this device>'")
        return token.strip()

    def _single(self, post: Post, token: str | None) -> dict[str, Any]:
        self.intake.check_bearer(post.chunk.device_id, token)
        placed = self.intake.offer(post.chunk, timed=post.timed)
        answer = {"accepted": placed.accepted}
        if placed.conflicting:
            answer["conflicting"] = placed.conflicting
        return answer

    def _many(self, outcomes: Iterable[Outcome]) -> dict[str, Any] | None:
        accepted = conflicting = good = 0
        refusals: dict[int, RefusalError] = {}
        for index, (samples, others, refusal) in enumerate(outcomes):
            if refusal is not None:
                refusals[index] = refusal
                if len(refusals) > MAX_FAULTS:
                    reason = f"has {MAX_FAULTS} faults: this and what follows was not read"
                    refusals[index] = RefusalError(400, "body", reason)
                    break
                continue
            good += 1
            accepted += samples
            conflicting += others
        if not refusals and not good:
            raise RefusalError(400, "body", "is empty")
        told = [{"index": index, **refusal.as_json()} for index, refusal in refusals.items()]
        if not good:
            self.refuse(_for_all(tuple(refusals.values())), accepted=0, rejected=told)
            return None
        for refusal in refusals.values():
            self.intake.measures.refused(refusal)
        answer: dict[str, Any] = {"accepted": accepted, "rejected": told}
        if conflicting:
            answer["conflicting"] = conflicting
        return answer

    def _lines(self, body: bytes) -> Iterator[Outcome]:
        for post in parse_lines(body, self.intake.config.sample_rate):
            if isinstance(post, RefusalError):
                yield 0, 0, post
                continue
            try:
                self.intake.check_bearer(post.chunk.device_id, post.token, "token")
                placed = self.intake.offer(post.chunk, timed=post.timed)
            except RefusalError as refusal:
                yield 0, 0, refusal
            else:
                yield placed.accepted, placed.conflicting, None

    def _frames(self, body: bytes) -> Iterator[Outcome]:
        for taken in self.intake.take_frames(body):
            yield taken.accepted, taken.conflicting, taken.refusal


def _too_large() -> RefusalError:
    return RefusalError(413, "body", f"is larger than {MAX_BODY} bytes: send fewer samples at a time")


def _for_all(refusals: tuple[RefusalError, ...]) -> RefusalError:
    """What says best why none of many was good: that a retry may help; else what they have in common; else 400."""
    for refusal in refusals:
        if refusal.wait is not None:
            return refusal
    first = refusals[0]
    if {r.code for r in refusals} == {first.code}:
        return first
    return RefusalError(400, first.field, first.reason, value=first.value)


def application(intake: Intake, stream: type[RequestHandler]) -> Application:
    """The routes of the device port; `stream` serves `/stream`."""
    with_intake = {"intake": intake}
    return Application(
        [("/ingest", IngestHandler, with_intake), ("/stream", stream, with_intake)],
        default_handler_class=NotFoundHandler,
        default_handler_args=with_intake,
        log_function=lambda _: None,
        websocket_ping_interval=20,
        websocket_ping_timeout=15,
        websocket_max_message_size=256 << 10,
    )
