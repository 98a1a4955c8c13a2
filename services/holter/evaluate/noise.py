"""Noise added as the Noise Stress Test does (Moody, Muldrow & Mark, Computers in Cardiology 1984;11:381).

Five minutes stay clean; then two minutes of noise and two without alternate to the end. With S the mean QRS amplitude,
peak to peak, and N the noise's RMS, SNR = 10 log10(S² / 8 / N²) dB, both measured as WFDB's `nst` and `sigamp` do: over
the first 300 normal beats (±50 ms) and the first 300 one-second pieces of noise, without the outer 5 % at either end.
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from holter.evaluate.reference import NORMAL, Reference
from holter.sim.annotations import Episode
from holter.sim.recording import read as read_recording

CLEAN_SECONDS, PERIOD_SECONDS = 300.0, 120.0
_MEASURED = 300
_TRIM = 20
_AROUND_QRS = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Noise:
    """What is added.

    Attributes:
        millivolts: shape (n,), float64, one channel of a noise record.
        fs: of it, Hz.
        snr: dB.
    """

    millivolts: NDArray[np.float64]
    fs: float
    snr: float


def read(path: Path, snr: float, channel: str | None = None) -> Noise:
    """Read a noise record.

    Args:
        path: of it, without extension.
        snr: dB.
        channel: name or number; None: its last one. (Constants of the detection were fitted with the first one.)

    Raises:
        RecordError: it is not there, or has no such channel.
    """
    if channel is None and path.with_name(f"{path.name}.hea").exists():
        import wfdb

        channel = str(wfdb.rdheader(str(path)).n_sig - 1)
    chosen = read_recording(path, channel=channel)
    return Noise(np.nan_to_num(chosen.millivolts), chosen.fs, snr)


def noisy(seconds: float) -> tuple[Episode, ...]:
    """The stretches of a record of this length that have noise added."""
    starts = np.arange(CLEAN_SECONDS, seconds, 2 * PERIOD_SECONDS)
    return tuple(Episode("noise added", float(t), min(float(t) + PERIOD_SECONDS, seconds)) for t in starts)


def trimmed_mean(values: NDArray[np.float64]) -> float:
    """The mean without the lowest and the highest twentieth."""
    cut = len(values) // _TRIM
    return float(np.sort(values)[cut : len(values) - cut].mean())


def qrs_amplitude(millivolts: NDArray[np.float64], fs: float, reference: Reference) -> float:
    """Mean peak to peak of normal QRS, mV; of whole seconds where no beat is annotated.

    Raises:
        ValueError: nothing was recorded there.
    """
    around = round(_AROUND_QRS * fs)
    beats = np.rint(reference.of(NORMAL) * fs).astype(int)
    beats = beats[(beats >= around) & (beats < len(millivolts) - around)][:_MEASURED]
    pieces = millivolts[beats[:, None] + np.arange(-around, around)] if len(beats) else _seconds(millivolts, fs)
    pieces = pieces[np.isfinite(pieces).all(axis=1)]
    if not len(pieces):
        raise ValueError("nothing recorded to measure the QRS amplitude of: noise of a given SNR cannot be added")
    return trimmed_mean(np.ptp(pieces, axis=1))


def rms(millivolts: NDArray[np.float64], fs: float) -> float:
    """Mean RMS of the first 300 seconds, each about its own mean, mV."""
    return trimmed_mean(_seconds(millivolts, fs).std(axis=1))


def gain(amplitude: float, noise_rms: float, snr: float) -> float:
    """What noise has to be multiplied by: (amplitude² / 8) / (gain · noise_rms)² = 10^(snr / 10)."""
    return float(amplitude / np.sqrt(8.0) / noise_rms / 10 ** (snr / 20))


def add(millivolts: NDArray[np.float64], fs: float, reference: Reference, noise: Noise) -> NDArray[np.float64]:
    """The record with noise in its noisy stretches; the noise runs beside the record and begins anew when it ends.

    Args:
        millivolts: shape (n,), float64, NaN where nothing was recorded.
        fs: of it, Hz.
        reference: tells where the QRS are.
        noise: see there.

    Raises:
        ValueError: there is no QRS amplitude to relate to.
    """
    ratio = Fraction(fs / noise.fs).limit_denominator(1000)
    other = noise.millivolts - noise.millivolts.mean()
    if ratio != 1:
        other = resample_poly(other, ratio.numerator, ratio.denominator)
    scale = gain(qrs_amplitude(millivolts, fs, reference), rms(other, fs), noise.snr)
    out = millivolts.copy()
    for span in noisy(len(millivolts) / fs):
        first, last = round(span.start * fs), round(span.end * fs)
        piece = other[np.arange(first, last) % len(other)]
        out[first:last] += scale * (piece - piece.mean())
    return out


def _seconds(millivolts: NDArray[np.float64], fs: float) -> NDArray[np.float64]:
    n = round(fs)
    count = min(len(millivolts) // n, _MEASURED)
    return millivolts[: count * n].reshape(count, n)
