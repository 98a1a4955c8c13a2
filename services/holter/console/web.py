"""What a browser asks for: the page, a patient's record, and acknowledgements. No cookies, so nothing to forge."""

import asyncio
import math
from pathlib import Path
from typing import Any

import orjson
import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from tornado.web import Application, HTTPError, RequestHandler, StaticFileHandler

from holter.alert import Acknowledgement
from holter.chunk import DEVICE_ID, MICROSECONDS
from holter.console import wire
from holter.console.access import Access, Right
from holter.console.monitor import STORE_ERRORS, Monitor
from holter.store.protocol import StoreRefusedError

STATIC = Path(__file__).parent / "static"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; manifest-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_ALERT_ID = r"[0-9a-f]{1,64}"
_LONGEST = 600.0
_MOST_BODY = 4096
_MOST_ALERTS = 500
_log = structlog.get_logger()


class Safe(RequestHandler):
    """Headers that every answer has."""

    def set_default_headers(self) -> None:
        """Strict, whatever is answered."""
        self.clear_header("Server")
        for name, value in _HEADERS.items():
            self.set_header(name, value)
        if self.request.protocol == "https":
            self.set_header("Strict-Transport-Security", "max-age=31536000")

    def write_error(self, status_code: int, **_: Any) -> None:
        """Errors in words, as JSON; headers that were set before are gone by now."""
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        if status_code == 401:
            self.set_header("WWW-Authenticate", 'Bearer realm="holter"')
        self.finish(orjson.dumps({"error": self._reason}))


class Page(Safe, StaticFileHandler):
    """The page and its parts; nothing of a patient is in them."""

    def set_extra_headers(self, path: str) -> None:  # noqa: ARG002
        """Ask each time: an upgrade must not leave half of an old page."""
        self.set_header("Cache-Control", "no-cache")


class Guarded(Safe):
    """What needs a token, in `Authorization: Bearer …`."""

    def initialize(self, monitor: Monitor, access: Access) -> None:
        """Tornado's constructor."""
        self.monitor, self.access = monitor, access

    def demand(self, right: Right) -> None:
        """Let nobody pass without this right.

        Raises:
            HTTPError: 401 without a token of ours, 403 with one that does not allow it.
        """
        self.set_header("Cache-Control", "no-store")
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        rights = self.access.rights(token.strip()) if scheme.lower() == "bearer" else frozenset()
        if right in rights:
            return
        self.monitor.measures.refused.inc()
        _log.warning("refused", right=right, path=self.request.path, address=self.request.remote_ip)
        if rights:
            raise HTTPError(403, reason=f"this token does not allow to {right}")
        raise HTTPError(401, reason="a token is needed")


class Session(Guarded):
    """`GET /api/session`: what a token allows."""

    def get(self) -> None:
        """The rights."""
        self.demand(Right.VIEW)
        token = self.request.headers["Authorization"].partition(" ")[2].strip()
        self.write({"may": sorted(self.access.rights(token))})


class Record(Guarded):
    """`GET /api/patients/<id>`: history of scores and features, as columns."""

    def get(self, device_id: str) -> None:
        """The history."""
        self.demand(Right.VIEW)
        self.set_header("Content-Type", "application/json")
        self.write(orjson.dumps(self.monitor.history.describe(device_id)))


class Ecg(Guarded):
    """`GET /api/patients/<id>/ecg?seconds=…`: the last samples, as a batch (`wire`)."""

    async def get(self, device_id: str) -> None:
        """The ECG until the newest sample."""
        self.demand(Right.VIEW)
        patient = self.monitor.ward.patients.get(device_id)
        if patient is None:
            raise HTTPError(404, reason="no such patient")
        end, seconds = patient.newest, _seconds(self.get_query_argument("seconds", "60"))
        try:
            store = await self.monitor.store()
            start = end - round(seconds * MICROSECONDS)
            chunks = await asyncio.to_thread(store.read_span, device_id, start, end)
        except STORE_ERRORS as error:
            raise _away(error) from error
        self.set_header("Content-Type", "application/octet-stream")
        self.write(wire.batch(chunks))


class Alerts(Guarded):
    """`GET /api/alerts?newest=…`: alerts as they are now, newest first; for who has no WebSocket."""

    def get(self) -> None:
        """The newest so many, open and cleared."""
        self.demand(Right.VIEW)
        text = self.get_query_argument("newest", "50")
        if not text.isdigit() or not 0 < int(text) <= _MOST_ALERTS:
            raise HTTPError(400, reason=f"newest: a whole number from 1 to {_MOST_ALERTS} is expected")
        self.set_header("Content-Type", "application/json")
        self.write(orjson.dumps({"alerts": self.monitor.newest_alerts(int(text))}))


class StripHandler(Guarded):
    """`GET /api/alerts/<id>/strip`: the samples around an alert, as a batch."""

    async def get(self, identity: str) -> None:
        """The strip; 404 while there is none."""
        self.demand(Right.VIEW)
        try:
            store = await self.monitor.store()
            strip = await asyncio.to_thread(store.read_strip, identity)
        except STORE_ERRORS as error:
            raise _away(error) from error
        if strip is None:
            raise HTTPError(404, reason="no strip yet")
        self.set_header("Content-Type", "application/octet-stream")
        self.write(wire.record(strip.chunk))


class _Seen(BaseModel):
    """Who acknowledges, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    by: str = Field(min_length=1, max_length=64)
    reason: str = Field("", max_length=200)

    @field_validator("by", "reason", mode="before")
    @classmethod
    def _stripped(cls, value: object) -> object:
        return " ".join(value.split()) if isinstance(value, str) else value


class Acknowledge(Guarded):
    """`POST /api/alerts/<id>/acknowledgement` `{"by", "reason"}`: stored, then answered."""

    async def post(self, identity: str) -> None:
        """201 once the store has it; the log tells who, from where, and of which alert."""
        self.demand(Right.ACKNOWLEDGE)
        if self.request.headers.get("Content-Type", "").partition(";")[0].strip() != "application/json":
            raise HTTPError(415, reason="application/json is expected")
        try:
            seen = _Seen.model_validate_json(self.request.body)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"])) or "body"
            raise HTTPError(400, reason=f"{field}: {first['msg']}".splitlines()[0]) from error
        alarm = self.monitor.book.alarms.get(identity)
        if alarm is None:
            raise HTTPError(404, reason="no such alert")
        ack = Acknowledgement(identity, alarm.newest.device_id, seen.by, seen.reason, self.monitor.clock())
        try:
            store = await self.monitor.store()
            await asyncio.to_thread(store.write_ack, ack)
        except STORE_ERRORS as error:
            raise _away(error) from error
        self.monitor.measures.acknowledged.inc()
        self.monitor.acknowledged(ack)
        _log.info(
            "acknowledged",
            alert=identity,
            device_id=ack.device_id,
            kind=alarm.newest.kind,
            by=ack.by,
            address=self.request.remote_ip,
        )
        self.set_status(201)
        self.write({"acknowledged": identity, "at": ack.at / 1000})


class NotFound(Safe):
    """Any other path."""

    def prepare(self) -> None:
        """404."""
        raise HTTPError(404, reason="not served here")


def application(monitor: Monitor, access: Access, live: type[RequestHandler]) -> Application:
    """The routes; `live` serves the WebSocket `/live`."""
    given = {"monitor": monitor, "access": access}
    device = DEVICE_ID.pattern
    return Application(
        [
            (r"/()", Page, {"path": str(STATIC), "default_filename": "index.html"}),
            (r"/static/(.+)", Page, {"path": str(STATIC)}),
            (r"/live", live, given),
            (r"/api/session", Session, given),
            (rf"/api/patients/({device})", Record, given),
            (rf"/api/patients/({device})/ecg", Ecg, given),
            (r"/api/alerts", Alerts, given),
            (rf"/api/alerts/({_ALERT_ID})/strip", StripHandler, given),
            (rf"/api/alerts/({_ALERT_ID})/acknowledgement", Acknowledge, given),
        ],
        default_handler_class=NotFound,
        log_function=lambda _: None,
        websocket_ping_interval=10,
        websocket_ping_timeout=8,
        websocket_max_message_size=_MOST_BODY,
    )


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= _LONGEST:
        raise HTTPError(400, reason=f"seconds: a number above 0 and up to {_LONGEST:g} is expected")
    return value


def _away(error: Exception) -> HTTPError:
    _log.warning("store_unavailable", reason=str(error))
    if isinstance(error, StoreRefusedError):
        return HTTPError(500, reason="the store refuses it: see the log")
    return HTTPError(503, reason="the store does not answer: try again")
