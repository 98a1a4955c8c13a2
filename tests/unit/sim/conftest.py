"""A tiny ingest that misbehaves as told."""

import asyncio
import threading
from collections import Counter, deque

import orjson
import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from holter.frame import Ack, Status, decode, encode_ack
from holter.keys import bearer, mac_key

KEY = bytes(range(32))


class FakeIngest:
    """Keeps what it acknowledged; `faults` are used up one a request or frame."""

    def __init__(self):
        self.taken = []
        self.sent = Counter()
        self.faults = deque()
        self.received = lambda: None
        sock, self.port = bind_unused_port()
        self.server = HTTPServer(
            Application([("/ingest", Post, {"ingest": self}), ("/stream", Stream, {"ingest": self})])
        )
        self.server.add_socket(sock)
        self.url = f"http://127.0.0.1:{self.port}"

    def fault(self):
        return self.faults.popleft() if self.faults else None

    def order(self, device_id):
        return [seq for device, seq in self.taken if device == device_id]


def frames_of(body):
    at = 0
    while at < len(body):
        yield (frame := decode(body, at))
        at += len(frame)


class Post(RequestHandler):
    def initialize(self, ingest):
        self.ingest = ingest

    def post(self):
        found = []
        if self.request.headers["Content-Type"] == "application/x-ndjson":
            for line in self.request.body.splitlines():
                document = orjson.loads(line)
                assert document["token"] == bearer(KEY, document["device_id"])
                found.append((document["device_id"], document["seq"]))
        else:
            for frame in frames_of(self.request.body):
                assert frame.is_signed_by(mac_key(KEY, frame.chunk.device_id))
                found.append((frame.chunk.device_id, frame.chunk.seq))
        self.ingest.sent.update(found)
        self.ingest.received()
        match self.ingest.fault():
            case None:
                self.answer(found, [])
            case "drop":
                self.detach().close()
            case "taken, then drop":
                self.ingest.taken += found
                self.detach().close()
            case {"index": _} as rejected:
                self.answer([x for i, x in enumerate(found) if i != rejected["index"]], [rejected])
            case (code, headers):
                self.set_status(code)
                for name, value in headers.items():
                    self.set_header(name, value)
                self.finish({"error": "no"})

    def answer(self, taken, rejected):
        self.ingest.taken += taken
        self.set_status(202)
        self.finish({"accepted": 1, "rejected": rejected} if rejected else {"accepted": 1})


class Stream(WebSocketHandler):
    def initialize(self, ingest):
        self.ingest, self.gone = ingest, False

    def on_message(self, message):
        for frame in frames_of(message):
            self.take(frame.chunk)

    def take(self, chunk):
        if self.gone:
            return
        self.ingest.sent[chunk.device_id, chunk.seq] += 1
        match self.ingest.fault():
            case None:
                self.ingest.taken.append((chunk.device_id, chunk.seq))
                # What ingest had to cut or to place begins elsewhere.
                ack = Ack(chunk.device_id, chunk.seq, chunk.t0 + 4000)
            case "drop" | "cut" as how:
                self.gone = True
                self.close() if how == "drop" else self.ws_connection.stream.close()
                return
            case str() as words:
                self.write_message(words)
                return
            case Status.RETRY:
                ack = Ack(chunk.device_id, chunk.seq, chunk.t0, Status.RETRY, 7)
            case Status.REFUSED:
                ack = Ack(chunk.device_id, chunk.seq, chunk.t0, Status.REFUSED)
        self.write_message(encode_ack(ack), binary=True)


@pytest.fixture
async def ingest():
    fake = FakeIngest()
    yield fake
    fake.server.stop()
    await fake.server.close_all_connections()
    await asyncio.sleep(0)


@pytest.fixture
def served():
    """The same in a thread of its own: a command takes the main thread for its signals."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start():
        return FakeIngest()

    async def stop():
        fake.server.stop()
        await fake.server.close_all_connections()

    fake = asyncio.run_coroutine_threadsafe(start(), loop).result()
    yield fake
    asyncio.run_coroutine_threadsafe(stop(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def device_key():
    return KEY


@pytest.fixture(autouse=True)
def _away(tmp_path_factory, monkeypatch):
    """A cohort that runs from the folder of the tests is not the one that is meant."""
    monkeypatch.chdir(tmp_path_factory.mktemp("away"))
