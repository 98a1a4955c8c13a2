import json
import warnings
from base64 import urlsafe_b64encode
from itertools import pairwise

import numpy as np
import pytest
from click.testing import CliRunner

from holter.alert import AlertEvent, Kind, Priority, Transition
from holter.chunk import MICROSECONDS
from holter.sim.annotations import Episode
from holter.sim.recording import RecordError, device_id, read
from holter.sim.replay import replay, start_of
from holter.store.sqlite import SqliteStore

BASE = 1_750_000_000 * MICROSECONDS
FS = 360


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """12 s at 360 Hz: V5 a ramp, MLII a sine with half a second that was not recorded."""
    folder = tmp_path_factory.mktemp("records")
    t = np.arange(12 * FS) / FS
    mlii = np.sin(2 * np.pi * t)
    mlii[round(2.25 * FS) : round(2.75 * FS)] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import wfdb

        wfdb.wrsamp(
            "r1", fs=FS, units=["mV", "mV"], sig_name=["V5", "MLII"], p_signal=np.stack([t / 10, mlii], axis=1),
            fmt=["16", "16"], adc_gain=[200.0, 1000.0], baseline=[0, 0], write_dir=str(folder),
        )  # fmt: skip
        at = np.array([0.1, 1, 4, 4.3, 4.6, 6, 8, 10])
        wfdb.wrann(
            "r1", "atr", (at * FS).round().astype(int), symbol=["+", "N", "V", "V", "V", "N", "+", "V"],
            aux_note=["(N", "", "", "", "", "", "(VF", ""], write_dir=str(folder),
        )  # fmt: skip
    return folder / "r1"


def test_a_record_is_read_in_millivolts_with_its_annotations(record):
    found = read(record)
    assert (found.lead, found.fs, found.start, found.seconds) == ("MLII", 360.0, 0.0, 12.0)
    t = np.arange(12 * FS) / FS
    assert np.nanmax(np.abs(found.millivolts - np.sin(2 * np.pi * t))) < 0.001
    assert np.isnan(found.millivolts).sum() == round(0.5 * FS)
    assert found.annotations.beats == {"N": 2, "V": 4}
    assert [(e.label, round(e.start, 1), round(e.end, 1)) for e in found.annotations.episodes] == [
        ("run of 3 V", 4.0, 4.6),
        ("VF", 8.0, 12.0),
    ]


def test_a_stretch_of_another_channel(record):
    found = read(record, channel="0", start=6, seconds=3)
    assert (found.lead, found.start, found.seconds) == ("V5", 6.0, 3.0)
    assert found.millivolts[0] == pytest.approx(0.6, abs=0.005)
    assert found.annotations.episodes == (Episode("VF", 8.0, 9.0),)
    assert read(record, channel="V5").lead == "V5"


def test_chunks_are_at_most_a_second_and_gaps_stay_gaps(record):
    chunks = list(read(record).chunks("d", BASE))
    assert len(chunks) == 13
    assert [c.seq for c in chunks] == list(range(13))
    assert max(len(c.samples) for c in chunks) == FS
    assert sum(len(c.samples) for c in chunks) == 12 * FS - round(0.5 * FS)
    assert chunks[2].end == BASE + 2_250_000
    assert chunks[3].t0 == BASE + 2_750_000
    joined = [b.t0 - a.end for a, b in pairwise(chunks)]
    assert joined == [0, 0, 500_000, *[0] * 9]
    assert chunks[0].samples[FS // 4] == pytest.approx(1000, abs=1)


def test_the_grid_does_not_depend_on_the_base(record):
    one, two = (list(read(record).chunks("d", base)) for base in (BASE, BASE + 123_456_789))
    assert [c.t0 + 123_456_789 for c in one] == [c.t0 for c in two]
    assert all(np.array_equal(a.samples, b.samples) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channel": "aVL"}, r"no channel 'aVL'; there are V5, MLII, or 0\.\.1"),
        ({"channel": "2"}, "no channel '2'"),
        ({"start": 12.5}, "beyond its end at 12 s"),
    ],
)
def test_what_a_record_does_not_hold_is_named(record, options, message):
    with pytest.raises(RecordError, match=message):
        read(record, **options)


def test_a_record_that_is_not_there(tmp_path):
    with pytest.raises(RecordError, match="no such record"):
        read(tmp_path / "r2")


def test_device_ids_of_records():
    assert device_id("ward-", "a b/208") == "ward-a-b-208"
    with pytest.raises(RecordError, match="shorter --device-prefix"):
        device_id("x" * 30, "208")


@pytest.mark.parametrize("speed", [0.5, 1, 10, 20])
def test_no_sample_is_sent_before_its_time(speed):
    now, seconds = 2_000_000_000.0, 1800.0
    start = start_of(seconds, speed, now)
    for record_time in (0, 600, 1800):
        wall = now + record_time / speed
        assert start / MICROSECONDS + record_time <= wall + 1e-6
    if speed >= 1:
        assert start / MICROSECONDS + seconds == pytest.approx(now + seconds / speed)


@pytest.fixture
def state(tmp_path, device_key):
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "current").write_bytes(urlsafe_b64encode(device_key))
    found = {"store": f"sqlite:{tmp_path / 'store.db'}", "device_keys": str(keys), "metrics": {}, "pid": 1}

    def write(**more):
        (tmp_path / "endpoints.json").write_text(json.dumps(found | more))
        return tmp_path

    return write


def test_the_command_sends_a_record_and_sets_alerts_beside_its_annotations(record, served, state, tmp_path):
    base = "2026-01-02T03:04:05"
    first = 1_767_323_045 * MICROSECONDS
    store = SqliteStore(tmp_path / "store.db")
    store.write_alert(
        AlertEvent(
            "a-0", "a", Transition.RAISED, "p-r1", Kind.VENTRICULAR_FIBRILLATION, Priority.HIGH,
            first + 8_500_000, first + 11_000_000, "coarse",
        )
    )  # fmt: skip
    other = AlertEvent(
        "b-0", "b", Transition.RAISED, "somebody", Kind.ASYSTOLE, Priority.HIGH, first, first + 4_000_000, "x"
    )
    store.write_alert(other)
    store.close()
    arguments = [str(record), "--state", str(state(ingest=served.url)), "--speed", "200", "--base", base]
    result = _run([*arguments, "--device-prefix", "p-", "--settle", "0"])
    assert result.exit_code == 0, result.output
    assert served.order("p-r1") == list(range(13))
    assert "p-r1: r1 MLII, 360 Hz, 0:00.0 to 0:12.0" in result.output
    assert "  VF               0:08.0   0:12.0   high ventricular_fibrillation +3.0 s" in result.output
    assert "VF: 1 annotated, 1 with a physiological alert, 1 of them high" in result.output
    assert "asystole" not in result.output
    assert "13 chunks acknowledged, 0 refused" in result.output


def test_the_command_says_what_was_refused(record, served, state):
    served.faults.append((400, {}))
    arguments = [str(record), "--state", str(state(ingest=served.url, store=None)), "--speed", "200"]
    result = _run(arguments)
    assert result.exit_code == 1
    assert "refused; the last: " in result.output


def test_the_command_ends_when_the_key_is_wrong(record, served, state):
    served.faults.extend([(401, {})] * 4)
    result = _run([str(record), "--state", str(state(ingest=served.url)), "--speed", "200"])
    assert result.exit_code == 1
    assert "401" in result.output
    assert "device key?" in result.output


def _run(arguments):
    return CliRunner().invoke(replay, arguments)


def test_wrong_options_are_explained(record, tmp_path):
    runner = CliRunner()
    result = runner.invoke(replay, [str(record), "--state", str(tmp_path)])
    assert "endpoints.json" in result.output
    assert result.exit_code == 2
    result = runner.invoke(replay, [str(record), "--keys", str(tmp_path)])
    assert "a device key (base64url of 32 bytes) is expected" in result.output
    result = runner.invoke(replay, [str(record), "--transport", "udp"])
    assert "needs --udp HOST:PORT" in result.output
    result = runner.invoke(replay, [str(record), "--transport", "udp", "--udp", "8081"])
    assert "HOST:PORT is expected" in result.output
    result = runner.invoke(replay, [str(record), str(record)])
    assert "two records have the same name" in result.output
