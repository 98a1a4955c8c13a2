"""Runs in a pod, as a device, a nurse and a Prometheus would: `python toolbox.py COMMAND ARGUMENT…`.

It talks to a cohort through its Services alone, so that this works on whatever cluster.
"""

import csv
import json
import sys
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np

from holter.chunk import MICROSECONDS, Chunk
from holter.keys import load
from holter.sim.endpoints import Target
from holter.sim.running import send
from holter.sim.sender import Schedule


def replay(transport, host, speed, file):
    """Send the recordings of an .npz file (`<device>`: int16 µV, `<device>.fs`: Hz), so that their end is now."""
    with np.load(file) as content:
        recordings = {name: content[name] for name in content.files if not name.endswith(".fs")}
        rates = {name: float(content[f"{name}.fs"]) for name in recordings}
    longest = max(len(samples) / rates[name] for name, samples in recordings.items())
    now, speed = time.time(), float(speed)
    base = round((now - longest * (1 - 1 / speed)) * MICROSECONDS)

    def chunks(name):
        n = int(rates[name])
        for seq, first in enumerate(range(0, len(recordings[name]), n)):
            t0 = base + round(first * MICROSECONDS / rates[name])
            yield Chunk(name, t0, rates[name], recordings[name][first : first + n], seq)

    target = Target(transport, f"http://{host}:8080", (host, 8081), load(Path("/keys")).current, None)
    counts = send(map(chunks, recordings), Schedule(now, base, speed), target, lanes=4, jitter=lambda: 0.0)
    return {"acknowledged": counts.acknowledged, "refused": counts.refused, "waiting": counts.waiting}


def flux(folder, query):
    """Rows of a query, as the connection in this folder may read them."""
    url, org, token = (Path(folder, name).read_text().strip() for name in ("url", "org", "token"))
    headers = {"Authorization": f"Token {token}", "Content-Type": "application/vnd.flux", "Accept": "application/csv"}
    with urlopen(Request(f"{url}/api/v2/query?org={org}", query.encode(), headers), timeout=30) as answer:
        tables = answer.read().decode().replace("\r\n", "\n").split("\n\n")
    return [row for table in tables for row in csv.DictReader(table.splitlines())]


def influxdb(path):
    """What InfluxDB's API answers to the operator's own connection, which comes as JSON on standard input."""
    connection = json.load(sys.stdin)
    request = Request(connection["url"] + path, headers={"Authorization": f"Token {connection['token']}"})
    with urlopen(request, timeout=30) as answer:
        return json.load(answer)


def post(url, device, token):
    """The status that a device's first samples are answered with."""
    body = json.dumps({"device_id": device, "samples": [0.01, 0.02, 0.4, 1.1, 0.3]}).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        with urlopen(Request(url, body, headers), timeout=10) as answer:
            return answer.status
    except HTTPError as error:
        return error.code


def acknowledge(url, token):
    """The status that a nurse's acknowledgement is answered with."""
    body = json.dumps({"by": "a nurse", "reason": "at the bedside"}).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    with urlopen(Request(url, body, headers), timeout=10) as answer:
        return answer.status


def get(url):
    """The text at a URL."""
    with urlopen(url, timeout=10) as answer:
        return answer.read().decode()


COMMANDS = {each.__name__: each for each in (replay, flux, influxdb, post, acknowledge, get)}

if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    sys.stdout.write(json.dumps(COMMANDS[command](*arguments)))
