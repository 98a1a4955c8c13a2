"""Signed webhooks: docs/alerts.md says the same for those who receive them."""

import hmac
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import structlog

from holter.alert import AlertEvent
from holter.inference.sinks.http import TOTAL_SECONDS, Poster
from holter.inference.sinks.sink import Sink
from holter.inference.watched import Watched

STRIP = 10_000_000
"""Microseconds before and after the onset that are kept as samples."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_log = structlog.get_logger()


def rfc3339(time: int) -> str:
    """Microseconds since the epoch as RFC 3339 in UTC, with all six decimals."""
    return (_EPOCH + timedelta(microseconds=int(time))).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def payload(event: AlertEvent, namespace: str, cohort: str) -> bytes:
    """The JSON body: a pure function, so that the same id has the same bytes whenever it is sent."""
    return orjson.dumps(
        {
            "id": event.id,
            "alert": event.alert_id,
            "event": event.event,
            "cohort": cohort,
            "namespace": namespace,
            "device_id": event.device_id,
            "category": event.category,
            "priority": event.priority,
            "kind": event.kind,
            "onset": rfc3339(event.onset),
            "decided_at": rfc3339(event.decided_at),
            "reason": event.reason,
            "score": event.score,
            "threshold": event.threshold,
            "model_revision": event.model_revision,
            "strip": {"start": rfc3339(event.onset - STRIP), "end": rfc3339(event.onset + STRIP)},
        }
    )


def signature(secret: bytes, timestamp: int, body: bytes) -> str:
    """`Holter-Signature`: HMAC-SHA256 of `<timestamp>.<body>`; the timestamp is the time of sending, seconds."""
    return f"t={timestamp},v1={hmac.digest(secret, b'%d.%b' % (timestamp, body), 'sha256').hex()}"


class SigningSecret:
    """A webhook's secret; read again when its file changes, the last one kept while it cannot be read.

    Args:
        path: `<webhooks folder>/<name>/secret`; no file, or an empty one, means unsigned. White space around the
            secret is not part of it.
    """

    def __init__(self, path: Path) -> None:
        self._file = Watched(path)
        self._secret = b""

    def current(self) -> bytes:
        """The secret now, empty where there is none."""
        try:
            content = self._file.poll()
        except FileNotFoundError:
            return self._secret
        except OSError as error:
            _log.warning("webhook_secret_unreadable", file=str(self._file.path), reason=str(error), kept="the last one")
            return self._secret
        if content is not None:
            self._secret = content.strip()
        return self._secret


class WebhookSink(Sink):
    """Posts each event to one URL.

    Args:
        name: the webhook's name in the cohort; the sink is `webhook:<name>`.
        url: where to.
        namespace: the cohort's, for the body.
        cohort: its name.
        secret: what signs, None for unsigned.
        clock: wall clock, seconds, for the signature.
        timeout: seconds for one attempt.
    """

    def __init__(
        self,
        name: str,
        url: str,
        namespace: str,
        cohort: str,
        secret: SigningSecret | None = None,
        *,
        clock: Callable[[], float] = time.time,
        timeout: float = TOTAL_SECONDS,
    ) -> None:
        self.name = f"webhook:{name}"
        self._url, self._namespace, self._cohort = url, namespace, cohort
        self._secret = secret
        self._clock = clock
        self._poster = Poster(self.width, timeout)

    async def send(self, event: AlertEvent) -> None:
        """See `Sink.send`."""
        body = payload(event, self._namespace, self._cohort)
        headers = {"Holter-Event-Id": event.id}
        if self._secret is not None and (secret := self._secret.current()):
            headers["Holter-Signature"] = signature(secret, int(self._clock()), body)
        await self._poster.post(self._url, body, headers)

    def close(self) -> None:
        """See `Sink.close`."""
        self._poster.close()
