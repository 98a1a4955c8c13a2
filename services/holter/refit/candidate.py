"""Where a refit leaves its candidate: a folder, or the one ConfigMap its ServiceAccount may patch."""

import json
import os
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from urllib.parse import quote

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from holter.model.artifact import JSON, NPZ

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TIMEOUT = 30.0


class CandidateError(Exception):
    """The candidate was not left; the message says where it should have gone and why it did not."""


class _AgainError(Exception):
    """The API server may take it a moment later."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Both files' content.

    Attributes:
        text: `model.json`.
        npz: `model.npz`; None where there were too few windows to train on: an older one is then removed.
    """

    text: str
    npz: bytes | None


Connect = Callable[[], HTTPConnection]


def write(
    target: str, candidate: Candidate, environ: Mapping[str, str] = os.environ, account: Path = SERVICE_ACCOUNT
) -> None:
    """Leave a candidate.

    Args:
        target: `file:<folder>` or `configmap:<namespace>/<name>`.
        candidate: see there.
        environ: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT, as every pod has them.
        account: folder of `token` and `ca.crt`.

    Raises:
        CandidateError: it is not there now.
    """
    scheme, _, rest = target.partition(":")
    namespace, _, name = rest.partition("/")
    if scheme == "file" and rest:
        write_folder(Path(rest), candidate)
    elif scheme == "configmap" and namespace and name:
        patch_configmap(namespace, name, candidate, lambda: _in_cluster(environ, account), account)
    else:
        raise CandidateError(f"HOLTER_CANDIDATE={target!r}: file:<folder> or configmap:<namespace>/<name> is expected")


def write_folder(folder: Path, candidate: Candidate) -> None:
    """Each file is replaced whole, `model.json` last: its sha256 tells whether the arrays beside it are its own.

    Raises:
        CandidateError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if candidate.npz is not None:
            _replace(folder / NPZ, candidate.npz)
        _replace(folder / JSON, candidate.text.encode())
        if candidate.npz is None:
            (folder / NPZ).unlink(missing_ok=True)
    except OSError as error:
        raise CandidateError(f"candidate {folder}: {error}") from error


def patch_configmap(
    namespace: str,
    name: str,
    candidate: Candidate,
    connect: Connect,
    account: Path,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Merge-patch `data` and `binaryData` and nothing else; retried while the API server is away or busy.

    Args:
        namespace: of the ConfigMap.
        name: of the ConfigMap; the operator makes it.
        candidate: see there.
        connect: opens a connection to the API server.
        account: folder of `token`.
        wait: sleeps for seconds between tries.

    Raises:
        CandidateError: it was refused, or there was no answer in five tries.
    """
    npz = None if candidate.npz is None else b64encode(candidate.npz).decode()
    body = json.dumps({"data": {JSON: candidate.text}, "binaryData": {NPZ: npz}}).encode()
    path = f"/api/v1/namespaces/{quote(namespace, safe='')}/configmaps/{quote(name, safe='')}?fieldManager=holter-refit"
    tries = Retrying(
        retry=retry_if_exception_type(_AgainError),
        stop=stop_after_attempt(5),
        wait=wait_exponential_jitter(initial=1, max=20),
        sleep=wait,
        reraise=True,
    )
    try:
        tries(_patch, path, body, connect, account)
    except _AgainError as error:
        raise CandidateError(f"ConfigMap {namespace}/{name}: {error}, in 5 tries") from error
    except CandidateError as error:
        raise CandidateError(f"ConfigMap {namespace}/{name}: {error}") from error


def _patch(path: str, body: bytes, connect: Connect, account: Path) -> None:
    try:
        token = (account / "token").read_text().strip()  # anew each time: the kubelet rotates it
        connection = connect()
    except OSError as error:
        raise CandidateError(f"no ServiceAccount token and certificate in {account}: {error}") from error
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/merge-patch+json"}
    try:
        connection.request("PATCH", path, body, headers)
        with connection.getresponse() as response:
            status, answer = response.status, response.read(2000).decode(errors="replace")
    except (OSError, HTTPException) as error:
        raise _AgainError(f"no answer from the API server: {error!r}") from error
    finally:
        connection.close()
    if status == 429 or status >= 500:
        raise _AgainError(f"the API server answered {status}: {answer}")
    if status == 404:
        raise CandidateError("it is not there; the operator makes it")
    if status != 200:
        raise CandidateError(f"the API server answered {status}: {answer}")


def _in_cluster(environ: Mapping[str, str], account: Path) -> HTTPConnection:
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise CandidateError("KUBERNETES_SERVICE_HOST is not set: a ConfigMap can be patched from inside a pod only")
    context = ssl.create_default_context(cafile=str(account / "ca.crt"))
    return HTTPSConnection(host, int(port), timeout=TIMEOUT, context=context)


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.new")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
