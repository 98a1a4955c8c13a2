"""Real processes: crash and backoff, SIGTERM and grace, probes, what is left afterwards."""

import os
import signal
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tenacity import wait_none

from holter_operator.local.specs import Probe, ProcessSpec
from holter_operator.local.state import free_port
from holter_operator.local.supervisor import BACKOFF, Component, State, exit_in_words

SERVE = """
import os, socket, sys
answers = {{"/healthz": {healthz}, "/readyz": {readyz}}}
server = socket.create_server(("127.0.0.1", {port}))
while True:
    connection, _ = server.accept()
    path = connection.recv(4096).split()[1].decode()
    code = answers[path]() if callable(answers[path]) else answers[path]
    connection.sendall(f"HTTP/1.0 {{code}} X\\r\\nContent-Length: 4\\r\\n\\r\\nwhy\\n".encode())
    connection.close()
"""


@pytest.fixture
async def component(log, register, lines):
    """Makes components; whatever a test leaves is stopped."""
    made = []

    def make(spec, **kwargs):
        arguments = {"log": log, "register": register, "backoff": wait_none()}
        made.append(Component(spec, line=lambda name, text: lines.append((name, text)), **arguments | kwargs))
        return made[-1]

    yield make
    for one in made:
        one.kill()
        await one.stop()


async def test_a_crash_is_followed_by_a_restart_and_a_loop_is_called_one(component, script, lines, eventually):
    with capture_logs() as logged:
        one = component(script("ingest", "print('up'); raise SystemExit(3)"))
        one.start()
        await eventually(lambda: one.restarts >= 4)
        await one.stop()
    events = [entry["event"] for entry in logged]
    assert ("ingest", "up") in lines
    assert {"event": "ended", "code": 3, "component": "ingest", "log_level": "error"} in logged
    assert events.count("will be started again") == 2, "the first two; from the third on it is a crash loop"
    assert events.count("crash loop") >= 2
    assert one.state is State.STOPPED


def test_the_backoff_doubles_from_half_a_second_to_five_minutes():
    class Retry:
        attempt_number = 0

    waits = []
    for Retry.attempt_number in range(1, 20):
        waits.append(BACKOFF(Retry))
    assert all(0.5 * 2**n <= wait <= 0.5 * 2**n + 0.25 for n, wait in enumerate(waits[:9]))
    assert waits[-5:] == [300.0] * 5


async def test_a_long_life_begins_a_new_backoff(component, script, eventually):
    """The clock says that each life took eleven minutes."""
    ticks = iter(range(0, 10_000_000, 660))
    with capture_logs() as logged:
        one = component(script("ingest", "pass"), clock=lambda: float(next(ticks)))
        one.start()
        await eventually(lambda: [e["event"] for e in logged].count("started") >= 5)
        await one.stop()
    assert "crash loop" not in [entry["event"] for entry in logged]


async def test_sigterm_and_time_to_end(component, script, lines, eventually):
    code = """
    import signal, sys, time
    def end(*_):
        print("draining"); time.sleep(0.3); print("drained"); sys.exit(0)
    signal.signal(signal.SIGTERM, end)
    print("ready")
    while True: time.sleep(1)
    """
    one = component(script("ingest", code))
    one.start()
    await eventually(lambda: ("ingest", "ready") in lines)
    await one.stop()
    assert lines[-2:] == [("ingest", "draining"), ("ingest", "drained")]
    assert one.restarts == 0


async def test_sigkill_after_the_grace_and_nothing_is_left(component, script, lines, eventually, register, alive):
    code = """
    import signal, subprocess, sys, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    print(child.pid)
    while True: time.sleep(1)
    """
    one = component(script("ingest", code, grace=0.2))
    one.start()
    await eventually(lambda: lines)
    pid, grandchild = one.pid, int(lines[0][1])
    assert alive(pid)
    assert alive(grandchild)
    with capture_logs() as logged:
        await one.stop()
    assert {"event": "stopped", "code": -9, "component": "ingest", "log_level": "info"} in logged
    assert not alive(pid)
    await eventually(lambda: not alive(grandchild))
    assert register.running == {}


async def test_ready_when_the_probe_says_so_and_not_before(component, script, eventually, tmp_path):
    port, switch = free_port(1), tmp_path / "ready"
    code = SERVE.format(healthz=200, readyz=f"lambda: 200 if os.path.exists({str(switch)!r}) else 503", port=port)
    probe = Probe(port=port, path="/readyz", period=0.05, failures=2)
    with capture_logs() as logged:
        one = component(script("ingest", code, readiness=probe, liveness=Probe(port=port, path="/healthz")))
        one.start()
        await eventually(lambda: one.pid)
        assert one.state is State.STARTING
        switch.touch()
        await eventually(lambda: one.state is State.READY)
        switch.unlink()
        await eventually(lambda: one.state is State.UNREADY)
        switch.touch()
        await eventually(lambda: one.state is State.READY)
    assert {"event": "not ready", "reason": "why", "component": "ingest", "log_level": "warning"} in logged
    assert one.restarts == 0


async def test_a_failing_liveness_probe_restarts(component, script, eventually):
    port = free_port(1)
    probe = Probe(port=port, path="/healthz", period=0.05, failures=2)
    with capture_logs() as logged:
        one = component(script("ingest", SERVE.format(healthz=500, readyz=200, port=port), liveness=probe))
        one.start()
        await eventually(lambda: one.restarts >= 1)
    assert "liveness probe failed: restarting" in [entry["event"] for entry in logged]


async def test_startup_holds_liveness_back_until_it_succeeds(component, script, eventually, tmp_path):
    port, switch = free_port(1), tmp_path / "up"
    code = SERVE.format(healthz=f"lambda: 200 if os.path.exists({str(switch)!r}) else 500", readyz=200, port=port)
    startup = Probe(port=port, path="/healthz", period=1, failures=600)
    impatient = Probe(port=port, path="/healthz", period=0.01, failures=1)
    ready = Probe(port=port, path="/readyz")
    one = component(script("ingest", code, startup=startup, liveness=impatient, readiness=ready))
    one.start()
    await eventually(lambda: one.pid)
    assert one.state is State.STARTING
    switch.touch()
    await eventually(lambda: one.state is State.READY)
    assert one.restarts == 0


async def test_a_startup_that_never_succeeds_restarts(component, script, eventually):
    startup = Probe(port=free_port(1), path="/healthz", period=0.05, failures=2)
    with capture_logs() as logged:
        one = component(script("ingest", "import time; time.sleep(600)", startup=startup))
        one.start()
        await eventually(lambda: one.restarts >= 1)
    assert "startup probe failed: restarting" in [entry["event"] for entry in logged]


async def test_a_command_that_is_not_there_is_tried_again(component, eventually):
    with capture_logs() as logged:
        one = component(ProcessSpec("ingest", ("/nowhere/holter", "ingest")))
        one.start()
        await eventually(lambda: one.restarts >= 1)
    assert {"ended", "will be started again"} <= {entry["event"] for entry in logged}


async def test_stop_while_waiting_for_the_next_try_returns_at_once(component, script, eventually):
    one = component(script("ingest", "raise SystemExit(1)"), backoff=lambda _: 3600.0)
    one.start()
    await eventually(lambda: one.state is State.BACKOFF)
    await one.stop()
    assert one.pid is None


async def test_variables_are_the_manifests_and_none_of_ours(component, script, lines, eventually, monkeypatch):
    monkeypatch.setenv("HOLTER_INFLUXDB_TOKEN", "secret")
    code = "import os; print(sorted(n for n in os.environ if n.startswith('HOLTER'))); import time; time.sleep(600)"
    one = component(script("ingest", code, env={"HOLTER_POD": "x-0"}))
    one.start()
    await eventually(lambda: lines)
    assert lines == [("ingest", "['HOLTER_POD']")]


async def test_lines_come_whole_however_they_are_written(component, script, lines, eventually):
    code = """
    import sys, time
    for part in ("half", " line\\n", "x" * 70_000, "\\nlast"):
        sys.stderr.write(part); sys.stderr.flush(); time.sleep(0.05)
    """
    one = component(script("ingest", code), backoff=lambda _: 3600.0)
    one.start()
    await eventually(lambda: one.state is State.BACKOFF)
    texts = [text for _, text in lines]
    assert texts[0] == "half line"
    assert texts[-1] == "last"
    assert "".join(texts[1:-1]) == "x" * 70_000, "an endless line is cut, and nothing of it is lost"


def test_an_exit_is_told_in_words():
    assert exit_in_words(3) == {"code": 3}
    assert exit_in_words(-signal.SIGKILL) == {"signal": "SIGKILL"}


async def test_a_killed_parent_takes_its_processes_along(script, eventually, alive):
    """The tether: the child of a killed parent gets SIGTERM from the kernel."""
    import asyncio

    child = script("child", "import time; time.sleep(600)")
    parent = script(
        "parent",
        f"""
        import asyncio, sys
        sys.path[:0] = {[p for p in __import__("sys").path if p]!r}
        from holter_operator.local.process import Process
        from holter_operator.local.specs import ProcessSpec
        class Register:
            def started(self, name, pid): print(pid, flush=True)
            def ended(self, pid): pass
        async def main():
            await (await Process.launch(ProcessSpec("child", {child.argv!r}), print, Register())).wait()
        asyncio.run(main())
        """,
    )
    process = await asyncio.create_subprocess_exec(*parent.argv, stdout=asyncio.subprocess.PIPE)
    pid = int(await process.stdout.readline())
    await eventually(lambda: b"child.py" in Path(f"/proc/{pid}/cmdline").read_bytes())
    await eventually(lambda: b"tether" not in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    await eventually(lambda: not alive(pid))
