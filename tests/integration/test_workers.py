"""Workers that come, go, freeze and crash under load, on a real InfluxDB: nobody is without one for long.

Sizes: HOLTER_PATIENTS (200), HOLTER_KILLS (3), HOLTER_OUTAGE seconds (45). At full size: 2000, 10, 600.
"""

import os
import random
import signal
import time

import pytest
from tests.integration.streaming import Gate, Watch

from holter.bench.bucket import NoInfluxError, own_bucket
from holter.bench.players import Plan
from holter.bench.running import key_of, play
from holter.bench.services import Services
from holter.chunk import MICROSECONDS
from holter.signal.features import LOOKAHEAD

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]
PATIENTS = int(os.environ.get("HOLTER_PATIENTS") or 200)
KILLS = int(os.environ.get("HOLTER_KILLS") or 3)
OUTAGE = float(os.environ.get("HOLTER_OUTAGE") or 45)
FRESH = 3.0
"""Seconds that a claim is believed: a shard counts as without a worker so much later than it is."""
HALF_SAMPLE = 2_000
"""µs"""
RHYTHMS = (*("resting",) * 23, "vt")
VT = "ventricular_tachycardia"
LETHAL = {VT, "ventricular_fibrillation"}


@pytest.fixture
def influx():
    try:
        with own_bucket() as influx:
            yield influx
    except NoInfluxError as error:
        pytest.skip(str(error).partition("\n")[0])


def services_of(folder, influx, receiver, **more):
    hooks = [{"name": "ward", "url": receiver.url}]
    store = influx.secret(folder / "influxdb")
    services = Services(folder, store, patients=PATIENTS, inference={"webhooks": hooks}, **more)
    services.frozen = set()
    return services


def plan(services, seconds, **more):
    ports = tuple(services.ports[name]["http"] for name in services.ingest_names)
    return Plan(
        "websocket", ports, key_of(services), PATIENTS, seconds,
        **{"connections": 4, "rhythms": RHYTHMS, "onset": 20.0, "patience": 120.0, **more},
    )  # fmt: skip


def finish(services, running, receiver):
    """All is sent, stored and scored."""
    sent = running.wait()
    assert sent.acknowledged == sent.chunks == PATIENTS * running.plan.seconds
    assert services.wait_stored(*services.ingest_names)
    time.sleep(8)
    return sent


def revisions(influx, since):
    return influx.count_by_device("ecg_score", "revision", since)


def assert_windows(influx, sent, prefix, seconds):
    scored, wrong = revisions(influx, sent.base - MICROSECONDS), {}
    for i in range(PATIENTS):
        t0 = sent.base + i * MICROSECONDS // PATIENTS
        wanted = ends(t0, t0 + seconds * MICROSECONDS)
        device_id = f"{prefix}-{i:06d}"
        if scored.get(device_id, 0) != len(wanted):
            found = {time // MICROSECONDS for time in influx.times("ecg_score", "revision", device_id)}
            # A second that lacks less than half a sample is whole, or not.
            more = found - ends(t0 - HALF_SAMPLE, t0 + seconds * MICROSECONDS + HALF_SAMPLE)
            if wanted - found or more:
                start = t0 // MICROSECONDS
                wrong[device_id] = {"lacks": [e - start for e in wanted - found], "more": [e - start for e in more]}
    assert wrong == {}, f"of {PATIENTS} patients {len(wrong)} lack windows or have more: seconds after their first"


def ends(start, stop):
    """Of the windows that a device has which sends from `start` to `stop`, µs; in seconds."""
    first, last = -(-start // MICROSECONDS), stop // MICROSECONDS
    return {end for end in range(first + 10, last + 1 - LOOKAHEAD) if end % 5 == 0}


def assert_chunks(influx, sent, prefix, seconds):
    counts = influx.count_by_device("ecg_chunk", "n", sent.base - MICROSECONDS)
    mine = {device: n for device, n in counts.items() if device.startswith(f"{prefix}-")}
    assert len(mine) == PATIENTS
    assert set(mine.values()) == {seconds}, "sent = stored, each once"


def assert_sick_told(receiver, prefix):
    told = {b["device_id"] for _, b in receiver.once() if b["event"] == "raised" and b["kind"] in LETHAL}
    sick = {f"{prefix}-{i:06d}" for i in range(PATIENTS) if RHYTHMS[i % 48 % len(RHYTHMS)] == "vt"}
    assert sick <= told, f"{len(sick - told)} of {len(sick)} sick patients were not told of"


def test_one_worker_becomes_three_then_two_and_one_of_them_freezes(tmp_path, influx, receiver):
    seconds = 100
    with services_of(tmp_path / "s", influx, receiver, workers=3) as services:
        hooks = [{"name": "ward", "url": receiver.url}]
        services.configure_inference(replicas=1, webhooks=hooks)
        services.start("ingest-0", "infer-0")
        services.wait_ready("ingest-0", "infer-0")
        watch = Watch(services)
        watch.start()
        running = play(plan(services, seconds, prefix="shards"))
        time.sleep(15)
        services.configure_inference(replicas=3, webhooks=hooks)
        services.start("infer-1", "infer-2")
        time.sleep(30)
        services.configure_inference(replicas=2, webhooks=hooks)
        time.sleep(5)  # as a StatefulSet scales down: the configuration is there first, or just after
        services.stop("infer-2")
        time.sleep(10)
        services.frozen.add("infer-1")
        services.processes["infer-1"].send_signal(signal.SIGSTOP)
        time.sleep(15)
        services.processes["infer-1"].send_signal(signal.SIGCONT)
        time.sleep(2)
        services.frozen.clear()
        sent = finish(services, running, receiver)
        watch.ended.set()
        watch.join()
        services.stop("infer-0", "infer-1", "ingest-0")
        print(f"unowned, as told: {watch.stretches} s; longest {watch.longest + FRESH:.1f} s")  # noqa: T201
    assert_chunks(influx, sent, "shards", seconds)
    assert_windows(influx, sent, "shards", seconds)
    receiver.assert_each_alert_once()
    assert_sick_told(receiver, "shards")
    assert watch.longest + FRESH <= 6.0, f"a shard was without a worker for {watch.longest + FRESH:.1f} s"


def test_a_worker_that_is_killed_again_and_again_loses_nothing_and_repeats_nothing(tmp_path, influx, receiver):
    rng, seconds = random.Random(7), 25 + 12 * KILLS
    with services_of(tmp_path / "s", influx, receiver) as services:
        services.start("ingest-0", "infer-0")
        services.wait_ready("ingest-0", "infer-0")
        running = play(plan(services, seconds, prefix="kills"))
        time.sleep(15)
        for _ in range(KILLS):
            time.sleep(rng.uniform(1, 9))
            services.kill("infer-0")
            services.start("infer-0")
        services.wait_ready("infer-0")
        sent = finish(services, running, receiver)
        time.sleep(10)
        services.stop("infer-0", "ingest-0")
    assert_chunks(influx, sent, "kills", seconds)
    assert_windows(influx, sent, "kills", seconds)
    receiver.assert_each_alert_once()
    assert_sick_told(receiver, "kills")


def test_influxdb_is_dead_for_long_and_a_tachycardia_that_begins_meanwhile_is_told_within_10_s(
    tmp_path, influx, receiver
):
    seconds = round(30 + OUTAGE + 30)
    with Gate(influx.url) as gate, services_of(tmp_path / "s", influx, receiver) as services:
        (tmp_path / "s/influxdb/url").write_text(gate.url)
        services.start("ingest-0", "infer-0")
        services.wait_ready("ingest-0", "infer-0")
        # The rhythm of the sick changes 40 s after the beginning of each minute; the first is in the outage.
        running = play(plan(services, seconds, prefix="outage", onset=40.0))
        time.sleep(25)
        gate.shut()
        shut = time.time()
        time.sleep(OUTAGE)
        told = {d: at for kind in LETHAL for d, at in receiver.raised(kind).items()}
        stored = influx.count("ecg_chunk", "n", round((shut + 5) * MICROSECONDS))
        gate.open()
        sent = finish(services, running, receiver)
        services.stop("infer-0", "ingest-0")
    assert stored == 0, "it was away"
    sick = [i for i in range(PATIENTS) if RHYTHMS[i % 48 % len(RHYTHMS)] == "vt"]
    late = {}
    for i in sick:
        phase = 7 * (i // 48) % 60  # patients of one template are at different places of it
        onset = sent.base / MICROSECONDS + i / PATIENTS + (40 - phase) % 60
        if not shut <= onset <= shut + OUTAGE - 15:
            continue
        at = told.get(f"outage-{i:06d}")
        if at is None or at - onset > 3 + 10 + 1:  # the simulator's onset is up to 3 s later; a second until it is sent
            late[i] = None if at is None else round(at - onset, 1)
    assert late == {}, "told within 10 s"
    assert_chunks(influx, sent, "outage", seconds)
    assert_windows(influx, sent, "outage", seconds)
    receiver.assert_each_alert_once()
    alerts = influx.count_by_device("ecg_alert", "id", 0)
    assert set(told) <= alerts.keys(), "what was told is in InfluxDB"
