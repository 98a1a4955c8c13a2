"""An electrode that comes off, as the device's converter sees it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RAIL = 5.0
"""mV at which the simulated converter saturates."""


@dataclass(frozen=True, slots=True)
class Contact:
    """A stretch of time on one kind of contact.

    Attributes:
        end: when it ends, seconds since the stream began.
        state: `on`, `rail`, `zeros` or `flat`.
        level: mV at its start, where the state has one.
    """

    end: float
    state: str
    level: float = 0.0


class LooseLead:
    """A lead that is off most of the time: at the rail, at zero, or flat and slowly drifting; now and then it touches.

    Args:
        rng: draws the stretches.
        onset: when it first comes off, seconds since the stream began.
    """

    DRIFT = 0.012
    """mV/s: input bias current into an open electrode, after the anti-alias filter."""

    def __init__(self, rng: np.random.Generator, onset: float) -> None:
        self._rng, self._onset = rng, onset
        self._contact = Contact(onset, "on")
        self._since = 0.0

    def __call__(self, times: Floats, millivolts: Floats) -> tuple[Floats, bool]:
        """What is left of the signal, shape (n,), and whether the device would raise its flag."""
        out = millivolts.copy()
        off = 0
        rest = np.arange(len(times))
        while len(rest):
            here = rest[times[rest] < self._contact.end]
            if self._contact.state != "on":
                out[here] = self._open(times[here])
                off += len(here)
            rest = rest[len(here) :]
            if len(rest):
                self._advance()
        return out, 2 * off > len(times)

    def _open(self, times: Floats) -> Floats:
        contact = self._contact
        drift = self.DRIFT if contact.state == "flat" else 0.0
        return contact.level + drift * (times - self._since)

    def _advance(self) -> None:
        before, start = self._contact, self._contact.end
        self._since = start
        if before.state != "on" and start - self._onset > 30 and self._rng.random() < 0.5:
            self._contact = Contact(start + self._rng.uniform(2, 4), "on")
            return
        state = str(self._rng.choice(["rail", "zeros", "flat"]))
        level = {"rail": RAIL * float(self._rng.choice([-1, 1])), "zeros": 0.0, "flat": float(self._rng.uniform(-1, 1))}
        self._contact = Contact(start + self._rng.uniform(12, 25), state, level[state])
