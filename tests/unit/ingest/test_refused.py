"""The log names devices that are refused, boundedly, and holds nothing of what they sent."""

import asyncio
import socket

import orjson
import pytest
from structlog.testing import capture_logs

from holter.ingest.refusal import RefusalError
from holter.ingest.refused import AGAIN, KEPT, LINES, RefusedDevices

OTHERS = bytes(range(32, 64))


def told(book, now):
    with capture_logs() as lines:
        book.tell(now)
    return lines


def refusal(device_id="wearable-1", code=403, field="Authorization", reason="is not this device's token"):
    return RefusalError(code, field, reason).about(device_id)


def test_a_fault_is_told_once_with_its_number_and_again_when_it_goes_on():
    book = RefusedDevices()
    for second in range(7):
        book.note(refusal(), second)
    (line,) = told(book, 10)
    assert {key: line[key] for key in ("event", "log_level", "device_id", "code", "field", "reason", "count")} == {
        "event": "refused",
        "log_level": "warning",
        "device_id": "wearable-1",
        "code": 403,
        "field": "Authorization",
        "reason": "is not this device's token",
        "count": 7,
    }
    for second in range(20, 400):
        book.note(refusal(), second)
    assert told(book, 10 + AGAIN - 1) == []
    (line,) = told(book, 10 + AGAIN)
    assert line["count"] == 380


def test_another_fault_of_the_same_device_is_told_at_once_and_indices_are_no_other_fault():
    book = RefusedDevices()
    book.note(refusal(), 0)
    told(book, 1)
    for n in range(50):
        book.note(refusal(code=400, field=f"samples[{n}]", reason="has to be a number in millivolts"), 2)
    assert [(line["field"], line["count"]) for line in told(book, 3)] == [("samples", 50)]


def test_a_stranger_fills_neither_log_nor_memory():
    book = RefusedDevices()
    for n in range(100 * KEPT):
        book.note(refusal(f"made-up-{n}"), 0)
    *lines, more = told(book, 10)
    assert len(lines) == LINES
    assert (more["event"], more["count"]) == ("refused_more", 100 * KEPT - LINES)
    told(book, AGAIN + 1)
    book.note(refusal("wearable-1"), AGAIN + 2)
    assert "wearable-1" in {line.get("device_id") for line in told(book, AGAIN + 3)}, "there is room again"


def test_who_names_no_device_is_not_told_of():
    book = RefusedDevices()
    book.note(RefusalError(404, "path", "is not served here"), 0)
    assert told(book, 10) == []


@pytest.mark.parametrize("transport", ["json", "lines", "binary", "websocket", "udp"])
async def test_every_transport_names_the_device(ingest, transport, frame, document, token_of):
    wrong = frame(device_id="wearable-7", key=OTHERS)
    if transport == "json":
        await ingest.send(document(device_id="wearable-7"), token="wrong")
    elif transport == "lines":
        good = document(token=token_of("wearable-1"), t0=1_750_000_000_000)
        await ingest.send(_lines(document(device_id="wearable-7", token="wrong"), good), content_type=NDJSON)
    elif transport == "binary":
        await ingest.frames(wrong)
    elif transport == "websocket":
        stream = await ingest.stream()
        await stream.write_message(wrong, binary=True)
        await stream.read_message()
    else:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port:
            port.sendto(wrong, ("127.0.0.1", ingest.service.udp_port))
        async with asyncio.timeout(10):
            while not ingest.count("holter_ingest_rejected_total", reason="forbidden"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    (line,) = told(ingest.service.measures.devices, 1e9)
    assert (line["device_id"], line["code"], line["count"]) == ("wearable-7", 403, 1)


async def test_all_of_a_body_are_named_when_none_is_good_and_no_value_is(ingest, document, token_of):
    bodies = [
        document(device_id="a", token="wrong"),
        document(device_id="b", token=token_of("b"), fs=31.0),
        document(device_id="c", token=token_of("c")) | {"samples": [0.123, "41.5"]},
    ]
    answer = await ingest.send(_lines(*bodies), content_type=NDJSON)
    assert answer.code == 400
    lines = told(ingest.service.measures.devices, 1e9)
    assert {(line["device_id"], line["code"], line["field"]) for line in lines} == {
        ("a", 403, "token"),
        ("b", 400, "fs"),
        ("c", 400, "samples"),
    }
    assert not any(sent in str(lines) for sent in ("0.123", "41.5", "31.0", "wrong"))


NDJSON = "application/x-ndjson"


def _lines(*documents):
    return b"\n".join(orjson.dumps(each) for each in documents)
