"""How chunks leave: four transports, one promise. What a link neither acknowledges nor refuses is sent again."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit

import orjson
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest, HTTPResponse
from tornado.websocket import WebSocketClientConnection, websocket_connect

from holter.chunk import LEAD_OFF, Chunk
from holter.frame import MAX_DATAGRAM_BYTES, MAX_FRAME_BYTES, Status, decode_acks, encode
from holter.keys import Signer, bearer, mac_key

TIMEOUT_SECONDS = 10.0
_CLOSING_SECONDS = 1.0
_FRAMES_PER_MESSAGE = (256 << 10) // MAX_FRAME_BYTES
"""As many as a WebSocket message may hold (docs/protocol.md), however long they are."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OPEN_KEY = bytes(32)  # an open cohort looks at no token, but a frame has a MAC all the same


class NotNowError(Exception):
    """Nothing more is taken at present: the same chunks again, after `wait` seconds if the ingest said so."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class AccessError(Exception):
    """The ingest does not accept this key; sending on is no use."""


@dataclass(slots=True)
class Delivery:
    """What became of the chunks of one attempt, by their index; an index in neither is to be sent again.

    Attributes:
        acknowledged: stored for good.
        refused: will never be taken, with the reason.
        wait: seconds that the ingest asked to wait before the rest is sent again.
    """

    acknowledged: set[int] = field(default_factory=set)
    refused: dict[int, str] = field(default_factory=dict)
    wait: float = 0.0


class Link(Protocol):
    """One connection to an ingest."""

    async def deliver(self, chunks: Sequence[Chunk]) -> Delivery:
        """Send chunks once.

        Raises:
            NotNowError: none of them was taken, which may change.
            AccessError: none of them will ever be.
        """

    async def close(self) -> None:
        """Release the connection."""


def json_line(chunk: Chunk, key: bytes | None) -> bytes:
    """A chunk as one NDJSON line, with its own token when there is a key."""
    body: dict[str, Any] = {
        "device_id": chunk.device_id,
        "samples": (chunk.samples / 1000).tolist(),
        "t0": (_EPOCH + timedelta(microseconds=chunk.t0)).isoformat(timespec="microseconds"),
        "fs": chunk.fs,
        "seq": chunk.seq,
    }
    if chunk.flags & LEAD_OFF:
        body["lead_off"] = True
    if key is not None:
        body["token"] = bearer(key, chunk.device_id)
    return orjson.dumps(body)


class HttpLink:
    """POST /ingest, many devices in one body: NDJSON, or binary frames.

    Args:
        url: of the ingest, without a path.
        key: the cohort's device key, or None for an open cohort.
        binary: frames instead of JSON.
    """

    def __init__(self, url: str, key: bytes | None, *, binary: bool) -> None:
        self._url, self._key, self._binary = f"{url.rstrip('/')}/ingest", key, binary
        self._client = AsyncHTTPClient(force_instance=True)

    async def deliver(self, chunks: Sequence[Chunk]) -> Delivery:
        """See `Link`."""
        if self._binary:
            kind = "application/vnd.holter.chunks"
            body = b"".join(_frame(chunk, self._key) for chunk in chunks)
        else:
            kind = "application/x-ndjson"
            body = b"".join(json_line(chunk, self._key) + b"\n" for chunk in chunks)
        request = HTTPRequest(
            self._url,
            "POST",
            {"Content-Type": kind},
            body,
            request_timeout=TIMEOUT_SECONDS,
            connect_timeout=TIMEOUT_SECONDS,
        )
        try:
            response = await self._client.fetch(request, raise_error=False)
        except (OSError, HTTPClientError) as e:  # no answer; an answer of any code is a response
            raise NotNowError(f"{type(e).__name__}: {e}") from e
        return _judge(response, len(chunks))

    async def close(self) -> None:
        """See `Link`."""
        self._client.close()


def _judge(response: HTTPResponse, sent: int) -> Delivery:
    code = response.code
    if code == 202:
        rejected = _document(response).get("rejected", [])
        later = {item["index"]: float(item["retry_after"]) for item in rejected if "retry_after" in item}
        refused = {
            item["index"]: f"{item.get('field')}: {item.get('reason')}"
            for item in rejected
            if item["index"] not in later
        }
        taken = set(range(sent)) - refused.keys() - later.keys()
        return Delivery(taken, refused, max(later.values(), default=0.0))
    text = f"{code} {response.body[:300].decode(errors='replace') or response.reason}"
    if code in (401, 403):
        raise AccessError(text)
    if code == 429 or code >= 500:
        after = response.headers.get("Retry-After", "0")
        raise NotNowError(text, float(after) if after.isdigit() else 0.0)
    return Delivery(refused=dict.fromkeys(range(sent), text))


def _document(response: HTTPResponse) -> dict[str, Any]:
    try:
        document = orjson.loads(response.body)
    except orjson.JSONDecodeError as e:
        raise NotNowError(f"the answer is not JSON: {e}") from e
    return document if isinstance(document, dict) else {}


class WebSocketLink:
    """GET /stream: frames out, acknowledgements in. Connects when needed, and again after any fault.

    Args:
        url: of the ingest, without a path; http or https.
        key: the cohort's device key, or None for an open cohort.
    """

    def __init__(self, url: str, key: bytes | None) -> None:
        parts = urlsplit(url.rstrip("/"))
        scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
        self._url = urlunsplit((scheme, parts.netloc, f"{parts.path}/stream", "", ""))
        self._key = key
        self._connection: WebSocketClientConnection | None = None

    async def deliver(self, chunks: Sequence[Chunk]) -> Delivery:
        """See `Link`."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                if self._connection is None:
                    self._connection = await websocket_connect(self._url, connect_timeout=TIMEOUT_SECONDS)
                return await self._exchange(self._connection, chunks)
        except (NotNowError, AccessError):
            raise
        # Tornado has no common base: OSError, WebSocketError, WebSocketClosedError, HTTPClientError, StreamClosedError.
        except Exception as e:
            await self.close()
            raise NotNowError(f"{type(e).__name__}: {e}") from e

    async def _exchange(self, connection: WebSocketClientConnection, chunks: Sequence[Chunk]) -> Delivery:
        for first in range(0, len(chunks), _FRAMES_PER_MESSAGE):
            some = chunks[first : first + _FRAMES_PER_MESSAGE]
            await connection.write_message(b"".join(_frame(chunk, self._key) for chunk in some), binary=True)
        open_ = {(chunk.device_id, chunk.seq): i for i, chunk in enumerate(chunks)}
        delivery = Delivery()
        while open_:
            message = await connection.read_message()
            if message is None:
                connection.close()
                self._connection = None
                # What was acknowledged before the connection fell is settled.
                if not delivery.acknowledged and not delivery.refused:
                    raise NotNowError(
                        f"{self._url} closed the connection: {connection.close_reason or 'no reason given'}"
                    )
                return delivery
            if isinstance(message, str):
                # A frame that is not genuine is answered in words, not by an acknowledgement.
                raise AccessError(message)
            for ack in decode_acks(message):
                index = open_.pop((ack.device_id, ack.seq), None)
                if index is None:
                    continue  # of an earlier attempt
                if ack.status is Status.ACCEPTED:
                    delivery.acknowledged.add(index)
                elif ack.status is Status.REFUSED:
                    delivery.refused[index] = "refused"
                else:
                    delivery.wait = max(delivery.wait, float(ack.wait))
        return delivery

    async def close(self) -> None:
        """See `Link`."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        connection.close()
        with suppress(TimeoutError):  # the other side answers, and only then is the socket closed
            async with asyncio.timeout(_CLOSING_SECONDS):
                while await connection.read_message() is not None:
                    pass


class UdpLink:
    """One frame a datagram; nothing is ever answered, so what was sent counts as done.

    Args:
        address: host and port.
        key: the cohort's device key, or None for an open cohort.
    """

    def __init__(self, address: tuple[str, int], key: bytes | None) -> None:
        self._address, self._key = address, key
        self._transport: asyncio.DatagramTransport | None = None

    async def deliver(self, chunks: Sequence[Chunk]) -> Delivery:
        """See `Link`."""
        if self._transport is None:
            loop = asyncio.get_running_loop()
            try:
                self._transport, _ = await loop.create_datagram_endpoint(
                    asyncio.DatagramProtocol, remote_addr=self._address
                )
            except OSError as e:
                raise NotNowError(f"udp {self._address[0]}:{self._address[1]}: {e}") from e
        delivery = Delivery()
        for i, chunk in enumerate(chunks):
            frame = _frame(chunk, self._key)
            if len(frame) > MAX_DATAGRAM_BYTES:
                delivery.refused[i] = (
                    f"fs: a second of {chunk.fs:g} Hz is {len(frame)} bytes; a datagram takes {MAX_DATAGRAM_BYTES}"
                )
                continue
            self._transport.sendto(frame)
            delivery.acknowledged.add(i)
        return delivery

    async def close(self) -> None:
        """See `Link`."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None


def _frame(chunk: Chunk, key: bytes | None) -> bytes:
    return encode(chunk, _signer(key or _OPEN_KEY, chunk.device_id))


@lru_cache(1 << 16)
def _signer(key: bytes, device_id: str) -> Signer:
    return Signer(mac_key(key, device_id))
