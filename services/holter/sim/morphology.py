"""What a beat looks like in one lead: P, QRS and T as Gaussians about the R wave.

The closed form of ECGSYN's dynamical model (McSharry et al., IEEE Trans Biomed Eng 2003;50:289), as in Sameni,
Clifford, Jutten, Shamsollahi, EURASIP J Adv Signal Process 2007:043407. QRS keeps its duration at any rate; the T
wave's place and width follow the square root of RR (Bazett, Heart 1920;7:353; ECGSYN scales with the same root).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holter.sim.rhythm import Beat

Floats = NDArray[np.float64]

BEFORE, AFTER = 0.35, 0.85
"""Seconds about the R wave outside of which a beat is nothing (below 1 µV)."""


@dataclass(frozen=True, slots=True)
class Form:
    """One form of beat, each array (k, 3): amplitude in mV, centre in s after R, width (standard deviation) in s.

    Attributes:
        p: atrial depolarisation.
        qrs: ventricular depolarisation.
        t: repolarisation at RR = 1 s.
    """

    p: Floats
    qrs: Floats
    t: Floats

    def waves(self, beat: Beat) -> Floats:
        """This form's Gaussians for one beat, shape (k, 3), centres in stream time."""
        root = np.sqrt(np.clip(beat.rr, 0.25, 1.6))
        # The PR interval shortens far less than QT: about a fifth from 60 to 180/min.
        p = self.p * [1.0, np.clip(beat.rr, 0.25, 1.6) ** 0.2, 1.0] if beat.p_wave else self.p[:0]
        qrs = self.qrs * [beat.gain, beat.stretch, beat.stretch]
        t = self.t * [beat.gain, root, root]
        waves: Floats = np.concatenate([p, qrs, t])
        waves[:, 1] += beat.at
        return waves


def normal(rng: np.random.Generator) -> Form:
    """A person's own beat as lead II or V5 sees it: QRS 80–100 ms, 0.8–1.5 mV peak to peak."""
    height = rng.uniform(0.75, 1.25)
    narrow = rng.uniform(0.92, 1.1)
    t_height = height * rng.uniform(0.18, 0.38)
    t_at = rng.uniform(0.29, 0.32)
    return Form(
        p=np.array(
            [
                [rng.uniform(0.05, 0.09), -0.175, 0.018],
                [rng.uniform(0.05, 0.09), -0.145, 0.02],
            ]  # right, then left atrium
        ),
        qrs=np.array(
            [
                [-height * rng.uniform(0.04, 0.14), -0.026 * narrow, 0.0075 * narrow],
                [height, 0.0, 0.011 * narrow],
                [-height * rng.uniform(0.08, 0.3), 0.027 * narrow, 0.0085 * narrow],
            ]
        ),
        # Rises slowly, falls fast.
        t=np.array([[0.35 * t_height, t_at - 0.075, 0.055], [0.85 * t_height, t_at, rng.uniform(0.034, 0.038)]]),
    )


def ventricular(rng: np.random.Generator, own: Form, *, upright: bool) -> Form:
    """A beat from a ventricular focus: QRS 140–180 ms, notched, higher than the own, T wave discordant."""
    height = (1 if upright else -1) * float(own.qrs[1, 0]) * rng.uniform(1.1, 1.5)
    wide = rng.uniform(0.93, 1.1)
    return Form(
        p=own.p[:0],
        qrs=np.array(
            [
                [-0.12 * height, -0.05 * wide, 0.013 * wide],
                [0.75 * height, 0.0, 0.021 * wide],
                [rng.uniform(0.6, 0.8) * height, 0.04 * wide, 0.020 * wide],
                [-rng.uniform(0.1, 0.3) * height, 0.09 * wide, 0.015 * wide],
            ]
        ),
        t=np.array([[-0.4 * height, 0.33, 0.062]]),
    )


def render(waves: Floats, times: Floats) -> Floats:
    """Sum of Gaussians at the given times.

    Args:
        waves: shape (k, 3): amplitude in mV, centre and width in seconds.
        times: shape (n,), seconds.

    Returns:
        shape (n,), float64, mV.
    """
    offset = (times - waves[:, 1, None]) / waves[:, 2, None]
    offset *= offset
    offset *= -0.5
    millivolts: Floats = waves[:, 0] @ np.exp(offset, out=offset)
    return millivolts
