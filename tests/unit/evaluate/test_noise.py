import numpy as np
import pytest

from holter.evaluate import noise as noises
from holter.evaluate.noise import Noise, add, gain, noisy, qrs_amplitude, rms, trimmed_mean

FS = 250.0


@pytest.fixture
def clean():
    """900 s of spikes of 2 mV each second, the first beat in every ten of 6 mV."""
    signal = np.zeros(int(900 * FS))
    at = np.arange(1, 899)
    signal[(at * FS).astype(int)] = np.where(at % 20 == 0, 6.0, 2.0)
    return signal


@pytest.fixture
def labelled(reference):
    return reference([(float(t), "V" if t % 20 == 0 else "N") for t in range(1, 899)])


def test_noise_alternates_by_two_minutes_after_five():
    assert [(s.start, s.end) for s in noisy(900)] == [(300, 420), (540, 660), (780, 900)]
    assert [(s.start, s.end) for s in noisy(350)] == [(300, 350)]
    assert noisy(300) == ()


def test_amplitude_is_that_of_normal_beats(clean, labelled, reference):
    assert qrs_amplitude(clean, FS, labelled) == pytest.approx(2.0)
    # Without labels: peak to peak of whole seconds; one in twenty is 6 mV, and the outer twentieths do not count.
    assert qrs_amplitude(clean, FS, reference()) == pytest.approx(2.0)


def test_trimmed_mean():
    values = np.concatenate([np.full(90, 1.0), np.full(5, 100.0), np.full(5, -100.0)])
    assert trimmed_mean(values) == 1.0
    assert trimmed_mean(np.array([1.0, 3.0])) == 2.0


@pytest.mark.parametrize("snr", [12.0, 6.0, 0.0, -6.0])
def test_snr_is_signal_power_by_noise_power(snr):
    amplitude, level = 1.7, 0.3
    scaled = level * gain(amplitude, level, snr)
    assert 10 * np.log10(amplitude**2 / 8 / scaled**2) == pytest.approx(snr)


@pytest.mark.parametrize("fs", [250.0, 360.0])
def test_added_noise_has_the_asked_power_where_it_is_and_there_only(clean, labelled, fs):
    rng = np.random.default_rng(1)
    t = np.arange(int(200 * fs)) / fs
    hum = np.sin(2 * np.pi * 7 * t) * 5 + 3 + 0.01 * rng.normal(size=len(t))  # an offset that must not come through
    mixed = add(clean, FS, labelled, Noise(hum, fs, 6.0))
    added = mixed - clean
    on = np.zeros(len(clean), bool)
    for span in noisy(900):
        on[int(span.start * FS) : int(span.end * FS)] = True
    assert not added[~on].any()
    assert added[on].mean() == pytest.approx(0.0, abs=1e-3)
    assert 10 * np.log10(2.0**2 / 8 / added[on].var()) == pytest.approx(6.0, abs=0.1)


def test_what_was_not_recorded_stays_so(clean, labelled):
    clean[int(310 * FS) : int(320 * FS)] = np.nan
    mixed = add(clean, FS, labelled, Noise(np.random.default_rng(2).normal(size=100_000), FS, 0.0))
    assert np.isnan(mixed).sum() == 10 * FS
    with pytest.raises(ValueError, match="QRS amplitude"):
        add(np.full(100_000, np.nan), FS, labelled, Noise(np.ones(1000), FS, 0.0))


def test_rms_is_about_each_seconds_own_mean():
    t = np.arange(int(20 * FS))
    assert rms(np.floor(t / FS), FS) == 0.0
    assert rms(np.where(t % 2, 1.0, -1.0), FS) == pytest.approx(1.0)


def test_a_noise_record_gives_its_last_channel(tmp_path, write_record):
    path = write_record(tmp_path, "n", "resting", seconds=20)
    assert noises.read(path, 6.0).snr == 6.0
    assert np.array_equal(noises.read(path, 6.0).millivolts, noises.read(path, 6.0, "0").millivolts)
