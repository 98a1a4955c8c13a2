"""A whole cohort on one machine: the real builders and CRD, and a stand-in for the command `holter`."""

import asyncio
import io
import json
import os
import signal
import textwrap
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from holter_operator.local.cohort_file import FileFaultError
from holter_operator.local.endpoints import console_link
from holter_operator.local.files import write
from holter_operator.local.main import until_stopped
from holter_operator.local.output import Output
from holter_operator.local.ports import PortError
from holter_operator.local.runner import Options, Runner
from holter_operator.local.state import StateFolder
from holter_operator.local.supervisor import State

SECRET = """
---
apiVersion: v1
kind: Secret
metadata: {name: pager, namespace: st-mary}
stringData: {secret: s3}
"""

REFIT = """
import hashlib, json, os
from pathlib import Path
folder = Path(os.environ["HOLTER_CANDIDATE"].removeprefix("file:"))
folder.mkdir(parents=True, exist_ok=True)
model = {
    "format": 1, "revision": 0, "windows": 900, "usable": %d, "kept": 700, "features": ["hr"], "threshold": 3.0,
    "offset": -0.5, "bytes": 3, "flagRate": 0.01, "scoreQuantiles": {"p50": 0.1, "p90": 0.5, "p99": 1.0},
    "sha256": hashlib.sha256(b"npz").hexdigest(), "trainedAt": "2026-01-01T00:00:00Z",
}
(folder / "model.npz").write_bytes(b"npz")
(folder / "model.json").write_text(json.dumps(model))
"""


class Running:
    """One runner that serves, and what can be seen of it."""

    def __init__(self, path: Path, holter: Path, text: str) -> None:
        self.file, self.holter = path / "ward.yaml", holter
        self.file.write_text(text)
        self.folder = StateFolder(path / "state")
        self.screen = io.StringIO()
        output = Output(Console(file=self.screen, width=1000))
        options = Options(holter=holter, ports={"http": 0, "udp": 0})
        self.runner = Runner(self.file, self.folder, options, output)
        self._serving: asyncio.Task | None = None

    async def start(self) -> dict:
        await self.runner.start()
        self._serving = asyncio.create_task(self.runner.serve())
        return await self.runner.ready()

    async def stop(self) -> None:
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.wait([self._serving])
        await self.runner.stop()
        self.folder.close()

    def calls(self) -> Counter:
        path = self.holter.with_name("calls")
        return Counter(path.read_text().split()) if path.exists() else Counter()

    def status(self) -> dict:
        return self.folder.read("status.json")

    def mounted(self, component: str, path: str) -> Path:
        return self.folder.path / "mounts" / component / "etc" / "holter" / path

    def pids(self) -> dict[str, int]:
        return {name: c.pid for name, c in self.runner.host.components.items()}

    def edit(self, old: str, new: str) -> None:
        """As an editor does: a new file in the place of the old one."""
        text = self.file.read_text()
        assert old in text
        write(self.file, text.replace(old, new).encode())


@pytest.fixture
async def cohort_on(tmp_path, fake_holter, cohort_text):
    made = []

    def make(text=cohort_text + SECRET):
        made.append(Running(tmp_path, fake_holter, text))
        return made[-1]

    yield make
    for one in made:
        await one.stop()


async def test_it_runs_and_says_where(cohort_on, eventually):
    one = cohort_on()
    where = await one.start()
    assert one.calls() == {"ingest": 1, "infer": 1, "console": 1}
    assert where == json.loads((one.folder.path / "endpoints.json").read_bytes())
    assert where["ingest"].startswith("http://127.0.0.1:")
    assert where["udp"].startswith("127.0.0.1:")
    assert set(where["metrics"]) == {"ingest", "inference", "console"}
    assert console_link(where) == f"{where['console']}/#token={one.folder.console_tokens()['view']}"
    assert where["store"] == f"sqlite:{one.folder.path / 'store.db'}"
    assert (Path(where["device_keys"]) / "current").exists()
    assert (one.mounted("inference", "webhooks/pager") / "secret").read_bytes() == b"s3"
    assert json.loads(one.mounted("inference", "config/inference.json").read_bytes())["replicas"] == 1
    assert "inference: 2 replicas in a cluster, one process here" in one.screen.getvalue()
    await eventually(lambda: {c["state"] for c in one.status()["components"].values()} == {State.READY})


async def test_stop_leaves_no_process_and_no_addresses(cohort_on, alive):
    one = cohort_on()
    await one.start()
    pids = one.pids()
    assert all(map(alive, pids.values()))
    await one.stop()
    assert not any(map(alive, pids.values()))
    assert not (one.folder.path / "endpoints.json").exists()
    said = one.screen.getvalue()
    assert said.index("stopped component=ingest") < said.index("stopped component=inference"), "ingest goes first"


async def test_an_edit_of_a_setting_changes_a_file_and_restarts_nobody(cohort_on, eventually):
    one = cohort_on()
    await one.start()
    pids = one.pids()
    config = one.mounted("inference", "config/inference.json")
    one.edit("  alerting:", "  alerting:\n    cooldown: 90s")
    await eventually(lambda: json.loads(config.read_bytes())["cooldown"] == 90)
    assert one.pids() == pids
    assert one.calls() == {"ingest": 1, "infer": 1, "console": 1}


async def test_an_edit_restarts_only_what_it_concerns(cohort_on, eventually):
    one = cohort_on()
    await one.start()
    pids = one.pids()
    one.edit("spec:", "spec:\n  inference: {interval: 4s}")  # the worker lays its memory out by it
    await eventually(lambda: one.calls()["infer"] == 2)
    await one.runner.ready()
    assert one.pids()["ingest"] == pids["ingest"]
    assert one.calls()["ingest"] == 1


async def test_a_bad_edit_is_told_and_what_runs_goes_on(cohort_on, eventually):
    one = cohort_on()
    await one.start()
    pids = one.pids()
    one.edit("spec:", "spec:\n  inference: {interval: soon}")
    await eventually(lambda: one.status()["fault"])
    assert "spec.inference.interval" in one.status()["fault"]
    assert "ward.yaml:6" in one.screen.getvalue(), "file and line"
    one.edit("soon", "5s")
    await eventually(lambda: one.status()["fault"] is None)
    assert one.pids() == pids


async def test_what_may_not_change_is_refused_also_after_a_restart(cohort_on, eventually):
    one = cohort_on()
    await one.start()
    one.edit("spec:", "spec:\n  signal: {sampleRate: 500}")
    await eventually(lambda: one.status()["fault"])
    assert "spec.signal.sampleRate" in one.status()["fault"]
    await one.stop()
    again = cohort_on(one.file.read_text())
    with pytest.raises(FileFaultError, match=r"spec\.signal\.sampleRate"):
        await again.runner.start()


async def test_another_cohorts_state_is_not_taken_over(cohort_on, cohort_text):
    one = cohort_on()
    await one.start()
    await one.stop()
    other = cohort_on(cohort_text.replace("name: ward", "name: icu"))
    with pytest.raises(FileFaultError, match="st-mary/icu is another cohort than st-mary/ward"):
        await other.runner.start()


async def test_paused_leaves_all_as_it_is(cohort_on, eventually):
    one = cohort_on()
    await one.start()
    pids = one.pids()
    one.edit("spec:", "spec:\n  paused: true\n  inference: {interval: 4s}")
    await eventually(lambda: "paused: what runs is left as it is" in one.screen.getvalue())
    assert one.pids() == pids
    one.edit("paused: true", "paused: false")
    await eventually(lambda: one.calls()["infer"] == 2)


async def test_ports_and_key_stay_the_same_over_a_restart(cohort_on):
    one = cohort_on()
    before = await one.start()
    key = (Path(before["device_keys"]) / "current").read_bytes()
    await one.stop()
    again = cohort_on()
    after = await again.start()
    assert (after["ingest"], after["udp"], after["metrics"]) == (before["ingest"], before["udp"], before["metrics"])
    assert (Path(after["device_keys"]) / "current").read_bytes() == key


async def test_a_taken_port_is_told_before_anything_runs(tmp_path, fake_holter, cohort_text):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        one = Running(tmp_path, fake_holter, cohort_text)
        one.runner._options = Options(holter=fake_holter, ports={"http": port, "udp": 0})
        with pytest.raises(PortError, match=f"ingest needs TCP port {port}"):
            await one.runner.start()
        await one.stop()
    assert one.calls() == {}


async def test_a_refit_by_hand_is_judged_accepted_and_mounted(cohort_on, eventually):
    one = cohort_on()
    one.holter.with_name("refit.py").write_text(REFIT % 800)
    await one.start()
    model = one.mounted("inference", "model/model.json")
    assert not model.exists()
    pids = one.pids()
    verdict = asyncio.create_task(one.runner.judged())
    await asyncio.sleep(0)
    one.runner.refit_now()
    assert (await verdict).accepted
    await eventually(model.exists)
    assert json.loads(model.read_bytes())["revision"] == 1
    assert one.mounted("refit", "model/model.npz").read_bytes() == b"npz", "the next refit is compared with it"
    assert one.pids() == pids, "the worker swaps, it does not restart"
    await eventually(lambda: one.status()["model"]["revision"] == 1)
    assert one.status()["model"]["candidate"]["reason"] == "Accepted"
    assert not (one.folder.path / "candidate").exists(), "a later refit that leaves nothing is not given this one"


async def test_a_refused_model_is_told_with_its_reason(cohort_on, eventually):
    one = cohort_on()
    one.holter.with_name("refit.py").write_text(REFIT % 10)
    await one.start()
    one.runner.refit_now()
    await eventually(lambda: one.status()["model"]["candidate"])
    assert one.status()["model"]["candidate"]["reason"] == "TooFewWindows"
    assert one.status()["model"]["revision"] == 0
    assert not (one.folder.path / "models").exists()


async def test_a_failed_refit_is_told_and_the_next_may_do_better(cohort_on, eventually):
    one = cohort_on()
    one.holter.with_name("refit.py").write_text("raise SystemExit(4)")
    await one.start()
    one.runner.refit_now()
    await eventually(lambda: "job failed" in one.screen.getvalue())
    one.holter.with_name("refit.py").write_text(REFIT % 800)
    one.runner.refit_now()
    await eventually(lambda: one.status()["model"]["revision"] == 1)


async def test_a_pinned_revision_is_put_to_work_and_a_missing_one_changes_nothing(cohort_on, eventually):
    one = cohort_on()
    one.holter.with_name("refit.py").write_text(REFIT % 800)
    await one.start()
    for revision in (1, 2):
        one.runner.refit_now()
        await eventually(lambda: one.status()["model"]["revision"] == revision)  # noqa: B023
    one.edit("spec:", "spec:\n  model: {pinnedRevision: 1}")
    await eventually(lambda: one.status()["model"]["revision"] == 1)
    one.edit("pinnedRevision: 1", "pinnedRevision: 7")
    await eventually(lambda: "pinnedRevision is not kept" in one.screen.getvalue())
    assert one.status()["model"]["revision"] == 1
    one.edit("  model: {pinnedRevision: 7}\n", "")
    await eventually(lambda: one.status()["model"]["revision"] == 2)


async def test_stop_ends_a_refit_that_is_under_way(cohort_on, eventually, alive):
    one = cohort_on()
    code = """
    import os, time, pathlib
    pathlib.Path(__file__).with_name("pid").write_text(str(os.getpid()))
    time.sleep(600)
    """
    one.holter.with_name("refit.py").write_text(textwrap.dedent(code))
    await one.start()
    one.runner.refit_now()
    pid = one.holter.with_name("pid")
    await eventually(lambda: pid.exists() and pid.read_text())
    await one.stop()
    assert not alive(int(pid.read_text()))


async def test_a_signal_stops_all_and_a_second_one_kills(cohort_on, eventually, alive):
    """The services ignore SIGTERM here, and their grace is more than a minute."""
    one = cohort_on()
    stubborn = one.holter.read_text().replace("lambda *_: sys.exit(0)", "signal.SIG_IGN")
    one.holter.write_text(stubborn)

    async def work():
        await one.runner.ready()
        pids.update(one.pids())
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    pids: dict[str, int] = {}
    running = asyncio.create_task(until_stopped(one.runner, work))
    await eventually(lambda: pids)
    await asyncio.sleep(0.3)
    assert not running.done(), "the grace period holds"
    assert all(map(alive, pids.values()))
    os.kill(os.getpid(), signal.SIGINT)
    async with asyncio.timeout(30):  # the grace period is 65 s
        await running
    assert not any(map(alive, pids.values()))


async def test_what_the_work_raises_comes_out_after_all_was_stopped(cohort_on, alive):
    one = cohort_on()
    pids: dict[str, int] = {}

    async def work():
        await one.runner.ready()
        pids.update(one.pids())
        raise RuntimeError("the demo broke")

    with pytest.raises(RuntimeError, match="the demo broke"):
        await until_stopped(one.runner, work)
    assert pids
    assert not any(map(alive, pids.values()))


async def test_sigusr1_starts_a_refit(cohort_on, eventually):
    one = cohort_on()
    one.holter.with_name("refit.py").write_text(REFIT % 800)

    async def work():
        await one.runner.ready()
        os.kill(os.getpid(), signal.SIGUSR1)
        await eventually(lambda: one.status()["model"]["revision"] == 1)

    await until_stopped(one.runner, work)
    assert one.calls()["refit"] == 1


async def test_an_edit_right_after_the_start_is_seen(cohort_on, eventually):
    """Before the file is watched."""
    one = cohort_on()
    await one.runner.start()
    one.edit("spec:", "spec:\n  inference: {interval: soon}")
    one._serving = asyncio.create_task(one.runner.serve())
    await eventually(lambda: one.status()["fault"])


async def test_a_file_that_is_gone_changes_nothing(cohort_on, eventually):
    one = cohort_on()
    await one.start()
    pids, text = one.pids(), one.file.read_text()
    one.file.unlink()
    await eventually(lambda: "the file cannot be read" in one.screen.getvalue())
    one.file.write_text(text.replace("spec:", "spec:\n  inference: {interval: 4s}"))
    await eventually(lambda: one.calls()["infer"] == 2)
    assert one.pids()["ingest"] == pids["ingest"]
