"""The Alertmanager sink against a real Alertmanager: `prometheus-alertmanager` of Debian, or upstream's binary."""

import asyncio
import json
import re
import shutil
import socket
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from holter.alert import AlertEvent, Kind, Priority, Transition
from holter.inference.outbox import Outbox
from holter.inference.sinks.alertmanager import AlertmanagerSink
from holter.inference.sinks.delivery import DeliveryMetrics, Timing, deliver
from holter.metrics import Metrics

DOCS = Path(__file__).parents[2] / "docs"
BINARY = shutil.which("alertmanager") or shutil.which("prometheus-alertmanager")
pytestmark = pytest.mark.skipif(
    BINARY is None, reason="no alertmanager or prometheus-alertmanager on PATH (Debian: apt-get install it)"
)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
async def alertmanager(tmp_path):
    async with running(tmp_path, "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n") as url:
        yield url


@asynccontextmanager
async def running(folder, configuration):
    """An Alertmanager; gives its address."""
    config = folder / "alertmanager.yml"
    config.write_text(configuration)
    url = f"http://127.0.0.1:{free_port()}"
    options = {
        "--config.file": config,
        "--storage.path": folder / "data",
        "--web.listen-address": url.removeprefix("http://"),
        "--cluster.listen-address": "",
    }
    process = await asyncio.create_subprocess_exec(
        BINARY, *(f"{name}={value}" for name, value in options.items()), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(30):
            while await asyncio.to_thread(fetch, f"{url}/-/ready") is None:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
        yield url
    finally:
        process.terminate()
        await process.wait()


def fetch(url):
    try:
        with urlopen(url, timeout=5) as answer:
            return answer.read()
    except OSError:
        return None


async def active(url):
    """Alerts that Alertmanager holds active, by kind: (priority, time to its end)."""
    alerts = json.loads(await asyncio.to_thread(fetch, f"{url}/api/v2/alerts"))
    now = datetime.now(UTC)
    return {
        alert["labels"]["kind"]: (alert["labels"]["priority"], datetime.fromisoformat(alert["endsAt"]) - now)
        for alert in alerts
    }


async def until(condition):
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)


def make_event(kind, ordinal=1, event=Transition.RAISED, priority=Priority.HIGH, device="bed-07"):
    onset = round((time.time() - 20) * 1e6)
    alert = kind if device == "bed-07" else f"{device}-{kind}"
    return AlertEvent(f"{alert}-{ordinal}", alert, event, device, kind, priority, onset, onset, "why")


async def test_alerts_live_and_end_in_a_real_alertmanager(alertmanager, tmp_path):
    async def priorities():
        return {kind: priority for kind, (priority, _) in (await active(alertmanager)).items()}

    def start(box):
        sink = AlertmanagerSink(alertmanager, "st-mary", "cardiology", box)
        box.configure([sink.name])
        timing = Timing(poll=0.02)
        return asyncio.create_task(deliver(box, [sink], DeliveryMetrics(Metrics("c"), [sink.name]), timing=timing))

    box = Outbox(tmp_path / "outbox.db")
    task = start(box)
    box.commit([make_event(Kind.ASYSTOLE), make_event(Kind.ECTOPY, priority=Priority.LOW)])
    await until(lambda: wait_for(priorities, {"asystole": "high", "ectopy": "low"}))
    ends = (await active(alertmanager))["asystole"][1]
    assert timedelta(minutes=3) < ends <= timedelta(minutes=4)

    box.commit([make_event(Kind.ECTOPY, 2, Transition.UPDATED, Priority.MEDIUM)])
    await until(lambda: wait_for(priorities, {"asystole": "high", "ectopy": "medium"}))
    box.commit([make_event(Kind.ASYSTOLE, 2, Transition.CLEARED)])
    await until(lambda: wait_for(priorities, {"ectopy": "medium"}))

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    before = (await active(alertmanager))["ectopy"][1] + timedelta(seconds=time.time())
    box.close()
    again = Outbox(tmp_path / "outbox.db")
    task = start(again)

    async def later():
        return (await active(alertmanager))["ectopy"][1] + timedelta(seconds=time.time()) > before + timedelta(
            milliseconds=100
        )

    await until(later)
    again.commit([make_event(Kind.ECTOPY, 3, Transition.CLEARED, Priority.MEDIUM)])
    await until(lambda: wait_for(priorities, {}))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    again.close()


async def test_patients_alerts_are_labelled_grouped_and_routed_as_the_docs_have_it(tmp_path):
    """With the very route of docs/sre.md; Prometheus' alerts on Holter itself go another way."""
    (route,) = re.findall(r"```yaml\n(route:.*?)```", (DOCS / "sre.md").read_text(), re.DOTALL)
    async with running(tmp_path, f"{route}receivers: [{{name: sre}}, {{name: ward}}]\n") as url:
        box = Outbox(tmp_path / "outbox.db")
        sink = AlertmanagerSink(url, "st-mary", "cardiology", box)
        box.configure([sink.name])
        metrics = DeliveryMetrics(Metrics("c"), [sink.name])
        task = asyncio.create_task(deliver(box, [sink], metrics, timing=Timing(poll=0.02)))
        mine = [make_event(Kind.ASYSTOLE), make_event(Kind.ECTOPY, priority=Priority.LOW)]
        box.commit([*mine, make_event(Kind.ECTOPY, device="bed-08")])
        now = datetime.now(UTC).isoformat()
        rule = {
            "alertname": "HolterIngestDown",
            "severity": "critical",
            "cohort_namespace": "st-mary",
            "cohort": "cardiology",
        }
        body = json.dumps([{"labels": rule, "startsAt": now}]).encode()
        request = Request(f"{url}/api/v2/alerts", body, {"Content-Type": "application/json"})
        await asyncio.to_thread(lambda: urlopen(request, timeout=5).close())

        async def groups():
            found = json.loads(await asyncio.to_thread(fetch, f"{url}/api/v2/alerts/groups"))
            return {
                (group["receiver"]["name"], *sorted(group["labels"].items())): sorted(
                    alert["labels"]["alertname"] for alert in group["alerts"]
                )
                for group in found
            }

        def patient(device):
            return ("ward", ("cohort", "cardiology"), ("device_id", device), ("namespace", "st-mary"))

        ours = ("alertname", "HolterIngestDown"), ("cohort", "cardiology"), ("cohort_namespace", "st-mary")
        expected = {
            patient("bed-07"): ["HolterAsystole", "HolterEctopy"],
            patient("bed-08"): ["HolterEctopy"],
            ("sre", *ours): ["HolterIngestDown"],
        }
        await until(lambda: wait_for(groups, expected))
        alerts = json.loads(await asyncio.to_thread(fetch, f"{url}/api/v2/alerts?filter=kind%3Dasystole"))
        assert alerts[0]["labels"] == {
            "alertname": "HolterAsystole",
            "namespace": "st-mary",
            "cohort": "cardiology",
            "device_id": "bed-07",
            "kind": "asystole",
            "category": "physiological",
            "priority": "high",
            "severity": "critical",
        }
        assert alerts[0]["annotations"]["summary"] == "Asystole: device bed-07 of cohort st-mary/cardiology"
        assert alerts[0]["annotations"]["reason"] == "why"

        box.commit([make_event(kind.kind, 2, Transition.CLEARED, kind.priority) for kind in mine])
        del expected[patient("bed-07")]
        await until(lambda: wait_for(groups, expected))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        box.close()


async def wait_for(function, expected):
    return await function() == expected
