"""The InfluxDB store when the server answers badly or not at all."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from holter.chunk import Chunk
from holter.store import client
from holter.store.open import open_store
from holter.store.protocol import StoreRefusedError, StoreUnavailableError, Written
from holter.window import WindowScores

CHUNKS = [Chunk(f"d{i}", 0, 250.0, np.full(5, i, np.int16)) for i in range(5)]


class Server(ThreadingHTTPServer):
    """Answers with what `answer(path, body)` gives: (status, body)."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = lambda path, body: (204, b"")
        self.asked = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.path.partition("?")[0], body))
        status, answer = self.server.answer(self.path, body)
        if status is None:
            self.close_connection = True
            return
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def do_GET(self):
        self.do_POST()

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def folder(tmp_path):
    for name, value in {
        "org": "o",
        "bucket": "ns.cohort",
        "token": "secret-token",
        "url": "http://127.0.0.1:9",
    }.items():
        (tmp_path / name).write_text(value)
    return tmp_path


@pytest.fixture
def store(server, folder):
    (folder / "url").write_text(f"http://127.0.0.1:{server.server_port}\n")
    store = open_store(f"influxdb:{folder}", layout="Chunks", writer="w-0")
    yield store
    store.close()


def says(message: str) -> bytes:
    return b'{"code":"x","message":"' + message.encode() + b'"}'


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_server_in_trouble_is_unavailable(store, server, status):
    server.answer = lambda path, body: (status, says("too busy"))
    with pytest.raises(StoreUnavailableError, match=rf"write_chunks on http://127.*: {status} too busy") as failure:
        store.write_chunks(CHUNKS)
    assert "secret-token" not in str(failure.value)
    assert len(server.asked) == 1, "a write is not retried here"


@pytest.mark.parametrize("status", [401, 403, 404])
def test_missing_rights_are_refused(store, server, status):
    server.answer = lambda path, body: (status, says("not for you"))
    with pytest.raises(StoreRefusedError, match=rf"write_chunks on .*: {status} not for you"):
        store.write_chunks(CHUNKS)
    with pytest.raises(StoreRefusedError, match=rf"read_acks on .*: {status} not for you"):
        store.read_acks(0)
    assert len(server.asked) == 2


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_the_server_will_not_have_is_found_and_the_rest_kept(store, server, status):
    kept = []

    def answer(path, body):
        if b"device_id=d3" in body:
            return status, says("bad line")
        kept.extend(line for line in body.splitlines() if line.startswith(b"ecg_chunk"))
        return 204, b""

    server.answer = answer
    assert store.write_chunks(CHUNKS) == Written(stored=4, conflicts=0, refused=1)
    assert sorted(line.split(b",")[1] for line in kept) == [
        b"device_id=d0",
        b"device_id=d1",
        b"device_id=d2",
        b"device_id=d4",
    ]
    assert len(server.asked) <= 8


def test_a_batch_refused_as_a_whole_is_not_taken_apart(store, server):
    server.answer = lambda path, body: (422, says("partial write: points beyond retention policy dropped=5"))
    assert store.write_chunks(CHUNKS) == Written(stored=0, conflicts=0, refused=5)
    assert len(server.asked) == 1


def test_an_index_that_failed_is_written_with_the_repetition(store, server):
    server.answer = lambda path, body: (503, b"") if body.startswith(b"ecg_arrival") else (204, b"")
    with pytest.raises(StoreUnavailableError, match=r"write_chunks \(arrival\)"):
        store.write_chunks(CHUNKS)
    server.answer = lambda path, body: (204, b"")
    server.asked.clear()
    assert store.write_chunks(CHUNKS) == Written(5, 0)
    assert [body.split(b",")[0] for _, body in server.asked] == [b"ecg_arrival"], "the chunks are known to be there"


def test_a_failed_write_is_not_remembered_as_written(store, server):
    server.answer = lambda path, body: (503, b"")
    with pytest.raises(StoreUnavailableError):
        store.write_chunks(CHUNKS)
    server.answer = lambda path, body: (204, b"")
    server.asked.clear()
    assert store.write_chunks(CHUNKS) == Written(5, 0)
    assert server.asked[0][1].count(b"ecg_chunk") == 5


def test_a_connection_that_breaks_is_tried_again_for_reads_alone(store, server):
    server.answer = lambda path, body: (None, b"") if len(server.asked) < 3 else (200, b"\r\n")
    assert store.read_acks(0) == ()
    assert len(server.asked) == 3
    server.asked.clear()
    with pytest.raises(StoreUnavailableError, match="write_chunks on"):
        store.write_chunks(CHUNKS)
    assert len(server.asked) == 1


def test_an_answer_with_an_error_in_it_is_unavailable(store, server):
    server.answer = lambda path, body: (200, b"error,reference\r\nquery was killed,1\r\n")
    with pytest.raises(StoreUnavailableError, match=r"read_alerts on .*: the answer broke off: query was killed"):
        store.read_alerts(0)
    assert len(server.asked) == client.READ_ATTEMPTS


def test_nobody_there(folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        (folder / "url").write_text(f"http://127.0.0.1:{free.getsockname()[1]}")
    store = open_store(f"influxdb:{folder}", layout="Samples", writer="w-0")
    for call in (store.health, lambda: store.write_chunks(CHUNKS), lambda: store.read_chunks(range(64), 0)):
        with pytest.raises(StoreUnavailableError, match="refused"):
            call()
    store.close()


def test_somebody_who_never_answers(server, store, monkeypatch):
    store.close()
    monkeypatch.setattr(client, "TIMEOUT", 0.1)
    waiting = threading.Event()
    server.answer = lambda path, body: (waiting.wait(20), (204, b""))[1]
    hasty = open_store(f"influxdb:{store._connection._folder}", layout="Chunks", writer="w-0")
    with pytest.raises(StoreUnavailableError, match="timed out"):
        hasty.write_chunks(CHUNKS)
    waiting.set()
    hasty.close()


def test_a_rotated_token_is_taken_up_once(store, server, folder):
    server.answer = lambda path, body: (401, says("unauthorized"))
    (folder / "token").write_text("a-new-token")
    with pytest.raises(StoreRefusedError, match="401"):
        store.health()
    assert len(server.asked) == 2


@pytest.mark.parametrize("name", ["url", "org", "bucket", "token"])
def test_an_incomplete_secret_names_what_is_missing(folder, name):
    (folder / name).write_text("\n")
    with pytest.raises(StoreRefusedError, match=f"influxdb:.*: {name} is empty"):
        open_store(f"influxdb:{folder}", layout="Chunks", writer="w")
    (folder / name).unlink()
    with pytest.raises(StoreRefusedError, match=f"influxdb:.*: {name}: No such file"):
        open_store(f"influxdb:{folder}", layout="Chunks", writer="w")


def test_a_feature_named_as_a_column_is_refused(store, server):
    zero = np.zeros(1, np.float32)
    scores = WindowScores(
        ("a",), np.zeros(1, np.int64), ("quality",), np.zeros((1, 1), np.float32), zero, zero, zero, zero,
        np.zeros(1, bool), np.zeros(1, bool), np.zeros(1, np.int32),
    )  # fmt: skip
    with pytest.raises(StoreRefusedError, match="quality"):
        store.write_scores(scores)
    assert server.asked == []
