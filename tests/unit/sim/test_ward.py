from itertools import islice

import numpy as np
import orjson
import pytest
from scipy.signal import butter, sosfiltfilt, welch

from holter.alert import TECHNICAL, Kind, Priority
from holter.chunk import LEAD_OFF, MICROSECONDS
from holter.sim.electrode import RAIL, LooseLead
from holter.sim.scenario import SCENARIOS
from holter.sim.ward import DEMO, EXPECTATIONS, MIX, mix, ward, write_truths

FS = 250
ONSET = 20.0
BASE = 1_750_000_000 * MICROSECONDS


def bed(rhythm, seed=1, fs=FS):
    return ward([rhythm], base=BASE, onset=ONSET, seed=seed, fs=fs)[0]


def changes(bed):
    """Stream second at which the rhythm changes."""
    return (bed.truth.onset - bed.base) / MICROSECONDS


def band(x, low, high, fs=FS):
    return sosfiltfilt(butter(2, (low, high), "band", fs=fs, output="sos"), x)


def before_and_after(rhythm, seed, seconds=20):
    found = bed(rhythm, seed)
    at = round(changes(found) * FS)
    x = found.patient.block(ONSET + 4 + seconds) / 1000
    return x[: at - FS], x[at + FS : at + FS * seconds]


@pytest.mark.parametrize("rhythm", SCENARIOS)
def test_the_stream_is_the_same_in_any_blocks_and_by_seed(rhythm):
    whole = bed(rhythm).patient.block(40)
    assert whole.dtype == np.int16
    pieces = bed(rhythm).patient
    cut = np.concatenate([pieces.block(s) for s in (1, 1, 0.4, 0.004, 2.596, 20, 5, 10)])
    assert np.array_equal(whole, cut)
    chunks = np.concatenate([c.samples for c in islice(bed(rhythm).patient.chunks(BASE), 40)])
    assert np.array_equal(whole, chunks)
    assert not np.array_equal(whole[: 10 * FS], bed(rhythm, seed=2).patient.block(10))


def test_a_patient_does_not_depend_on_the_others():
    alone = ward(["resting", "pvcs"], base=BASE, onset=ONSET)[1].patient.block(5)
    among = ward(["resting", "pvcs", "vt", "af"], base=BASE, onset=ONSET)[1].patient.block(5)
    assert np.array_equal(alone, among)


def test_chunks_follow_each_other_on_the_devices_clock():
    found = bed("resting", fs=360)
    chunks = list(islice(found.patient.chunks(found.base), 5))
    assert BASE <= chunks[0].t0 < BASE + MICROSECONDS
    assert [c.seq for c in chunks] == [0, 1, 2, 3, 4]
    assert [c.end for c in chunks[:-1]] == [c.t0 for c in chunks[1:]]
    assert all(len(c.samples) == 360 and c.fs == 360 for c in chunks)


@pytest.mark.parametrize("seed", range(6))
def test_a_resting_recording_looks_like_one(seed):
    x = bed("resting", seed).patient.block(60) / 1000
    qrs = np.abs(band(x, 6, 25))
    peaks = np.flatnonzero((qrs[1:-1] > qrs[:-2]) & (qrs[1:-1] >= qrs[2:]) & (qrs[1:-1] > 0.5 * qrs.max()))
    beats = peaks[np.diff(peaks, prepend=-FS) > 0.3 * FS]
    assert 58 <= len(beats) <= 83
    assert 0.6 < np.median([np.ptp(x[max(b - 20, 0) : b + 20]) for b in beats]) < 1.8
    # Quietest fifth of 200-ms pieces above 15 Hz: noise between beats, 5..30 µV rms.
    high = band(x, 15, 100)[: 60 * FS].reshape(-1, 50)
    noise = np.quantile(np.sqrt(np.mean(high**2, axis=1)), 0.2)
    assert 0.004 < noise < 0.03
    wander = sosfiltfilt(butter(2, 0.5, fs=FS, output="sos"), x)
    assert 0.02 < wander.std() < 0.25


@pytest.mark.parametrize("seed", range(6))
def test_ventricular_tachycardia_is_wide_and_fast(seed):
    quiet, sick = before_and_after("vt", seed)
    frequency, power = welch(sick, FS, nperseg=8 * FS)
    low = (frequency > 1.5) & (frequency < 8)
    fundamental = frequency[low][np.argmax(power[low])]
    # 170–190/min, or its second harmonic.
    assert min(abs(fundamental - 3), abs(fundamental - 6)) < 0.4

    def high_share(x):
        f, p = welch(x, FS, nperseg=4 * FS)
        return p[(f > 12) & (f < 40)].sum() / p[(f > 1) & (f < 40)].sum()

    assert high_share(sick) < 0.25 * high_share(quiet)


@pytest.mark.parametrize("seed", range(6))
def test_ventricular_fibrillation_dominates_after_its_onset(seed):
    _, sick = before_and_after("vf", seed)
    frequency, power = welch(band(sick, 1, 30), FS, nperseg=4 * FS)
    assert 3 < frequency[np.argmax(power)] < 7
    assert np.ptp(sick[: 4 * FS]) > 0.4


@pytest.mark.parametrize("seed", range(10))
def test_asystole_is_quiet_but_not_constant(seed):
    found = bed("asystole", seed)
    at = round((changes(found) + 1) * FS)  # the last beat's T wave ends
    x = found.patient.block(60)[at:] / 1000
    windows = band(x, 1, 30)[FS:-FS]
    windows = windows[: len(windows) // (4 * FS) * 4 * FS].reshape(-1, 4 * FS)
    assert np.ptp(windows, axis=1).max() < 0.1
    raw = x[: len(x) // (4 * FS) * 4 * FS].reshape(-1, 4 * FS)
    assert np.ptp(raw, axis=1).max() < 0.15
    seconds = x[: len(x) // FS * FS].reshape(-1, FS)
    assert np.ptp(seconds, axis=1).min() > 0.015
    assert (np.diff(seconds, axis=1) == 0).mean(axis=1).max() < 0.5


@pytest.mark.parametrize("seed", range(4))
def test_a_runner_speeds_up_and_gets_noisy(seed):
    x = bed("running", seed).patient.block(140) / 1000
    rest, run = x[: 15 * FS], x[-20 * FS :]
    frequency, power = welch(band(run, 5, 30) ** 2, FS, nperseg=8 * FS)
    beat = (frequency > 0.8) & (frequency < 4)
    assert frequency[beat][np.argmax(power[beat])] * 60 == pytest.approx(180, abs=8)
    assert band(run, 40, 100).std() > 1.5 * band(rest, 40, 100).std()


@pytest.mark.parametrize("seed", range(4))
def test_a_loose_lead_is_constant_most_of_the_time(seed):
    found = bed("loose-lead", seed)
    at = round((changes(found) + 1) * FS)
    x = found.patient.block(200)[at:]
    seconds = x[: len(x) // FS * FS].reshape(-1, FS)
    constant = (np.diff(seconds, axis=1) == 0).mean(axis=1) > 0.9
    assert constant.mean() > 0.7
    assert constant[:10].all()


def test_only_the_device_that_can_says_that_its_lead_is_off():
    flags = {
        rhythm: [c.flags for c in islice(bed(rhythm).patient.chunks(BASE), 60)]
        for rhythm in ("loose-lead", "loose-lead-flag")
    }
    assert set(flags["loose-lead"]) == {0}
    assert set(flags["loose-lead-flag"][:19]) == {0}
    assert flags["loose-lead-flag"][25:32] == [LEAD_OFF] * 7


def test_an_open_electrode_shows_every_kind_of_nothing():
    lead, seen = LooseLead(np.random.default_rng(1), 5.0), set()
    for second in range(600):
        out, off = lead(second + np.arange(FS) / FS, np.full(FS, 0.123))
        seen |= {"on"} if not off else {"rail"} if np.ptp(out) == 0 and abs(out[0]) == RAIL else set()
        seen |= {"zeros"} if not out.any() else set()
        seen |= {"flat"} if 0 < np.ptp(out) < 0.02 else set()
    assert seen == {"on", "rail", "zeros", "flat"}


def test_mains_drowns_the_heart():
    _, x = before_and_after("mains", 1)
    assert band(x, 45, 55).std() > 3 * band(x, 1, 30).std()


def test_noise_covers_the_heart_now_and_then():
    quiet, x = before_and_after("noise", 1, seconds=60)
    strength = band(x, 25, 100)[: len(x) // FS * FS].reshape(-1, FS).std(axis=1)
    assert np.quantile(strength, 0.95) > 5 * band(quiet, 25, 100).std()


def test_the_demo_ward_is_as_the_contract_says():
    beds = ward(DEMO, base=BASE, onset=30.0)
    assert [b.truth.rhythm for b in beds] == [
        "resting", "resting", "running", "pvcs", "vt", "vf", "asystole", "loose-lead",
    ]  # fmt: skip
    for b in beds:
        truth = b.truth
        if truth.rhythm in ("vt", "vf", "asystole"):
            assert truth.priorities == (Priority.HIGH,)
            assert truth.latest == 10
            assert 30 <= (truth.onset - b.base) / MICROSECONDS <= 33
        if truth.rhythm in ("resting", "running"):
            assert truth.expected == truth.tolerated == ()
        if truth.rhythm == "pvcs":
            assert Priority.HIGH not in truth.priorities
            assert Kind.ECTOPY in truth.expected
        if truth.rhythm == "loose-lead":
            assert set(truth.expected) <= TECHNICAL
    assert len({b.truth.device_id for b in beds}) == len(beds)


def test_every_scenario_has_an_expectation():
    assert EXPECTATIONS.keys() == SCENARIOS.keys()


@pytest.mark.parametrize("n", [1, 8, 9, 45])
def test_a_ward_of_any_size(n):
    rhythms = mix(n)
    assert len(rhythms) == n
    assert rhythms == list((DEMO if n <= 8 else MIX * 3)[:n])


def test_an_unknown_rhythm_is_named():
    with pytest.raises(ValueError, match="'hiccups' is unknown; one of resting, "):
        ward(["hiccups"], base=0, onset=1)


def test_truths_are_written_for_other_programs(tmp_path):
    beds = ward(["vt", "resting"], base=BASE, onset=ONSET)
    write_truths(tmp_path / "truth.json", beds, BASE + 5)
    document = orjson.loads((tmp_path / "truth.json").read_bytes())
    assert document["live"] == BASE + 5
    assert document["truths"][0] == {
        "device_id": "bed01-vt",
        "rhythm": "vt",
        "onset": beds[0].truth.onset,
        "expected": ["ventricular_tachycardia", "ventricular_fibrillation"],
        "priorities": ["high"],
        "latest": 10.0,
        "tolerated": [
            "ventricular_run", "tachycardia", "extreme_tachycardia", "ectopy", "anomaly", "irregular_rhythm",
        ],
    }  # fmt: skip
    assert document["truths"][1]["onset"] is None
    assert [p.name for p in tmp_path.iterdir()] == ["truth.json"]
