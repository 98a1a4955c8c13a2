import json
import shutil
import ssl
import subprocess
import threading
from base64 import b64decode
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from holter.refit.candidate import Candidate, CandidateError, patch_configmap, write

FULL, EMPTY = Candidate('{"format": 1}', b"\x00arrays"), Candidate('{"usable": 3}', None)


class ApiServer:
    """Answers PATCH with the statuses it is given, then 200; keeps what was asked."""

    def __init__(self, tls=None):
        self.statuses, self.requests = [], []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_PATCH(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                api.requests.append((self.path, dict(self.headers), json.loads(body)))
                self.send_response(api.statuses.pop(0) if api.statuses else 200)
                self.end_headers()
                self.wfile.write(b'{"message": "words of the API server"}')

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))

    def connect(self):
        return HTTPConnection("127.0.0.1", self.port, timeout=10)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def api():
    with ApiServer() as server:
        yield server


@pytest.fixture
def account(tmp_path):
    (tmp_path / "token").write_text("secret-token\n")
    return tmp_path


def patch(api, account, candidate=FULL):
    waits = []
    patch_configmap("st-mary", "ward-model-candidate", candidate, api.connect, account, waits.append)
    return waits


def test_a_folder_gets_both_files_and_nothing_else(tmp_path):
    write(f"file:{tmp_path}/deep/candidate", FULL)
    folder = tmp_path / "deep/candidate"
    assert {p.name for p in folder.iterdir()} == {"model.json", "model.npz"}
    assert ((folder / "model.json").read_text(), (folder / "model.npz").read_bytes()) == (FULL.text, FULL.npz)


def test_a_candidate_without_arrays_takes_the_old_ones_away(tmp_path):
    write(f"file:{tmp_path}", FULL)
    write(f"file:{tmp_path}", EMPTY)
    assert [p.name for p in tmp_path.iterdir()] == ["model.json"]
    assert (tmp_path / "model.json").read_text() == EMPTY.text


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(CandidateError, match="taken"):
        write(f"file:{tmp_path}/taken", FULL)


@pytest.mark.parametrize("target", ["", "file:", "configmap:name", "configmap:/name", "s3:bucket"])
def test_a_wrong_target_says_what_is_expected(target):
    with pytest.raises(CandidateError, match="file:<folder> or configmap:<namespace>/<name>"):
        write(target, FULL)


def test_a_configmap_is_merge_patched_with_the_accounts_token(api, account):
    assert patch(api, account) == []
    path, headers, body = api.requests[0]
    assert path == "/api/v1/namespaces/st-mary/configmaps/ward-model-candidate?fieldManager=holter-refit"
    assert headers["Authorization"] == "Bearer secret-token"
    assert headers["Content-Type"] == "application/merge-patch+json"
    assert body["data"] == {"model.json": FULL.text}
    assert b64decode(body["binaryData"]["model.npz"]) == FULL.npz
    assert set(body) == {"data", "binaryData"}


def test_a_candidate_without_arrays_removes_them_from_the_configmap(api, account):
    patch(api, account, EMPTY)
    assert api.requests[0][2]["binaryData"] == {"model.npz": None}


def test_a_busy_api_server_is_asked_again(api, account):
    api.statuses = [503, 429, 500]
    assert len(patch(api, account)) == 3
    assert len(api.requests) == 4


def test_five_tries_are_enough(api, account):
    api.statuses = [503] * 9
    with pytest.raises(CandidateError, match=r"ward-model-candidate.*503.*words of the API server.*5 tries"):
        patch(api, account)
    assert len(api.requests) == 5


@pytest.mark.parametrize(("status", "said"), [(403, "403.*words of the API server"), (404, "the operator makes it")])
def test_a_refusal_is_final_and_tells_what_the_server_said(api, account, status, said):
    api.statuses = [status]
    with pytest.raises(CandidateError, match=said):
        patch(api, account)
    assert len(api.requests) == 1


def test_an_api_server_that_is_away_is_asked_again(account):
    with ApiServer() as gone:
        pass
    with pytest.raises(CandidateError, match=r"no answer from the API server.*5 tries"):
        patch(gone, account)


def test_outside_a_pod_it_says_what_is_missing(account):
    with pytest.raises(CandidateError, match="KUBERNETES_SERVICE_HOST"):
        write("configmap:st-mary/ward", FULL, {}, account)
    (account / "token").unlink()
    with pytest.raises(CandidateError, match="token"):
        write("configmap:st-mary/ward", FULL, {"KUBERNETES_SERVICE_HOST": "127.0.0.1"}, account)


@pytest.fixture
def certificate(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command, to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=api", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", folder / "key", "-out", folder / "ca.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


def test_the_api_server_is_spoken_to_over_verified_tls(account, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "ca.crt", certificate / "key")
    shutil.copy(certificate / "ca.crt", account / "ca.crt")
    with ApiServer(context) as api:
        environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(api.port)}
        write("configmap:st-mary/ward", FULL, environ, account)
    assert len(api.requests) == 1
