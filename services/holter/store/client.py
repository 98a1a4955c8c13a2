"""influxdb-client's connections with our own bytes in and out, and its many errors made two."""
# mypy: disable-error-code="no-untyped-call"

import gzip
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import orjson
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.domain.dialect import Dialect
from influxdb_client.rest import ApiException
from influxdb_client.service.write_service import WriteService
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter
from urllib3.exceptions import HTTPError

from holter.store.protocol import StoreRefusedError, StoreUnavailableError
from holter.store.rows import QueryFailedError, Table, tables

TIMEOUT = 10.0
"""Seconds that one call may take."""
READ_ATTEMPTS = 3

_CONNECTIONS = 32
_DIALECT = Dialect(header=True, delimiter=",", comment_prefix="#", annotations=["datatype"])
_DROPPED = re.compile(r"partial write: .*dropped=(\d+)", re.DOTALL)

T = TypeVar("T")


class RejectedError(StoreRefusedError):
    """InfluxDB read the body and will not have it, or not all of it (400, 413, 422).

    Attributes:
        dropped: lines that InfluxDB left out while it kept all others; None when it does not say so.
        too_large: whether it is the body's size alone (413).
    """

    def __init__(self, message: str, dropped: int | None, *, too_large: bool) -> None:
        """Keep what InfluxDB said."""
        super().__init__(message)
        self.dropped, self.too_large = dropped, too_large


class Connection:
    """One bucket of one InfluxDB. Thread-safe. Its Secret is read anew when the token is no longer good."""

    def __init__(self, folder: Path) -> None:
        """Take url, org, bucket and token from the files of `folder`; nothing is sent yet.

        Raises:
            StoreRefusedError: a file is missing or empty.
        """
        self._folder = folder
        self._lock = threading.Lock()
        self._secret = _read(folder)
        self._client = _open(self._secret)

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self._secret["bucket"]

    def write(self, call: str, body: bytes, *, compress: bool = False) -> None:
        """Write lines; they are on InfluxDB's disk when this returns. No retry: the caller has the data and its order.

        Args:
            call: what an error names.
            body: the lines.
            compress: send them as gzip, which pays for itself where a body is mostly repetition.

        Raises:
            StoreUnavailableError: a retry may help.
            RejectedError: InfluxDB does not take some of the lines.
            StoreRefusedError: it takes none, whatever they are.
        """
        sent = gzip.compress(body, 1) if compress else body

        def send(client: InfluxDBClient) -> None:
            WriteService(client.api_client).post_write(
                org=client.org,
                bucket=self.bucket,
                body=sent,
                precision="ns",
                content_type="text/plain; charset=utf-8",
                **({"content_encoding": "gzip"} if compress else {}),
            )

        self._call(call, send)

    def query(self, call: str, flux: str) -> list[Table]:
        """Run a query and read all of its answer; tried again at once when a connection breaks.

        Raises:
            StoreUnavailableError: a later retry may help.
            StoreRefusedError: it never will.
        """

        def send(client: InfluxDBClient) -> list[Table]:
            answer = client.query_api().query_raw(flux, org=client.org, dialect=_DIALECT)
            try:
                return list(tables(answer.read().decode()))
            finally:
                answer.release_conn()

        for attempt in Retrying(
            retry=retry_if_exception_type(StoreUnavailableError),
            stop=stop_after_attempt(READ_ATTEMPTS),
            wait=wait_exponential_jitter(multiplier=0.05, max=0.5, jitter=0.05),
            reraise=True,
        ):
            with attempt:
                return self._call(call, send)
        raise AssertionError("unreachable")

    def ping(self) -> None:
        """Return when InfluxDB answers; rights and bucket are not looked at.

        Raises:
            StoreUnavailableError: it does not.
        """
        self._call("health", lambda client: client.api_client.call_api("/ping", "GET", _return_http_data_only=True))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _call(self, call: str, send: Callable[[InfluxDBClient], T]) -> T:
        client = self._client
        try:
            return self._translated(call, send, client)
        except _UnauthorisedError:
            if not self._renew(client):
                raise
            return self._translated(call, send, self._client)

    def _renew(self, failed: InfluxDBClient) -> bool:
        """Open a new client when the Secret has changed. The old one serves threads that still use it."""
        with self._lock:
            if self._client is failed:
                secret = _read(self._folder)
                if secret == self._secret:
                    return False
                self._secret, self._client = secret, _open(secret)
            return True

    def _translated(self, call: str, send: Callable[[InfluxDBClient], T], client: InfluxDBClient) -> T:
        where = f"{call} on {client.url}"
        try:
            return send(client)
        except ApiException as error:
            status, reason = error.status or 0, _reason(error)
            message = f"{where}: {status} {reason}"
            if status == 0 or status == 429 or status >= 500:
                raise StoreUnavailableError(message, _wait(error)) from error
            if status == 401:
                raise _UnauthorisedError(message) from error
            if status in (400, 413, 422):
                dropped = _DROPPED.search(reason)
                count = int(dropped[1]) if dropped else None
                raise RejectedError(message, count, too_large=status == 413) from error
            raise StoreRefusedError(message) from error
        except (HTTPError, OSError) as error:
            raise StoreUnavailableError(f"{where}: {error}") from error
        except (QueryFailedError, UnicodeDecodeError) as error:
            raise StoreUnavailableError(f"{where}: the answer broke off: {error}") from error


class _UnauthorisedError(StoreRefusedError):
    """The token is not, or no longer, good."""


def _open(secret: dict[str, str]) -> InfluxDBClient:
    return InfluxDBClient(
        secret["url"],
        token=secret["token"],
        org=secret["org"],
        timeout=round(TIMEOUT * 1000),
        connection_pool_maxsize=_CONNECTIONS,
    )


def _read(folder: Path) -> dict[str, str]:
    secret = {}
    for name in ("url", "org", "bucket", "token"):
        try:
            secret[name] = (folder / name).read_text().strip()
        except OSError as error:
            raise StoreRefusedError(f"influxdb:{folder}: {name}: {error.strerror}; expected a file") from error
        if not secret[name]:
            raise StoreRefusedError(f"influxdb:{folder}: {name} is empty")
    return secret


def _wait(error: ApiException) -> float | None:
    """Seconds of Retry-After; its other form, a date, InfluxDB does not use."""
    headers: Mapping[str, str] = error.headers or {}
    value = headers.get("Retry-After", "")
    return float(value) if value.isdigit() else None


def _reason(error: ApiException) -> str:
    """InfluxDB's own words, where it has some."""
    body = error.body or ""
    try:
        return str(orjson.loads(body)["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        text = body.decode(errors="replace") if isinstance(body, bytes) else body
        return text.strip()[:500] or str(error.reason)
