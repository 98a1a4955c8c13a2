"""Keeps a long-lived process as small as what it holds."""

import ctypes
import gc
from contextlib import suppress

_MMAP_THRESHOLD, _ARENA_MAX = -3, -8  # malloc.h


def keep_flat() -> None:
    """One heap for all threads, and large arrays outside of it; call it before the first thread.

    glibc gives each thread a heap of its own and keeps what is freed in it. A worker whose cycles wander over a pool's
    threads was seen to grow by 21 % an hour that way, with nothing leaked. Elsewhere than on glibc this does nothing.
    """
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_ARENA_MAX, 1)
        libc.mallopt(_MMAP_THRESHOLD, 256 << 10)


def settle() -> None:
    """What has been imported stays: Python's collector need not look at it again, nor as often at what comes.

    Batches are lists of tuples, which the collector counts as it counts cycles: it took as long as all the rest of
    `Recent.sift` and six times more.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
