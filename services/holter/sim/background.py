"""What is in a recording besides beats: noise, wander, motion, mains, and the hearts that no longer beat.

A layer is called with consecutive stretches of time and answers with millivolts; it keeps what it needs to go on
exactly.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

Floats = NDArray[np.float64]
Layer = Callable[[Floats], Floats]
"""Times in seconds, shape (n,), continuing those before → mV, shape (n,)."""

_SETTLE_SECONDS = 30
_AHEAD_SECONDS = 8


class ColouredNoise:
    """Gaussian noise of a given bandwidth and strength, endless and without seams.

    Args:
        rng: draws the samples.
        fs: sample rate, Hz.
        band: lower and upper corner in Hz; a lower corner of 0 is a low pass. The upper is kept below 0.45 fs.
        rms: in mV.
    """

    def __init__(self, rng: np.random.Generator, fs: float, band: tuple[float, float], rms: float) -> None:
        low, high = band[0], min(band[1], 0.45 * fs)
        self._sos = (
            butter(2, high, fs=fs, output="sos") if low <= 0 else butter(2, (low, high), "band", fs=fs, output="sos")
        )
        # A generator of its own: what another layer draws changes nothing here.
        self._rng = rng.spawn(1)[0]
        self._state = np.zeros((len(self._sos), 2))
        # White noise of variance 1 leaves a filter with the energy of its impulse response.
        impulse = np.zeros(int(_SETTLE_SECONDS * fs))
        impulse[0] = 1.0
        self._gain = rms / float(np.linalg.norm(sosfilt(self._sos, impulse)))
        self._draw(len(impulse))
        # A call of the filter costs far more than the samples of one second: draw ahead.
        self._ahead = int(_AHEAD_SECONDS * fs)
        self._buffer = np.empty(0, np.float32)

    def __call__(self, times: Floats) -> Floats:
        """Noise for as many samples as there are times."""
        n = len(times)
        if len(self._buffer) < n:
            self._buffer = np.concatenate([self._buffer, self._draw(max(n, self._ahead))])
        noise, self._buffer = self._buffer[:n], self._buffer[n:]
        return noise.astype(np.float64)

    def _draw(self, n: int) -> NDArray[np.float32]:
        filtered, self._state = sosfilt(self._sos, self._rng.standard_normal(n), zi=self._state)
        drawn: NDArray[np.float32] = (self._gain * filtered).astype(np.float32)
        return drawn


def breathing(rate: float, amplitude: float, phase: float) -> Layer:
    """ECGSYN's baseline: it moves with the breath.

    Args:
        rate: Hz.
        amplitude: mV.
        phase: rad.
    """
    return lambda times: amplitude * np.sin(2 * np.pi * rate * times + phase)


def mains(rng: np.random.Generator, fs: float, amplitude: float, frequency: float = 50.0) -> Layer:
    """Pick-up from the mains; its strength follows the body's slow movements.

    Args:
        rng: draws the modulation.
        fs: sample rate, Hz.
        amplitude: mV.
        frequency: 50 or 60 Hz.
    """
    modulation = ColouredNoise(rng, fs, (0, 0.2), 0.1)
    return lambda times: amplitude * (1 + modulation(times)) * np.sin(2 * np.pi * frequency * times)


class Bursts:
    """A layer that comes and goes: its strength follows a slow random envelope and is nothing half of the time.

    Args:
        layer: what comes and goes.
        rng: draws the envelope.
        fs: sample rate, Hz.
        pace: upper corner of the envelope's spectrum, Hz.
    """

    def __init__(self, layer: Layer, rng: np.random.Generator, fs: float, pace: float = 0.15) -> None:
        self._layer, self._envelope = layer, ColouredNoise(rng, fs, (0, pace), 1.0)

    def __call__(self, times: Floats) -> Floats:
        """The layer, faded."""
        return self._layer(times) * np.maximum(self._envelope(times), 0)


def fade_in(layer: Layer, start: float, seconds: float) -> Layer:
    """A layer that begins at `start` and is at full strength `seconds` later."""
    return lambda times: layer(times) * np.clip((times - start) / seconds, 0, 1)


class Wave:
    """An oscillation whose frequency wanders about a centre and whose strength fades like narrow-band noise.

    Args:
        rng: draws the wandering.
        fs: sample rate, Hz.
        centre: Hz.
        spread: standard deviation of the frequency, Hz; it stays within 2.5 spreads.
        pace: how fast frequency and strength change, Hz.
        depth: 0: constant strength; 1: fades to nothing (Rayleigh).
        harmonics: amplitude of each multiple of the phase, the fundamental first.
    """

    def __init__(
        self, rng: np.random.Generator, fs: float, *, centre: float, spread: float, pace: float, depth: float,
        harmonics: tuple[float, ...] = (1.0,),
    ) -> None:  # fmt: skip
        self._fs, self._centre, self._spread, self._depth, self._harmonics = fs, centre, spread, depth, harmonics
        self._wander = ColouredNoise(rng, fs, (0, pace), 1.0)
        self._real, self._imag = (ColouredNoise(rng, fs, (0, pace), np.sqrt(0.5)) for _ in range(2))
        self._phase = float(rng.uniform(0, 2 * np.pi))

    def __call__(self, times: Floats) -> Floats:
        """Shape (n,), of strength about 1."""
        frequency = self._centre + self._spread * np.clip(self._wander(times), -2.5, 2.5)
        phase = self._phase + 2 * np.pi * np.cumsum(frequency) / self._fs
        self._phase = float(phase[-1] % (2 * np.pi))
        strength = 1 - self._depth + self._depth * np.hypot(self._real(times), self._imag(times))
        return strength * sum(a * np.sin((k + 1) * phase) for k, a in enumerate(self._harmonics))


def fibrillation(rng: np.random.Generator, fs: float, amplitude: float) -> Layer:
    """Coarse ventricular fibrillation: no beat, most power at 3–7 Hz, strength and frequency never the same for long.

    Dominant frequency 3–7 Hz and narrow-band shape: Clayton, Murray, Campbell, Med Biol Eng Comput 1994;32:209 and
    Amann, Tratnig, Unterkofler, BioMed Eng OnLine 2005;4:60. Three wavelets of different frequency beat against each
    other; the second harmonic of the strongest skews its shape.

    Args:
        rng: draws everything.
        fs: sample rate, Hz.
        amplitude: mV of the main wavelet.
    """
    centre = rng.uniform(4.2, 5.6)
    main = Wave(rng, fs, centre=centre, spread=0.45, pace=0.8, depth=0.55, harmonics=(1.0, 0.22))
    slower = Wave(rng, fs, centre=centre - 1.1, spread=0.4, pace=0.6, depth=0.9)
    faster = Wave(rng, fs, centre=centre + 1.6, spread=0.6, pace=0.8, depth=0.9)
    return lambda times: amplitude * (main(times) + 0.45 * slower(times) + 0.25 * faster(times))


def atrial_waves(rng: np.random.Generator, fs: float, amplitude: float) -> Layer:
    """The f-waves of atrial fibrillation: a saw-tooth of 5–8 Hz (Stridh & Sörnmo, IEEE Trans Biomed Eng 2001;48:105).

    Args:
        rng: draws everything.
        fs: sample rate, Hz.
        amplitude: mV.
    """
    wave = Wave(
        rng, fs, centre=rng.uniform(5.2, 7.2), spread=0.3, pace=0.4, depth=0.5, harmonics=(1.0, 0.4, 0.2)
    )  # fmt: skip
    return lambda times: amplitude * wave(times)


class Pulses:
    """What a converter's filter leaves of pacing pulses: a spike of one or two samples and a small after-potential.

    Args:
        at: when, seconds, in order.
        fs: sample rate, Hz.
        amplitude: mV.
    """

    def __init__(self, at: Iterator[float], fs: float, amplitude: float) -> None:
        self._at, self._fs, self._amplitude = at, fs, amplitude
        self._next, self._recent = next(at), list[float]()

    def __call__(self, times: Floats) -> Floats:
        """The pulses of this stretch."""
        while self._next <= times[-1] + 1 / self._fs:
            self._recent.append(self._next)
            self._next = next(self._at, np.inf)
        self._recent = [at for at in self._recent if at > times[0] - 0.2]
        total = np.zeros_like(times)
        for at in self._recent:
            since = times - at
            total += self._amplitude * np.maximum(0.0, 1 - np.abs(since) * self._fs)
            total -= 0.04 * self._amplitude * np.exp(-np.maximum(since, 0) / 0.02) * (since > 1 / self._fs)
        return total


class Steps:
    """What a runner's feet do to the baseline: a damped swing at each step, never twice the same.

    Args:
        rng: draws each step.
        cadence: steps per second; about 2.6.
        amplitude: mV.
        start: time of the first step, seconds.
    """

    def __init__(self, rng: np.random.Generator, cadence: float, amplitude: float, start: float) -> None:
        self._rng, self._cadence, self._amplitude, self._next = rng, cadence, amplitude, start
        self._steps: list[tuple[float, float]] = []

    def __call__(self, times: Floats) -> Floats:
        """The swings of this stretch."""
        while self._next <= times[-1]:
            self._steps.append((self._next, self._amplitude * float(self._rng.normal(1, 0.3))))
            self._next += float(self._rng.normal(1, 0.03)) / self._cadence
        self._steps = [step for step in self._steps if step[0] > times[0] - 1]
        total = np.zeros_like(times)
        for at, amplitude in self._steps:
            since = np.maximum(times - at, 0)
            total += amplitude * np.exp(-since / 0.12) * np.sin(2 * np.pi * self._cadence * since)
        return total
