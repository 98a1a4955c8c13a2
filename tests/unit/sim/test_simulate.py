import json
import re
import signal
import time
from base64 import urlsafe_b64encode

import pytest
from click.testing import CliRunner

from holter.chunk import MICROSECONDS
from holter.sim import running
from holter.sim.main import simulate


@pytest.fixture
def keys(tmp_path, device_key):
    (tmp_path / "current").write_bytes(urlsafe_b64encode(device_key))
    return str(tmp_path)


def run(*arguments):
    return CliRunner().invoke(simulate, arguments)


@pytest.mark.parametrize("transport", ["http", "binary", "websocket"])
def test_history_and_present_are_sent_and_the_truth_is_told(transport, served, keys, tmp_path):
    truth = tmp_path / "truth.json"
    before = time.time()
    result = run(
        "--rhythm", "vt", "--rhythm", "resting", "--url", served.url, "--keys", keys, "--transport", transport,
        "--past", "20", "--duration", "10", "--speed", "50", "--onset", "4", "--truth", str(truth),
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    for device in ("bed01-vt", "bed02-resting"):
        # The devices' clocks are up to a second late, so the last chunk may be beyond the end.
        assert served.order(device) in (list(range(29)), list(range(30)))
    document = json.loads(truth.read_text())
    vt, resting = document["truths"]
    assert (vt["device_id"], vt["rhythm"], vt["expected"][0]) == ("bed01-vt", "vt", "ventricular_tachycardia")
    assert 4 <= (vt["onset"] - document["live"]) / MICROSECONDS <= 8
    assert resting["onset"] is None
    # At 50 times the speed the present begins so early that its end is the end of the run.
    assert document["live"] / MICROSECONDS + 10 == pytest.approx(before + 0.2, abs=5)


def test_ctrl_c_ends_it_and_says_what_was_left(served, keys, monkeypatch):
    monkeypatch.setattr(running, "_DRAIN_SECONDS", 0.05)
    served.faults.extend([(503, {"Retry-After": "600"})] * 9)
    served.received = lambda: signal.raise_signal(signal.SIGINT)
    result = run("--rhythm", "resting", "--url", served.url, "--keys", keys, "--past", "20")
    assert result.exit_code == 1
    assert re.search(
        r"0 chunks acknowledged.*\nError: ended before [1-9][0-9]* chunks were acknowledged", result.output
    )


def test_the_same_seed_sends_the_same_ward(served, keys):
    arguments = ["--patients", "3", "--url", served.url, "--keys", keys, "--duration", "3", "--speed", "50"]
    assert run(*arguments).exit_code == 0
    assert {device for device, _ in served.taken} == {"bed01-resting", "bed02-resting", "bed03-running"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--patients", "2", "--rhythm", "vt"], "exclude each other"),
        (["--speed", "2"], "needs --duration"),
        (["--rhythm", "hiccups"], "'hiccups' is not one of"),
        (["--transport", "udp"], "needs --udp HOST:PORT"),
    ],
)
def test_options_that_make_no_sense(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.output
