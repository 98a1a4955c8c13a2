"""When hearts beat: endless streams of beats, each a function of its random generator alone.

The sinus rhythm follows ECGSYN (McSharry, Clifford, Tarassenko, Smith, IEEE Trans Biomed Eng 2003;50:289): the RR
process has a bimodal spectrum, Mayer waves at 0.1 Hz and respiratory sinus arrhythmia at the breathing rate, with
random phases.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np

Rate = Callable[[float], float]
"""Heart rate in 1/min at a time in seconds."""

NORMAL, VENTRICULAR = 0, 1
"""Forms of a beat: 0 is the patient's own, 1 and up are ventricular foci."""


@dataclass(frozen=True, slots=True)
class Beat:
    """One heart beat.

    Attributes:
        at: time of its R wave, seconds since the stream began.
        rr: the RR interval that repolarisation has adapted to, seconds.
        form: `NORMAL`, or `VENTRICULAR` + number of the focus.
        p_wave: whether a P wave precedes it.
        gain: amplitude relative to the form's own.
        stretch: QRS width relative to the form's own.
    """

    at: float
    rr: float
    form: int = NORMAL
    p_wave: bool = True
    gain: float = 1.0
    stretch: float = 1.0


class Variability:
    """Relative deviation of the RR interval: a sum of random-phase sines under ECGSYN's two spectral peaks.

    Args:
        rng: draws phases and frequencies.
        spread: standard deviation of RR / mean RR at rest.
        breathing: respiratory rate in Hz, centre of the upper peak.
        balance: power of the lower peak (0.1 Hz) over that of the upper (ECGSYN's LF/HF ratio).
    """

    def __init__(self, rng: np.random.Generator, spread: float, breathing: float, balance: float = 0.5) -> None:
        lines = 12
        self._frequency = np.concatenate([rng.normal(0.1, 0.01, lines), rng.normal(breathing, 0.01, lines)])
        self._phase = rng.uniform(0, 2 * np.pi, 2 * lines)
        low, high = balance / (1 + balance), 1 / (1 + balance)
        # A sine of amplitude a has power a²/2.
        self._amplitude = spread * np.sqrt(2 * np.repeat([low, high], lines) / lines)

    def __call__(self, at: float) -> float:
        """Deviation at a time in seconds, in units of the mean RR."""
        return float(self._amplitude @ np.sin(2 * np.pi * self._frequency * at + self._phase))


def steady(rate: float) -> Rate:
    """The same rate for ever."""
    return lambda _: rate


def ramp(before: float, after: float, start: float, seconds: float) -> Rate:
    """From one rate to another in a straight line, as a runner's heart speeds up."""
    return lambda at: float(np.interp(at, [start, start + seconds], [before, after]))


def sinus(rate: Rate, variability: Variability) -> Iterator[Beat]:
    """Sinus rhythm; its variability falls as the rate rises (vagal withdrawal: about with the square of RR)."""
    at, adapted = 0.0, 60 / rate(0.0)
    while True:
        mean = 60 / rate(at)
        interval = mean * (1 + min(1.0, mean**2) * float(np.clip(variability(at), -0.2, 0.2)))
        at += interval
        # Repolarisation follows the rate over some beats, not each interval.
        adapted += 0.15 * (interval - adapted)
        yield Beat(at, adapted)


def ectopic(
    beats: Iterator[Beat], rng: np.random.Generator, normal_between: Callable[[], int], foci: int = 1
) -> Iterator[Beat]:
    """Sinus rhythm with premature ventricular beats.

    A premature beat comes at a coupling interval that its focus keeps, takes the place of a sinus beat, and the sinus
    node goes on undisturbed: the pause is fully compensatory.

    Args:
        beats: the sinus rhythm.
        rng: draws coupling intervals and foci.
        normal_between: how many sinus beats come before the next premature one, at least 1.
        foci: number of different forms.
    """
    coupling = rng.uniform(0.56, 0.66, foci)
    while True:
        for _ in range(normal_between()):
            last = next(beats)
            yield last
        replaced = next(beats)
        focus = int(rng.integers(foci))
        early = coupling[focus] * rng.normal(1, 0.02) * (replaced.at - last.at)
        yield replace(
            replaced, at=last.at + early, form=VENTRICULAR + focus, p_wave=False, gain=float(rng.normal(1, 0.04))
        )


def fibrillating_atria(rate: float, rng: np.random.Generator) -> Iterator[Beat]:
    """Ventricular response in atrial fibrillation: independent, log-normal RR (spread 0.22 of the mean), no P waves."""
    at, adapted = 0.0, 60 / rate
    while True:
        interval = max(0.33, float(rng.lognormal(np.log(60 / rate) - 0.024, 0.22)))
        at += interval
        adapted += 0.15 * (interval - adapted)
        yield Beat(at, adapted, p_wave=False, gain=float(rng.normal(1, 0.04)))


def tachycardia(start: float, rate: float, rng: np.random.Generator) -> Iterator[Beat]:
    """Ventricular tachycardia from one focus: RR steady within 2 %, form slightly changing from beat to beat."""
    at, drift = start, 0.0
    while True:
        drift = 0.9 * drift + float(rng.normal(0, 0.03))
        yield Beat(
            at,
            60 / rate,
            VENTRICULAR,
            p_wave=False,
            gain=1 + drift,
            stretch=float(np.clip(rng.normal(1, 0.04), 0.9, 1.1)),
        )
        at += 60 / rate * float(rng.normal(1, 0.02))


def on_demand(rate: float, beats: Iterator[Beat], rng: np.random.Generator, asked: float) -> Iterator[Beat]:
    """A ventricular pacemaker that steps in for 15–40 s, then is inhibited for 40–90 s by the heart's own rhythm.

    Args:
        rate: of the pacemaker, 1/min.
        beats: the heart's own rhythm.
        rng: draws how long each lasts.
        asked: second from which the own rhythm never comes back.
    """
    at = 0.0
    while True:
        end = at + float(rng.uniform(15, 40))
        while at < end or end > asked:
            at += 60 / rate
            yield Beat(at, 60 / rate, VENTRICULAR, p_wave=False, gain=float(rng.normal(1, 0.02)))
        end += float(rng.uniform(40, 90))
        for beat in beats:
            if beat.at > end:
                break
            if beat.at > at + 0.8 * 60 / rate:
                at = beat.at
                yield beat


def until(beats: Iterator[Beat], end: float) -> Iterator[Beat]:
    """The beats before a time in seconds; then the heart is silent."""
    return takewhile(lambda beat: beat.at < end, beats)
