"""`POST /ingest`: JSON, NDJSON and binary frames. 202 means on disk.

On Tornado's messages (`HTTPMessageDelegate`) and not its handlers, which cost as much again as all that is done here.
"""

import time
from collections.abc import Iterable, Iterator
from http.client import responses as reasons
from typing import Any

import orjson
import structlog
from tornado.httputil import HTTPConnection, HTTPHeaders, HTTPMessageDelegate, RequestStartLine, ResponseStartLine

from holter.ingest.body import Post, parse, parse_lines
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
_log = structlog.get_logger()


class PostMessage(HTTPMessageDelegate):
    """One request."""

    def __init__(self, intake: Intake, connection: HTTPConnection) -> None:
        self.intake, self._connection = intake, connection
        self._begun = time.perf_counter()
        self._parts: list[bytes] = []
        self._size = 0
        self._too_large = self._crowded = self._done = False

    def headers_received(
        self,
        start_line: RequestStartLine | ResponseStartLine,  # noqa: ARG002 - looked at by the door
        headers: HTTPHeaders,
    ) -> None:
        """Judge the headers; a body that is far too large is not waited for."""
        self._headers = headers
        self.intake.requests.add(self)
        length = headers.get("Content-Length", "0")
        if length.isdigit() and int(length) > READ_AND_DROPPED:
            self._refuse(_too_large())

    def data_received(self, chunk: bytes) -> None:
        """Gather the body within its bounds."""
        if self._too_large or self._crowded:
            return
        self._too_large = self._size + len(chunk) > MAX_BODY
        self._crowded = self.intake.body_bytes + len(chunk) > MAX_BODIES
        if self._too_large or self._crowded:
            self._drop()
        else:
            self._parts.append(chunk)
            self._size += len(chunk)
            self.intake.body_bytes += len(chunk)

    def finish(self) -> None:
        """The body is there: take it; the answer goes out when it is on disk."""
        if self._done:
            return
        body = b"".join(self._parts)
        self._drop()
        try:
            answer = self._take(body)
        except RefusalError as refusal:
            self._refuse(refusal)
        except Exception:
            _log.exception("post_failed")
            self._answer(500, {"error": {"field": "request", "reason": "met a fault of ours: send it again"}})
        else:
            commit = self.intake.commits.pending()
            if answer is None:
                return
            if commit is None:
                self._answer(202, answer)
            else:
                commit.add_done_callback(lambda done: self._committed(answer, done.exception()))

    def on_connection_close(self) -> None:
        """The client went away in the middle."""
        self._done = True
        self._drop()
        self.intake.requests.end(self)

    def _committed(self, answer: dict[str, Any], error: BaseException | None) -> None:
        if error is None:
            self._answer(202, answer)
        elif isinstance(error, LogFullError):
            self._refuse(RefusalError(503, "service", f"cannot take more now: {error}", wait=RETRY_SECONDS))
        else:
            self._refuse(RefusalError(503, "service", f"is about to restart: {error}", wait=RETRY_SECONDS))

    def _refuse(self, refusal: RefusalError, **more: Any) -> None:
        self.intake.measures.refused(refusal)
        headers = {}
        if refusal.wait is not None:
            headers["Retry-After"] = str(refusal.wait)
        if refusal.code == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="holter"'
        self._answer(refusal.code, {"error": refusal.as_json(), **more}, headers)

    def _answer(self, code: int, document: dict[str, Any], more: dict[str, str] | None = None) -> None:
        if self._done:
            return
        self._done = True
        body = orjson.dumps(document)
        headers = HTTPHeaders({"Content-Type": JSON, "Content-Length": str(len(body)), **(more or {})})
        line = ResponseStartLine("HTTP/1.1", code, reasons.get(code, "Unknown"))
        self._connection.write_headers(line, headers, body)
        self._connection.finish()
        self._drop()
        self.intake.requests.end(self)
        self.intake.measures.answered("http", code)
        self.intake.measures.seconds.observe(time.perf_counter() - self._begun)

    def _drop(self) -> None:
        self.intake.body_bytes -= self._size
        self._parts, self._size = [], 0

    def _take(self, body: bytes) -> dict[str, Any] | None:
        """Take what is good; None when all of many was refused and that has been answered.

        Raises:
            RefusalError: for the body as a whole.
        """
        if self._too_large:
            raise _too_large()
        if self._crowded:
            raise RefusalError(503, "service", "is receiving too much at once", wait=1)
        encoding = self._headers.get("Content-Encoding", "identity").strip().lower()
        if encoding != "identity":
            raise RefusalError(415, "Content-Encoding", "is not read: send the body as it is", value=encoding)
        content_type, _, options = self._headers.get("Content-Type", JSON).lower().partition(";")
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
        scheme, _, token = self._headers.get("Authorization", "").partition(" ")
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
            why = _for_all(tuple(refusals.values()))
            for refusal in refusals.values():
                if refusal is not why:
                    self.intake.measures.devices.note(refusal, time.monotonic())
            self._refuse(why, accepted=0, rejected=told)
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
