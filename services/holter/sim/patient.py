"""A patient with a one-lead wearable: an endless stream of samples that depends on the seed alone."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holter.chunk import LEAD_OFF, MICROSECONDS, Chunk
from holter.sim.background import Floats, Layer
from holter.sim.electrode import RAIL
from holter.sim.morphology import AFTER, BEFORE, Form, render
from holter.sim.rhythm import Beat

Electrode = Callable[[Floats, Floats], tuple[Floats, bool]]
"""Times and mV → what the device sees of them, and whether it says that its lead is off."""


@dataclass(slots=True)
class Heart:
    """Everything that makes one patient's signal.

    Attributes:
        beats: in order of time.
        forms: by `Beat.form`.
        layers: added to the beats.
        electrode: what may happen between skin and converter, or None.
        reports_lead_off: whether the device raises its flag.
        resolution: of the converter, microvolts.
    """

    beats: Iterator[Beat]
    forms: Sequence[Form]
    layers: Sequence[Layer]
    electrode: Electrode | None = None
    reports_lead_off: bool = False
    resolution: int = 1


class Patient:
    """A stream of ECG. However it is cut into blocks, the samples are the same.

    Args:
        device_id: of the wearable.
        heart: the signal's parts; the patient consumes them.
        fs: sample rate, a whole number of Hz within 100..1000.
    """

    def __init__(self, device_id: str, heart: Heart, fs: int = 250) -> None:
        self.device_id, self.fs = device_id, fs
        self._heart = heart
        self._second = 0
        self._rest = np.empty(0, np.int16)
        self._upcoming = next(heart.beats, None)
        # Beats that reach into the current second: when each ends, and its Gaussians.
        self._active: deque[tuple[float, Floats]] = deque()

    def block(self, seconds: float) -> NDArray[np.int16]:
        """The next samples.

        Args:
            seconds: a whole number of samples long, up to rounding.

        Returns:
            shape (round(seconds * fs),), int16, microvolts.
        """
        n = round(seconds * self.fs)
        parts, have = [self._rest], len(self._rest)
        while have < n:
            parts.append(self._next_second()[0])
            have += self.fs
        samples = np.concatenate(parts)
        self._rest = samples[n:]
        return samples[:n]

    def chunks(self, base: int) -> Iterator[Chunk]:
        """One chunk per second without end, the first at event time `base` (µs since the epoch)."""
        while True:
            second = self._second
            samples, lead_off = self._next_second()
            flags = LEAD_OFF if lead_off else 0
            yield Chunk(self.device_id, base + second * MICROSECONDS, float(self.fs), samples, second, flags)

    def _next_second(self) -> tuple[NDArray[np.int16], bool]:
        # Always one second at a time, so that random numbers are drawn in the same order whatever a block is.
        heart = self._heart
        times = self._second + np.arange(self.fs) / self.fs
        self._second += 1
        while self._upcoming is not None and self._upcoming.at - BEFORE < self._second:
            beat = self._upcoming
            self._active.append((beat.at + AFTER, heart.forms[beat.form].waves(beat)))
            self._upcoming = next(heart.beats, None)
        while self._active and self._active[0][0] < times[0]:
            self._active.popleft()
        millivolts = np.zeros_like(times)
        if self._active:
            millivolts = render(np.concatenate([waves for _, waves in self._active]), times)
        for layer in heart.layers:
            millivolts += layer(times)
        lead_off = False
        if heart.electrode is not None:
            millivolts, lead_off = heart.electrode(times, millivolts)
        steps = np.rint(np.clip(millivolts, -RAIL, RAIL) * 1000 / heart.resolution)
        return (steps * heart.resolution).astype(np.int16), lead_off and heart.reports_lead_off
