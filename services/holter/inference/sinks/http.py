"""One HTTP POST and what its outcome means."""

import asyncio
import socket
from importlib.metadata import version

from tornado.httpclient import AsyncHTTPClient, HTTPError, HTTPRequest, HTTPResponse

from holter.inference.sinks.sink import SinkRefusedError, SinkUnavailableError

CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 10.0
LONGEST_RETRY_AFTER = 600.0
_BODY_LIMIT = 64 << 10
_AGENT = f"holter/{version('holter')}"
_MAY_PASS = frozenset({408, 425, 429})


class Poster:
    """A client of its own for each receiver, so that a dead one holds up no other.

    Certificates are verified, redirects are not followed, the answer's body is bounded and thrown away.

    Args:
        width: connections at a time.
        timeout: seconds for the whole exchange.
    """

    def __init__(self, width: int, timeout: float = TOTAL_SECONDS) -> None:
        self._client = AsyncHTTPClient(force_instance=True, max_clients=width, max_body_size=_BODY_LIMIT)
        self._timeout = timeout

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> None:
        """POST JSON; returns on 2xx. Messages never hold the URL, which may be a secret.

        Raises:
            SinkUnavailableError: no answer, 408, 425, 429 or 5xx.
            SinkRefusedError: any other answer, redirects included; or a URL that is none.
        """
        try:
            request = HTTPRequest(
                url,
                method="POST",
                body=body,
                headers={"Content-Type": "application/json", "User-Agent": _AGENT, **headers},
                connect_timeout=min(CONNECT_SECONDS, self._timeout),
                request_timeout=self._timeout,
                follow_redirects=False,
                decompress_response=False,
            )
            answer = self._client.fetch(request, raise_error=False)
            # Tornado logs an error when its future is cancelled at a stop: it is left to end with the client instead.
            answer.add_done_callback(_retrieve)
            response = await asyncio.shield(answer)
        except socket.gaierror as error:
            raise SinkUnavailableError(f"its name does not resolve: {error.strerror}") from error
        except (HTTPError, OSError) as error:
            raise SinkUnavailableError(f"no answer: {error}") from error
        except ValueError as error:
            raise SinkRefusedError("the URL is not one that can be called: http(s)://host[:port]/path") from error
        code = response.code
        if 200 <= code < 300:
            return
        if code in _MAY_PASS or code >= 500:
            raise SinkUnavailableError(f"it answered {code}", _retry_after(response.headers.get("Retry-After", "")))
        if 300 <= code < 400:
            raise SinkRefusedError(f"it answered {code}: redirects are not followed, name the final URL")
        raise SinkRefusedError(f"it answered {code}")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _retrieve(answer: asyncio.Future[HTTPResponse]) -> None:
    if not answer.cancelled():
        answer.exception()


def _retry_after(value: str) -> float:
    # The other form of the header, a date, is rare for a 429 or 503; our own backoff serves there.
    return min(float(value), LONGEST_RETRY_AFTER) if value.isdecimal() and value.isascii() else 0.0
