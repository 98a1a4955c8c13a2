"""The rhythms that can be simulated: how each heart is put together. `ward.py` says what should be found in it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import tee

import numpy as np

from holter.sim.background import (
    Bursts,
    ColouredNoise,
    Floats,
    Layer,
    Pulses,
    Steps,
    atrial_waves,
    breathing,
    fade_in,
    fibrillation,
    mains,
)
from holter.sim.electrode import LooseLead
from holter.sim.morphology import Form, normal, ventricular
from holter.sim.patient import Heart
from holter.sim.rhythm import (
    Beat,
    Rate,
    Variability,
    ectopic,
    fibrillating_atria,
    on_demand,
    ramp,
    sinus,
    steady,
    tachycardia,
    until,
)

_BOUTS = 200
"""Of exercise that are laid out: two days of them."""


@dataclass(frozen=True, slots=True)
class Person:
    """One person and their device, drawn once; scenarios build a heart from it.

    Attributes:
        rng: for everything that the scenario draws.
        fs: sample rate, Hz.
        onset: when the scenario's event begins, seconds since the stream began.
        own: form of their beats.
        rate: at rest, 1/min.
        breath: respiratory rate, Hz.
        resolution: of the device's converter, microvolts.
    """

    rng: np.random.Generator
    fs: float
    onset: float
    own: Form
    rate: float
    breath: float
    resolution: int

    @staticmethod
    def draw(rng: np.random.Generator, fs: float, onset: float) -> "Person":
        """Draw a person."""
        own, rate, breath = normal(rng), float(rng.uniform(60, 80)), float(rng.uniform(0.2, 0.3))
        return Person(rng, fs, onset, own, rate, breath, int(rng.integers(1, 6)))

    def sinus(self, rate: Rate | None = None) -> Iterator[Beat]:
        """Their sinus rhythm."""
        spread = float(self.rng.uniform(0.025, 0.05))
        return sinus(rate or steady(self.rate), Variability(self.rng, spread, self.breath))

    def noise(self, low: float, high: float, microvolts: float) -> ColouredNoise:
        """Noise of a band in Hz and an rms in microvolts."""
        return ColouredNoise(self.rng, self.fs, (low, high), microvolts / 1000)

    def background(self, calm: float = 1.0) -> tuple[Layer, ...]:
        """What every recording has: muscle, electrode, wander, breath, mains. `calm` below 1 makes all of it weaker."""
        rng = self.rng
        return (
            self.noise(15, 90, calm * rng.uniform(7, 16)),
            self.noise(0.5, 15, calm * rng.uniform(6, 12)),
            self.noise(0, 0.3, calm * rng.uniform(25, 60)),
            breathing(self.breath, calm * rng.uniform(0.03, 0.08), rng.uniform(0, 6.28)),
            mains(rng, self.fs, calm * rng.uniform(0.002, 0.005)),
        )

    def foci(self) -> tuple[Form, Form, Form]:
        """Their own beat and two ventricular ones, of opposite polarity, in either order."""
        upright = bool(self.rng.random() < 0.5)
        first, second = (ventricular(self.rng, self.own, upright=u) for u in (upright, not upright))
        return self.own, first, second


def resting(person: Person) -> Heart:
    """Sinus rhythm, 60–80/min."""
    return Heart(person.sinus(), [person.own], person.background(), resolution=person.resolution)


def running(person: Person) -> Heart:
    """From 70 to 180/min in 60–90 s from the onset on, then sustained; steps, wander and muscle noise grow with it."""
    rng, start = person.rng, person.onset
    seconds = float(rng.uniform(60, 90))
    effort: tuple[Layer, ...] = (
        person.noise(15, 90, rng.uniform(25, 45)),
        person.noise(0.1, 0.8, rng.uniform(80, 140)),
        Steps(rng, rng.uniform(2.5, 2.7), rng.uniform(0.08, 0.2), start),
    )
    layers = (*person.background(), *(fade_in(layer, start, seconds / 2) for layer in effort))
    beats = person.sinus(ramp(70, 180, start, seconds))
    return Heart(beats, [person.own], layers, resolution=person.resolution)


def active(person: Person) -> Heart:
    """A day on one's feet: every 10–20 minutes up by 30–70/min within 40–90 s, for minutes, with steps."""
    rng, rest = person.rng, person.rate
    times, rates = [0.0], [rest]
    for _ in range(_BOUTS):
        begin = times[-1] + float(rng.uniform(600, 1200))
        climb, hold, calm = (float(rng.uniform(a, b)) for a, b in ((40, 90), (120, 480), (120, 240)))
        peak = rest + float(rng.uniform(30, 70))
        times += [begin, begin + climb, begin + climb + hold, begin + climb + hold + calm]
        rates += [rest, peak, peak, rest]
    start, end = np.array(times[1::4]), np.array(times[3::4])

    def moving(layer: Layer) -> Layer:
        def during(t: Floats) -> Floats:
            bout = np.clip(np.searchsorted(start, t, "right") - 1, 0, None)
            strength: Floats = np.clip(np.minimum(t - start[bout], end[bout] - t) / 10, 0, 1)
            return layer(t) * strength

        return during

    effort: tuple[Layer, ...] = (
        person.noise(15, 90, rng.uniform(20, 40)),
        person.noise(0.1, 0.8, rng.uniform(60, 120)),
        Steps(rng, rng.uniform(1.7, 2.2), rng.uniform(0.05, 0.15), 0.0),
    )
    layers = (*person.background(), *(moving(layer) for layer in effort))
    beats = person.sinus(lambda at: float(np.interp(at, times, rates)))
    return Heart(beats, [person.own], layers, resolution=person.resolution)


def pvcs(person: Person) -> Heart:
    """Sinus rhythm with about eight isolated premature ventricular beats a minute, of one or two forms."""
    rng, foci = person.rng, int(person.rng.integers(1, 3))
    # A premature beat and its pause take two sinus intervals: per_minute of them leave this many sinus beats between.
    between = person.rate / 8 - 1
    beats = ectopic(person.sinus(), rng, lambda: 3 + int(rng.poisson(between - 3)), foci)
    return Heart(beats, person.foci(), person.background(), resolution=person.resolution)


def bigeminy(person: Person) -> Heart:
    """Every other beat is a premature ventricular one."""
    beats = ectopic(person.sinus(), person.rng, lambda: 1)
    return Heart(beats, person.foci(), person.background(), resolution=person.resolution)


def atrial_fibrillation(person: Person) -> Heart:
    """Irregular RR, no P waves, f-waves; 80–110/min."""
    rng = person.rng
    layers = (*person.background(), atrial_waves(rng, person.fs, rng.uniform(0.03, 0.07)))
    return Heart(
        fibrillating_atria(float(rng.uniform(80, 110)), rng), [person.own], layers, resolution=person.resolution
    )


def ventricular_tachycardia(person: Person) -> Heart:
    """Sinus rhythm, from the onset on wide complexes at 170–190/min."""
    rng = person.rng
    sustained = tachycardia(person.onset, float(rng.uniform(170, 190)), rng)

    def beats() -> Iterator[Beat]:
        # A sinus beat just before would leave the ventricles refractory.
        yield from until(person.sinus(), person.onset - 0.3)
        yield from sustained

    return Heart(beats(), person.foci(), person.background(), resolution=person.resolution)


def ventricular_fibrillation(person: Person) -> Heart:
    """Sinus rhythm, from the onset on coarse fibrillation."""
    rng = person.rng
    layer = fade_in(fibrillation(rng, person.fs, rng.uniform(0.3, 0.5)), person.onset, 0.4)
    beats = until(person.sinus(), person.onset)
    return Heart(beats, [person.own], (*person.background(), layer), resolution=person.resolution)


def asystole(person: Person) -> Heart:
    """Sinus rhythm, from the onset on nothing but residual noise well below 0.15 mV and slow wander."""
    return Heart(until(person.sinus(), person.onset), [person.own], person.background(calm=0.35), resolution=1)


def paced(person: Person) -> Heart:
    """A ventricular pacemaker on demand: wide beats behind pulses by turns with the own rhythm, never early."""
    return _paced(person, asked=np.inf, captured=np.inf)


def capture_loss(person: Person) -> Heart:
    """The same; from the onset on nothing answers the pulses."""
    return _paced(person, asked=0.0, captured=person.onset)


def _paced(person: Person, *, asked: float, captured: float) -> Heart:
    rng = person.rng
    rate = person.rate - 8
    beats, again = tee(on_demand(rate, person.sinus(), rng, asked))
    pulses = Pulses(
        (beat.at - 0.06 for beat in again if beat.form), person.fs, rng.choice([-1, 1]) * rng.uniform(0.5, 2)
    )
    layers: tuple[Layer, ...] = (*person.background(calm=0.35 if captured < np.inf else 1.0), pulses)
    return Heart(until(beats, captured), person.foci(), layers, resolution=1)


def loose_lead(person: Person) -> Heart:
    """Sinus rhythm; from the onset on the electrode is off most of the time."""
    electrode = LooseLead(person.rng, person.onset)
    return Heart(
        person.sinus(), [person.own], person.background(), electrode=electrode, resolution=max(person.resolution, 4)
    )


def reporting_loose_lead(person: Person) -> Heart:
    """The same on a device that says so."""
    heart = loose_lead(person)
    heart.reports_lead_off = True
    return heart


def noisy(person: Person) -> Heart:
    """Sinus rhythm under bursts of muscle artefact and motion, from the onset on."""
    rng, fs = person.rng, person.fs
    bursts = (
        Bursts(person.noise(20, 100, rng.uniform(150, 250)), rng, fs),
        Bursts(person.noise(0.3, 4, rng.uniform(150, 250)), rng, fs, 0.1),
    )
    layers = (*person.background(), *(fade_in(layer, person.onset, 2.0) for layer in bursts))
    return Heart(person.sinus(), [person.own], layers, resolution=person.resolution)


def mains_pickup(person: Person) -> Heart:
    """Sinus rhythm drowned by the mains from the onset on: a broken shield or a missing reference electrode."""
    pickup = fade_in(mains(person.rng, person.fs, person.rng.uniform(0.7, 1.0)), person.onset, 0.5)
    return Heart(person.sinus(), [person.own], (*person.background(), pickup), resolution=person.resolution)


SCENARIOS: dict[str, Callable[[Person], Heart]] = {
    "resting": resting,
    "running": running,
    "active": active,
    "pvcs": pvcs,
    "bigeminy": bigeminy,
    "af": atrial_fibrillation,
    "vt": ventricular_tachycardia,
    "vf": ventricular_fibrillation,
    "asystole": asystole,
    "paced": paced,
    "capture-loss": capture_loss,
    "loose-lead": loose_lead,
    "loose-lead-flag": reporting_loose_lead,
    "noise": noisy,
    "mains": mains_pickup,
}
