"""POST /ingest over a real socket into a real SQLite store."""

import itertools
import time

import numpy as np
import orjson
import pytest

from holter.keys import bearer
from holter.store.open import open_store


async def test_the_tutorials_request_is_stored_with_four_milliseconds_between_samples(ingest, document):
    before = time.time_ns() // 1000
    samples = [round(float(x), 4) for x in np.sin(np.arange(250) / 10)]
    response = await ingest.send({"device_id": "wearable-1", "samples": samples})
    assert (response.code, orjson.loads(response.body)) == (202, {"accepted": 250})
    (chunk,) = await ingest.stored()
    assert (chunk.device_id, chunk.fs, len(chunk.samples)) == ("wearable-1", 250.0, 250)
    assert chunk.end - chunk.t0 == 250 * 4000
    assert before - 1_000_000 <= chunk.t0 <= time.time_ns() // 1000 - 1_000_000
    assert np.array_equal(chunk.samples, np.rint(np.array(samples) * 1000).astype(np.int16))


async def test_posts_without_t0_follow_each_other(ingest, document):
    for _ in range(3):
        assert (await ingest.send(document())).code == 202
    chunks = await ingest.stored()
    assert [b.t0 - a.t0 for a, b in itertools.pairwise(chunks)] == [1_000_000, 1_000_000]
    assert not any(c.flags for c in chunks)


async def test_a_long_body_is_split_and_a_retry_is_stored_once(ingest, document):
    body = document(2500, t0="2026-05-01T10:00:00.000Z", seq=7)
    for _ in range(2):
        assert orjson.loads((await ingest.send(body)).body) == {"accepted": 2500}
    chunks = await ingest.stored()
    assert len(chunks) == 10
    assert {len(c.samples) for c in chunks} == {250}
    assert {c.seq for c in chunks} == {7}
    assert np.array_equal(np.concatenate([c.samples for c in chunks]), np.arange(2500) % 1000)
    assert ingest.count("holter_ingest_samples_total") == 2500
    assert ingest.count("holter_ingest_repeated_samples_total") == 2500


async def test_the_first_of_two_different_chunks_wins(ingest, document):
    first, second = document(t0=1_750_000_000_000), document(t0=1_750_000_000_000)
    second["samples"] = second["samples"][::-1]
    await ingest.send(first)
    response = await ingest.send(second)
    assert (response.code, orjson.loads(response.body)) == (202, {"accepted": 0, "conflicting": 250})
    (chunk,) = await ingest.stored()
    assert chunk.samples[1] == 1
    assert ingest.count("holter_ingest_rejected_total", reason="conflict") == 1


async def test_ndjson_keeps_the_good_lines(ingest, document, token_of):
    lines = [
        document(device_id="a", token=token_of("a")),
        document(device_id="b", token=token_of("a")),
        document(device_id="c"),
        {"device_id": "d", "samples": []},
        document(device_id="e", token=token_of("e")),
    ]
    body = b"\n\n".join([*map(orjson.dumps, lines), b"{"])
    response = await ingest.send(body, content_type="application/x-ndjson")
    told = orjson.loads(response.body)
    assert (response.code, told["accepted"]) == (202, 500)
    assert [(r["index"], r["field"]) for r in told["rejected"]] == [
        (1, "token"),
        (2, "token"),
        (3, "samples"),
        (5, "body"),
    ]
    assert [c.device_id for c in await ingest.stored()] == ["a", "e"]


async def test_frames_keep_the_good_ones(ingest, frame):
    forged = frame(device_id="b", key=b"x" * 32)
    response = await ingest.frames(frame(device_id="a"), forged, b"garbage", frame(device_id="c"))
    told = orjson.loads(response.body)
    assert (response.code, told["accepted"]) == (202, 500)
    assert [r["field"] for r in told["rejected"]] == [
        "mac"
    ]  # the garbage lies in what the forged frame may have claimed
    assert [c.device_id for c in await ingest.stored()] == ["a", "c"]


async def test_none_good_is_refused_by_what_they_have_in_common(ingest, frame):
    assert (await ingest.frames(b"garbage")).code == 400
    assert (await ingest.frames(b"")).code == 400
    assert (await ingest.frames(frame(key=b"x" * 32))).code == 403
    assert (await ingest.frames(frame(key=b"x" * 32), b"HLTR")).code == 400
    response = await ingest.send(b'{"device_id": "a"}\n[]', content_type="application/x-ndjson")
    assert response.code == 400
    told = orjson.loads(response.body)
    assert told["error"]["field"] == "samples"
    assert [r["index"] for r in told["rejected"]] == [0, 1]


@pytest.mark.parametrize(
    ("token", "code"), [("", 401), ("wrong", 403), (bearer(bytes(range(32)), "other"), 403), ("ünï", 403)]
)
async def test_a_token_is_needed_and_has_to_be_the_devices(ingest, document, token, code):
    response = await ingest.send(document(), token=token.encode().decode("latin-1"))
    assert response.code == code
    assert orjson.loads(response.body)["error"]["field"] == "Authorization"
    assert (response.headers.get("WWW-Authenticate") is not None) == (code == 401)
    assert await ingest.stored() == ()


async def test_another_scheme_is_no_bearer(ingest, document):
    response = await ingest.send(orjson.dumps(document()), Authorization="Basic eDp5")
    assert response.code == 401


async def test_open_access_needs_neither_token_nor_mac(start, document, frame):
    async with start(access="Open") as ingest:
        assert (await ingest.send(document(), token="")).code == 202
        assert (await ingest.frames(frame(key=b"x" * 32, device_id="b"))).code == 202
        line = orjson.dumps(document(device_id="c"))
        assert (await ingest.send(line, content_type="application/x-ndjson")).code == 202
        assert [c.device_id for c in await ingest.stored()] == ["b", "c", "wearable-1"]


@pytest.mark.parametrize(
    ("request_", "code", "field"),
    [
        ({"path": "/nowhere"}, 404, "path"),
        ({"method": "GET"}, 405, "method"),
        ({"path": "/stream", "method": "GET"}, 400, "Upgrade"),
        ({"path": "/stream"}, 405, "method"),
        ({"content_type": "text/csv"}, 415, "Content-Type"),
        ({"content_type": "application/json; charset=latin-1"}, 415, "Content-Type"),
        ({"Content-Encoding": "gzip"}, 415, "Content-Encoding"),
    ],
)
async def test_wrong_requests_are_told_what_would_be_right(ingest, document, request_, code, field):
    response = await ingest.send(document(), **request_)
    assert response.code == code
    error = orjson.loads(response.body)["error"]
    assert error["field"] == field
    assert error["reason"]
    assert response.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("size", [(1 << 20) + 1, (16 << 20) + 1])
async def test_a_body_that_is_too_large_is_refused(ingest, size, token_of):
    response = await ingest.send(b" " * size, token=token_of("a"))
    assert response.code == 413
    assert ingest.service.intake.body_bytes == 0


async def test_a_full_log_answers_503_until_the_store_has_taken_it(tmp_path, start, document):
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    async with start(store=f"sqlite:{blocked}", logBytes=100_000) as ingest:
        ingest.service.writer.patience = 0.1
        codes = []
        for second in range(300):
            response = await ingest.send(document(t0=1_750_000_000_000 + 1000 * second))
            codes.append(response.code)
            if response.code != 202:
                break
        assert set(codes) == {202, 503}
        assert int(response.headers["Retry-After"]) > 0
        assert "log holds" in orjson.loads(response.body)["error"]["reason"]
        assert "log holds" in ingest.service._unready()
        lines = b"\n".join([orjson.dumps(document(token=bearer(bytes(range(32)), "wearable-1")))] * 2)
        assert (await ingest.send(lines, content_type="application/x-ndjson")).code == 503
        accepted = codes.count(202)
        blocked.rmdir()
        await ingest.drained()  # the store's file can be made now
        assert (await ingest.send(document(t0=1_760_000_000_000))).code == 202
    store = open_store(f"sqlite:{blocked}", layout="Chunks", writer="test")
    assert len(store.read_chunks(range(64), 0).chunks) == accepted + 1
    store.close()


async def test_more_devices_than_a_replica_takes_are_asked_to_go_elsewhere(start, document):
    async with start(maxPatients=2) as ingest:
        for device_id, code in (("a", 202), ("b", 202), ("c", 429), ("a", 202)):
            response = await ingest.send(document(device_id=device_id))
            assert response.code == code
            assert (int(response.headers.get("Retry-After", 0)) > 0) == (code == 429)
        ingest.configure(maxPatients=3)
        ingest.service._reconfigure(ingest.service.intake.config.model_copy(update={"max_patients": 3}))
        assert (await ingest.send(document(device_id="c"))).code == 202


async def test_metrics_and_answers_agree(ingest, document):
    await ingest.send(document())
    await ingest.send(document(), token="x")
    assert ingest.count("holter_ingest_requests_total", transport="http", code="202") == 1
    assert ingest.count("holter_ingest_requests_total", transport="http", code="403") == 1
    assert ingest.count("holter_ingest_rejected_total", reason="forbidden") == 1
    assert ingest.count("holter_ingest_request_seconds_count") == 2
    await ingest.stored()
    assert ingest.count("holter_store_write_seconds_count") == 1
    assert ingest.count("holter_ingest_wal_bytes") == 0
