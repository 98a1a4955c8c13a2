"""HTTP to InfluxDB 2: bounded in time and size, and every failure in words that an SRE can act on.

urllib3 and not influxdb-client: a listing of 4,000 authorizations is parsed in a tenth of the time, a namespace's own
URL is not trusted (no redirects, nothing decompressed, at most `MOST_BYTES`), and nothing of an answer is shown but
InfluxDB's own error message, cut short.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError

from holter_operator.reconcile.provision_state import Access

MOST_BYTES = 64 << 20
_IDEMPOTENT = frozenset({"GET", "PATCH", "DELETE"})
_BUSY = frozenset({429, 502, 503, 504})


class InfluxError(Exception):
    """InfluxDB does not do what is asked.

    Attributes:
        reason: CamelCase, for conditions: InfluxDBUnavailable, InfluxDBUnauthorized, InfluxDBNotSetUp,
            InfluxDBOrgNotFound, InfluxDBQuotaExceeded, InfluxDBRefused.
        transient: it may pass by itself.
        status: of the answer; None when there was none.
    """

    def __init__(self, reason: str, message: str, *, transient: bool = False, status: int | None = None) -> None:
        super().__init__(message)
        self.reason, self.transient, self.status = reason, transient, status

    def again(self) -> "InfluxError":
        """The same, to be raised in another thread."""
        return InfluxError(self.reason, str(self), transient=self.transient, status=self.status)


@dataclass(frozen=True, slots=True)
class Answer:
    """Parsed JSON (None when there is no content), and InfluxDB's time."""

    content: Any
    at: datetime


class Http:
    """Requests from any thread.

    Args:
        connect: seconds for a connection, per attempt.
        read: seconds between two pieces of an answer; for all of its content, twice that.
        attempts: of what may be repeated: idempotent requests, and any that was never sent.
    """

    def __init__(self, connect: float = 2.0, read: float = 10.0, attempts: int = 2) -> None:
        self._timeout = urllib3.Timeout(connect=connect, read=read)
        self._longest = 2 * read
        self._retry = urllib3.Retry(
            attempts - 1,
            allowed_methods=_IDEMPOTENT,
            status_forcelist=_BUSY,
            backoff_factor=0.2,
            backoff_jitter=0.2,
            respect_retry_after_header=False,  # how long a thread sleeps is not for the other side to say
            raise_on_status=False,
        )
        self._pool = urllib3.PoolManager(num_pools=64, maxsize=8)

    def request(
        self,
        access: Access,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Answer:
        """One call below `/api/v2/`.

        Raises:
            InfluxError: no answer, or another than success.
        """
        url = f"{access.url.rstrip('/')}/api/v2/{path}"
        headers = {"Authorization": f"Token {access.token}", "Accept-Encoding": "identity"}
        try:
            response = self._pool.request(
                method,
                url,
                fields=query,
                headers=headers,
                **({} if body is None else {"json": body}),
                timeout=self._timeout,
                retries=self._retry,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            try:
                content = self._content(response)
            finally:
                response.release_conn()
        except (HTTPError, OSError) as error:
            raise unavailable(access, _told(error)) from None
        if 200 <= response.status < 300:
            return Answer(_parsed(access, content), _date(response.headers.get("Date")))
        raise _refusal(access, response.status, content)

    def close(self) -> None:
        """Close idle connections."""
        self._pool.clear()

    def _content(self, response: urllib3.BaseHTTPResponse) -> bytes:
        end = time.monotonic() + self._longest
        pieces = []
        size = 0
        for piece in response.stream(1 << 20, decode_content=False):
            pieces.append(piece)
            size += len(piece)
            if size > MOST_BYTES or time.monotonic() > end:
                response.close()
                raise TimeoutError(f"the answer was not complete after {size} bytes")
        return b"".join(pieces)


def unavailable(access: Access, why: str) -> InfluxError:
    """Nothing is known to be wrong but that InfluxDB does not answer as it should."""
    return InfluxError("InfluxDBUnavailable", f"InfluxDB at {access.url}: {why}; tried again", transient=True)


def _parsed(access: Access, content: bytes) -> Any:
    if not content:
        return None
    try:
        return json.loads(content)
    except ValueError:
        raise unavailable(access, "what answers there is not InfluxDB 2 (no JSON)") from None


def _refusal(access: Access, status: int, content: bytes) -> InfluxError:
    try:
        said = str(json.loads(content)["message"])[:200]
    except (ValueError, LookupError, TypeError):
        said = "no message"
    told = f"InfluxDB at {access.url} answers {status}: {said}"
    if status in _BUSY or status >= 500:
        return InfluxError("InfluxDBUnavailable", f"{told}; tried again", transient=True, status=status)
    if status in (402, 403) and "exceed" in said.lower():
        return InfluxError(
            "InfluxDBQuotaExceeded", f"{told}; raise the quota or remove what is not needed", status=status
        )
    if status in (401, 403):
        return InfluxError(
            "InfluxDBUnauthorized",
            f"{told}; the connection's token has to be valid and may read and write buckets, authorizations and its"
            f" own user, and read organisation {access.org!r}",
            status=status,
        )
    return InfluxError("InfluxDBRefused", told, status=status)


def _told(error: Exception) -> str:
    while isinstance(reason := getattr(error, "reason", None), Exception):
        error = reason
    # Without object addresses, so that a condition's message stays the same from one attempt to the next.
    return f"no answer ({type(error).__name__}: {str(error).rpartition(': ')[2]})"


def _date(header: str | None) -> datetime:
    try:
        return parsedate_to_datetime(header or "").astimezone(UTC)
    except ValueError:
        return datetime.now(UTC).replace(microsecond=0)
