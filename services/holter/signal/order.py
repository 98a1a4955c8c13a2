"""Order statistics without sorting."""

import numpy as np
from numpy.typing import NDArray

from holter.model.jit import njit

LEVELS = 1024
_NO_SIGN = np.int32(0x7FFFFFFF)


@njit()
def nth(values: NDArray[np.float32], n: int, k: int) -> float:
    """The k-th smallest, 0 the least, of the first n (some dozen), which are finite.

    Found by counting how many are less than each: that goes through a processor eight at a time, without a branch to
    be guessed, where a sort or a selection guesses wrong half of the time.
    """
    x = values[:n]
    for i in range(n):
        value, less, most = x[i], np.int32(0), np.int32(0)
        for j in range(n):
            less = np.int32(less + np.int32(x[j] < value))
            most = np.int32(most + np.int32(x[j] <= value))
        if less <= k < most:
            return float(value)
    return np.nan


@njit()
def median(values: NDArray[np.float32], n: int) -> float:
    """Of the first n: between the two in the middle where n is even."""
    return 0.5 * (nth(values, n, (n - 1) // 2) + nth(values, n, n // 2))


@njit()
def largest(values: NDArray[np.float32]) -> float:
    """The largest |value| of finite ones, 0 of none: bits of such floats are in order as integers, which vectorise."""
    bits, top = values.view(np.int32), np.zeros(1, np.int32)
    highest = np.int32(0)
    for i in range(bits.size):
        highest = np.int32(max(highest, np.int32(bits[i] & _NO_SIGN)))
    top[0] = highest
    return float(top.view(np.float32)[0])


@njit()
def below(values: NDArray[np.float32], limit: float) -> int:
    """How many |values| are below a limit."""
    edge, count = np.float32(limit), np.int32(0)
    for i in range(values.size):
        count = np.int32(count + np.int32(abs(values[i]) < edge))
    return int(count)


@njit()
def quantile(values: NDArray[np.float32], top: float, q: float) -> float:
    """A quantile of |values|, which are `top` at most: the middle of that one of `LEVELS` equal steps it lies in."""
    low, high = 0, LEVELS
    while high - low > 1:  # fewer than q are below step `low`, and q or more below `high`
        middle = (low + high) // 2
        if below(values, middle * top / (LEVELS - 0.01)) < q * values.size:
            low = middle
        else:
            high = middle
    return (high - 0.5) * top / LEVELS
