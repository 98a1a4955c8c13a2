"""Rings addressed by absolute sample number: copied in and out in two stretches, so that no sample costs a division."""

import numpy as np
from numpy.typing import NDArray

from holter.model.jit import njit


@njit()
def newest(ring: NDArray[np.float32], end: int, out: NDArray[np.float32]) -> None:
    """Copy the samples end - len(out) .. end - 1 of a ring.

    Args:
        ring: shape (size,), sample i at place i % size.
        end: number of the next sample.
        out: shape (n,), n <= size, overwritten.
    """
    n, size = out.size, ring.size
    start = (end - n) % size
    first = min(n, size - start)
    out[:first] = ring[start : start + first]
    out[first:] = ring[: n - first]


@njit()
def append(ring: NDArray[np.float32], end: int, x: NDArray[np.float32]) -> None:
    """Put x behind the sample end - 1; arguments as in `newest`."""
    n, size = x.size, ring.size
    start = end % size
    first = min(n, size - start)
    ring[start : start + first] = x[:first]
    ring[: n - first] = x[first:]
