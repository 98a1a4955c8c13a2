"""The onboarding guide's clients: compiled, held to the protocol's vectors, run against a real ingest."""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tests.machine import Machine

from holter import keys
from holter.alert import Kind
from holter.store.open import open_store

DOCS = Path(__file__).parents[2] / "docs"
CLIENTS = DOCS / "clients"
FLAGS = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Werror")
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def compiler():
    found = shutil.which("cc")
    if found is None:
        pytest.fail("cc is not on PATH: a C compiler is needed (Debian: apt-get install build-essential)")
    return found


@pytest.fixture
def machine(tmp_path):
    with Machine(tmp_path) as made:
        yield made


def stored(machine, device):
    """The samples, µV, and their chunks."""
    store = open_store(machine.store_url, layout="Chunks", writer="test")
    try:
        return store.read_span(device, 0, 2**62)
    finally:
        store.close()


def wait_for(look, seconds, what):
    until = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < until, what
        time.sleep(0.2)
    return found


VECTOR = """
#include <stdio.h>
#include "holter.h"
int main(void)
{
    uint8_t key[32], mac[32], out[HOLTER_HEADER + 10 + HOLTER_MAC];
    int16_t samples[5] = {0, 1, -1, 32767, -32768}, one[1] = {100};
    for (int i = 0; i < 32; i++) key[i] = (uint8_t)i;
    holter_hmac(key, "mac:wearable-1", 14, mac);
    for (int i = 0; i < 32; i++) printf("%02x", mac[i]);
    size_t n = holter_frame(out, mac, "wearable-1", 0, 7, 1760000000123456LL, 250000, samples, 5);
    printf("\\n");
    for (size_t i = 0; i < n; i++) printf("%02x", out[i]);
    holter_hmac(key, "mac:W.2_x", 9, mac);
    n = holter_frame(out, mac, "W.2_x", HOLTER_NO_T0 | HOLTER_LEAD_OFF, 4294967295u, 0, 128500, one, 1);
    printf("\\n");
    for (size_t i = 0; i < n; i++) printf("%02x", out[i]);
    printf("\\n");
    return 0;
}
"""


def test_frames_in_c_are_the_protocols_vectors(compiler, tmp_path):
    (tmp_path / "vector.c").write_text(VECTOR)
    subprocess.run(
        [compiler, *FLAGS, f"-I{CLIENTS}", "-o", tmp_path / "vector", tmp_path / "vector.c"], check=True, timeout=60
    )
    done = subprocess.run([tmp_path / "vector"], capture_output=True, text=True, check=True, timeout=10)
    told = set(re.findall(r"`([0-9a-f]{64,})`", (DOCS / "protocol.md").read_text()))
    assert len(done.stdout.split()) == 3
    assert set(done.stdout.split()) <= told


def test_the_c_client_from_its_first_frame_to_the_first_alert(compiler, machine, tmp_path):
    machine.start("ingest-0", "infer-0")
    subprocess.run([compiler, *FLAGS, "-o", tmp_path / "client", CLIENTS / "client.c", "-lm"], check=True, timeout=60)
    machine.wait_ready("ingest-0", "infer-0")
    secret = keys.mac_key(machine.key, "wearable-7").hex()
    command = [tmp_path / "client", "127.0.0.1", machine.ports["ingest-0"]["http"], "wearable-7", secret, 14, 8]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    chunks = wait_for(
        lambda: (c := stored(machine, "wearable-7")) and sum(len(x.samples) for x in c) == 14 * 250 and c, 20, "stored"
    )
    voltage = np.concatenate([chunk.samples for chunk in chunks[:8]])
    assert voltage.max() == pytest.approx(1200, abs=30)
    assert all(chunk.flags & 1 for chunk in chunks[8:])
    alert = wait_for(machine.alerts, 30, "an alert")[0]
    assert (alert.kind, alert.device_id) == (Kind.LEAD_OFF, "wearable-7")


def test_the_python_client_survives_an_ingest_that_goes_away(machine):
    machine.start("ingest-0")
    machine.wait_ready("ingest-0")
    url = f"http://127.0.0.1:{machine.ports['ingest-0']['http']}/ingest"
    command = [sys.executable, CLIENTS / "client.py", url, "wearable-8", keys.bearer(machine.key, "wearable-8"), "8"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: stored(machine, "wearable-8"), 20, "the first second")
    machine.kill("ingest-0")
    time.sleep(2)
    machine.start("ingest-0")
    machine.wait_ready("ingest-0")
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")
    chunks = wait_for(
        lambda: (c := stored(machine, "wearable-8")) and sum(len(x.samples) for x in c) == 8 * 250 and c,
        20,
        "all of it",
    )
    assert len({chunk.t0 for chunk in chunks}) == 8


def test_what_a_wrong_token_sends_is_kept_and_the_reason_told(machine):
    machine.start("ingest-0")
    machine.wait_ready("ingest-0")
    url = f"http://127.0.0.1:{machine.ports['ingest-0']['http']}/ingest"
    command = [sys.executable, CLIENTS / "client.py", url, "wearable-9", "wrong", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0
    said = done.stderr.splitlines()
    assert len(said) == 2, "nothing was dropped, so each second asked again for the first"
    assert all(line.startswith("403 ") and "is not this device's token" in line for line in said)
    assert stored(machine, "wearable-9") == ()
