"""A cohort's objects, small real processes, and a stand-in for the command `holter`."""

import asyncio
import sys
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import structlog

from holter_operator.api import documents, schema
from holter_operator.api.cohort import Cohort, parse
from holter_operator.build.everything import objects
from holter_operator.build.given import Component, DeviceKey, Given
from holter_operator.local.specs import ProcessSpec

COHORT = """
apiVersion: holter.dev/v1alpha1
kind: MonitoredCohort
metadata: {name: ward, namespace: st-mary}
spec:
  alerting:
    webhooks:
      - {name: pager, url: "https://pager.example.org/x", secretRef: {name: pager, key: secret}}
"""

FAKE_HOLTER = """\
#!{python}
# `holter ingest|infer` answers its probes until SIGTERM; `holter refit` does what the file `refit.py` beside it says.
import os, runpy, signal, socket, sys
from pathlib import Path
here = Path(__file__).parent
with (here / "calls").open("a") as calls:
    calls.write(sys.argv[1] + "\\n")
if sys.argv[1] == "refit":
    runpy.run_path(str(here / "refit.py"))
    sys.exit()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
server = socket.create_server(("127.0.0.1", int(os.environ["HOLTER_PORT_METRICS"])))
while True:
    connection, _ = server.accept()
    connection.recv(4096)
    connection.sendall(b"HTTP/1.0 200 OK\\r\\nContent-Length: 3\\r\\n\\r\\nok\\n")
    connection.close()
"""


@pytest.fixture
def cohort_text() -> str:
    return COHORT


@pytest.fixture
def cohort() -> Cohort:
    document, faults = schema.check(next(documents.read(COHORT)).value)
    assert not faults
    return parse(document)


@pytest.fixture
def build() -> Callable[..., list[dict]]:
    """Objects of a cohort, as `holter up` has them built."""

    def of(cohort: Cohort, **given) -> list[dict]:
        base = {"device_key": DeviceKey("k" * 43)} | given
        return list(objects(cohort, Given(images=dict.fromkeys(Component, "x"), owner_uid="u", **base)))

    return of


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., ProcessSpec]:
    """A process that runs some lines of Python."""

    def spec(name: str, code: str, **fields) -> ProcessSpec:
        path = tmp_path / f"{name}.py"
        path.write_text(textwrap.dedent(code))
        return ProcessSpec(name=name, argv=(sys.executable, "-S", str(path)), **fields)

    return spec


@pytest.fixture
def fake_holter(tmp_path: Path) -> Path:
    """A stand-in for the command `holter`; it writes each call into the file `calls` beside it."""
    path = tmp_path / "bin" / "holter"
    path.parent.mkdir()
    path.write_text(FAKE_HOLTER.format(python=sys.executable))
    path.chmod(0o755)
    return path


@pytest.fixture
def log() -> structlog.typing.FilteringBoundLogger:
    return structlog.get_logger()


@pytest.fixture
def eventually() -> Callable[..., Awaitable[None]]:
    """Wait until something holds; the limit is for a test that would never end, not a claim about speed."""

    async def wait(holds: Callable[[], object], limit: float = 30.0) -> None:
        async with asyncio.timeout(limit):
            while not holds():  # noqa: ASYNC110 - what it waits for is another process's doing
                await asyncio.sleep(0.02)

    return wait


@pytest.fixture
def alive() -> Callable[[int], bool]:
    """Whether a process runs; a zombie does not."""

    def runs(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except FileNotFoundError:
            return False

    return runs


class Register:
    """Keeps names by pid."""

    def __init__(self) -> None:
        self.running: dict[int, str] = {}
        self.all: list[tuple[str, int]] = []

    def started(self, name: str, pid: int) -> None:
        self.running[pid] = name
        self.all.append((name, pid))

    def ended(self, pid: int) -> None:
        self.running.pop(pid, None)


@pytest.fixture
def register() -> Register:
    return Register()


@pytest.fixture
def lines() -> list[tuple[str, str]]:
    """What processes wrote."""
    return []
