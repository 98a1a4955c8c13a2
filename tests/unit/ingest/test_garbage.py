"""Garbage on the three transports: never a 5xx, never a crash, and the good among it is kept."""

import asyncio
import json
import socket

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from holter.frame import MAGIC, encode
from holter.keys import bearer, mac_key

KEY = bytes(range(32))
CONTENT_TYPES = ["application/json", "application/x-ndjson", "application/vnd.holter.chunks", "text/plain", ""]
garbage = st.binary(max_size=400) | st.binary(max_size=100).map(lambda b: MAGIC + b)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
near_documents = st.fixed_dictionaries(
    {"device_id": st.just("junk") | json_values},
    optional=dict.fromkeys(("samples", "t0", "fs", "seq", "lead_off", "token"), json_values),
).map(lambda d: json.dumps(d).encode())


def damaged(frame: bytes, at: int, flip: int) -> bytes:
    raw = bytearray(frame)
    raw[at % len(raw)] ^= flip
    return bytes(raw)


def draw(strategy, count=60):
    """`count` examples of a strategy, the same in every run."""
    found = []

    @settings(max_examples=count, deadline=None, database=None, derandomize=True)
    @given(strategy)
    def collect(example):
        found.append(example)

    collect()
    return found


async def test_http(ingest):
    bodies = garbage | near_documents | st.lists(near_documents, max_size=4).map(b"\n".join)
    requests = st.tuples(bodies, st.sampled_from(CONTENT_TYPES), st.sampled_from(["", "x", bearer(KEY, "junk")]))
    for body, content_type, token in draw(requests, 150):
        response = await ingest.send(body, content_type=content_type, token=token)
        assert response.code in (202, 400, 401, 403, 415), (body, response.body)
        assert orjson.loads(response.body)
    assert ingest.service.intake.body_bytes == 0
    assert not ingest.service.intake.requests
    assert ingest.count("holter_ingest_requests_total", transport="http", code="500") == 0


async def test_raw_bytes_on_the_http_port(ingest, document):
    for raw in draw(st.binary(min_size=1, max_size=300), 60):
        reader, writer = await asyncio.open_connection("127.0.0.1", ingest.service.http_port)
        writer.write(raw)
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), 10)
        assert not answer or answer.split()[1].startswith(b"4"), (raw, answer)
        writer.close()
        await writer.wait_closed()
    assert (await ingest.send(document())).code == 202


async def test_frames_among_garbage_are_kept_over_http_and_websocket(ingest, chunk):
    parts = st.lists(garbage | st.just(None) | st.tuples(st.integers(0, 600), st.integers(1, 255)), max_size=6)
    stream = await ingest.stream(on_message=lambda _: None)
    expected, at = 0, 0
    for number, row in enumerate(draw(parts, 80)):
        body = []
        good = 0
        for part in row:
            at += 1
            frame = encode(chunk(1_750_000_000_000_000 + at * 1_000_000), mac_key(KEY, "wearable-1"))
            if part is None:
                good += 1
                body.append(frame)
            else:
                body.append(part if isinstance(part, bytes) else damaged(frame, *part))
        expected += good
        if number % 2:
            await stream.write_message(b"".join(body), binary=True)
        else:
            response = await ingest.frames(*body)
            assert response.code == 202 if good else response.code in (400, 403)
            assert orjson.loads(response.body).get("accepted", 0) == 250 * good
    await stream.write_message(encode(chunk(), mac_key(KEY, "wearable-1")), binary=True)
    async with asyncio.timeout(10):
        while ingest.count("holter_ingest_samples_total") < 250 * (expected + 1):  # noqa: ASYNC110 - a counter
            await asyncio.sleep(0.01)
    stored = await ingest.stored()
    assert len(stored) == expected + 1
    assert all(c.samples.tolist() == chunk().samples.tolist() for c in stored)


async def test_datagrams(ingest, chunk):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        where = ("127.0.0.1", ingest.service.udp_port)
        sent = draw(st.binary(max_size=1500) | garbage, 100)
        for raw in sent:
            udp.sendto(raw, where)
        udp.sendto(encode(chunk(), mac_key(KEY, "wearable-1")), where)
        async with asyncio.timeout(10):
            while ingest.count("holter_ingest_samples_total") < 250:  # noqa: ASYNC110 - a counter
                await asyncio.sleep(0.01)
    refused = sum(ingest.count("holter_ingest_requests_total", transport="udp", code=c) for c in ("400", "403", "413"))
    assert refused == len(sent)
    assert len(await ingest.stored()) == 1
