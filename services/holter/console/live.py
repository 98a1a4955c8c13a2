"""`GET /live`: one WebSocket a browser, for the whole ward. It says `{"token": …}` first, then it only listens."""

import asyncio
from contextlib import suppress

import orjson
import structlog
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from holter.console import wire
from holter.console.access import Right
from holter.console.client import Outgoing
from holter.console.monitor import CLEARED_TOLD
from holter.console.web import Guarded

BROWSERS = 200
"""Browsers at once; one more is asked to come back."""
_STRANGERS = 2 * BROWSERS
"""Connections that have not shown a token yet."""
_TOKEN_WITHIN = 5.0
_STALLED = 15.0
"""Seconds for one message after which a browser that does not read is disconnected; it comes back by itself."""
UNAUTHORISED, CROWDED, STALLED = 4401, 4429, 4408
_log = structlog.get_logger()


class LiveHandler(WebSocketHandler, Guarded):
    """One browser. A page of another origin is refused by Tornado's `check_origin`, and would have no token."""

    strangers = 0

    def open(self, *_: str, **__: str) -> None:
        """A connection; what it gets depends on its first message."""
        self.set_nodelay(True)
        self._outgoing: Outgoing | None = None
        self._sending: asyncio.Task[None] | None = None
        LiveHandler.strangers += 1
        self._stranger = True
        self._timeout = asyncio.get_running_loop().call_later(_TOKEN_WITHIN, self._known_or_gone)
        if LiveHandler.strangers > _STRANGERS:
            self.close(CROWDED, "too many connections: try again later")

    async def on_message(self, message: str | bytes) -> None:
        """The token."""
        if self._outgoing is not None or not self._stranger:
            return
        self._no_stranger()
        rights = self.access.rights(_token(message))
        if Right.VIEW not in rights:
            self.monitor.measures.refused.inc()
            _log.warning("refused", right=Right.VIEW, path=self.request.path, address=self.request.remote_ip)
            self.close(UNAUTHORISED, "this token does not allow to view")
            return
        if len(self.monitor.browsers) >= BROWSERS:
            self.close(CROWDED, "too many browsers: try again later")
            return
        self._outgoing = Outgoing()
        self._sending = asyncio.create_task(self._send(self._outgoing, sorted(rights)))

    def on_close(self) -> None:
        """The browser went away, which disturbs nobody."""
        self._no_stranger()
        if self._outgoing is not None:
            self.monitor.browsers.discard(self._outgoing)
        if self._sending is not None:
            self._sending.cancel()

    async def _send(self, outgoing: Outgoing, may: list[str]) -> None:
        """A snapshot, then all that changes; waits for the browser to take each message."""
        monitor = self.monitor
        config = self.settings["cohort"]
        known = [monitor.alert_messages([one])[one] for one in monitor.book.latest(CLEARED_TOLD)]
        monitor.browsers.add(outgoing)
        try:
            await self._write(wire.message("hello", now=monitor.clock() / 1000, may=may, **config))
            await self._write(wire.message("alerts", alerts=[orjson.loads(one)["alert"] for one in known]))
            await self._write(await monitor.figures_message())
            await self._write(wire.batch(chunk for chunks in monitor.ward.recent().values() for chunk in chunks))
            async for message in outgoing.messages():
                await self._write(message)
        except TimeoutError:
            self.close(STALLED, "does not read: connect again")
        except WebSocketClosedError:
            pass
        finally:
            monitor.browsers.discard(outgoing)

    async def _write(self, message: str | bytes) -> None:
        async with asyncio.timeout(_STALLED):
            await self.write_message(message, binary=isinstance(message, bytes))

    def _known_or_gone(self) -> None:
        if self._stranger:
            self.close(UNAUTHORISED, "no token came")

    def _no_stranger(self) -> None:
        if self._stranger:
            self._stranger = False
            self._timeout.cancel()
            LiveHandler.strangers -= 1


def _token(message: str | bytes) -> str:
    with suppress(orjson.JSONDecodeError):
        said = orjson.loads(message)
        if isinstance(said, dict) and isinstance(said.get("token"), str):
            return str(said["token"])
    return ""
