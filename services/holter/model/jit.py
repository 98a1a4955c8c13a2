"""How functions are compiled: numba, cached on disk, anew whenever any source that is compiled changes.

numba looks only at a function's own file, not at those of what it calls, and would run stale machine code after an
upgrade. So the cache's folder is named after all sources of `signal` and `model` together, below NUMBA_CACHE_DIR or the
user's cache folder. An image has it baked in, since its root file system is read-only.
"""

import os
from functools import partial
from hashlib import sha256
from pathlib import Path

import numba


def _folder() -> Path:
    here = Path(__file__).resolve().parent
    digest = sha256()
    for source in sorted([*here.glob("*.py"), *(here.parent / "signal").glob("*.py")]):
        digest.update(source.read_bytes())
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "holter" / "numba"
    return Path(os.environ.get("NUMBA_CACHE_DIR") or caches) / digest.hexdigest()[:16]


numba.config.CACHE_DIR = str(_folder())  # type: ignore[attr-defined]
njit = partial(numba.njit, cache=True, nogil=True)
