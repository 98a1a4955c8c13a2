"""Rings addressed by absolute sample number: copied in and out in two stretches, so that no sample costs a division."""

import numpy as np
from numpy.typing import NDArray

from holter.model.jit import njit


@njit()
def _copy(source: NDArray[np.float32], n: int, to: NDArray[np.float32]) -> None:
    """A plain loop: an assignment of slices looks first whether they overlap, and copies more slowly."""
    for i in range(n):
        to[i] = source[i]


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
    _copy(ring[start:], first, out)
    _copy(ring, n - first, out[first:])


@njit()
def append(ring: NDArray[np.float32], end: int, x: NDArray[np.float32]) -> None:
    """Put x behind the sample end - 1; arguments as in `newest`."""
    n, size = x.size, ring.size
    start = end % size
    first = min(n, size - start)
    _copy(x, first, ring[start:])
    _copy(x[first:], n - first, ring)
