"""Which windows a refit reads, and feature columns brought into one order: the same in every store."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

BLOCK = 60_000_000
"""Long histories are chosen by the minute, µs: a store finds a minute as fast as one window."""
LONG = 8
"""A history is long when it has more than so many times the windows wanted."""


def choose(ends: NDArray[np.int64], count: int, seed: int) -> NDArray[np.intp]:
    """Indices of at most `count` of one device's windows, ascending.

    Those with the least hash of (seed, end) are taken, of a long history those of the minutes with the least hash:
    an even choice, and the same times for every device that has them, so a store fetches few distinct times.

    Args:
        ends: shape (n,), int64, distinct, µs since the epoch.
        count: at most so many.
        seed: any integer.

    Returns:
        Shape (min(n, count),), indices into `ends`.
    """
    if len(ends) <= count:
        return np.arange(len(ends))
    salt = _mix(np.array([seed & 0xFFFF_FFFF_FFFF_FFFF], dtype=np.uint64))
    ranks = _mix(ends.astype(np.uint64) ^ salt)
    blocks = _mix((ends // BLOCK).astype(np.uint64) ^ salt) if len(ends) > LONG * count else np.zeros_like(ranks)
    return np.sort(np.lexsort((ranks, blocks))[:count])


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014): one-to-one, so distinct ends never tie."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def union(sets: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """All names in the order of their first appearance."""
    return tuple(dict.fromkeys(name for names in sets for name in names))
