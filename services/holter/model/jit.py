"""How functions are compiled: numba, cached on disk, anew whenever any source that is compiled changes.

numba looks only at a function's own file, not at those of what it calls, and would run stale machine code after an
upgrade. So the cache's folder is named after all sources of `signal`, `model` and `batch` together, below
NUMBA_CACHE_DIR or the user's cache folder. An image has it baked in, since its root file system is read-only; numba
wants to write even where it only reads, so there it is given a copy.

Machine code is for one of two kinds of CPU, not for the very one at hand: so an image has what any node needs, and the
same samples give the same figures on all of a kind. NUMBA_CPU_NAME overrides.

Write loops over indices: numba makes no vector code of `for x in array`, nor of a float's max() over an array.
"""

import os
from contextlib import suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from shutil import copytree
from tempfile import gettempdir, mkdtemp

import numba
from numba.core.codegen import get_host_cpu_features

_V3 = {"+avx2", "+bmi", "+bmi2", "+f16c", "+fma", "+lzcnt", "+movbe"}
"""What x86-64-v3 (Haswell 2013, Zen 2017) has beside v2: vectors of eight floats, and multiply-add."""


def _folder() -> Path:
    here = Path(__file__).resolve().parent
    digest = sha256()
    for source in sorted(path for name in ("model", "signal", "batch") for path in (here.parent / name).glob("*.py")):
        digest.update(source.read_bytes())
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "holter" / "numba"
    return Path(os.environ.get("NUMBA_CACHE_DIR") or caches) / digest.hexdigest()[:16]


def _writable(folder: Path) -> Path:
    """The folder, or where it may not be written to, a private copy that outlives this process.

    Raises:
        PermissionError: the copy's place belongs to another user, whose machine code must not run here.
    """
    if not folder.is_dir() or os.access(folder, os.W_OK):
        return folder
    private = Path(gettempdir()) / f"holter-numba-{os.getuid()}"
    private.mkdir(mode=0o700, exist_ok=True)
    if private.lstat().st_uid != os.getuid():
        raise PermissionError(f"{private} belongs to another user: remove it, or make NUMBA_CACHE_DIR writable")
    copy = private / folder.name
    if not copy.exists():
        fresh = copytree(folder, Path(mkdtemp(dir=private)) / folder.name)
        with suppress(OSError):  # another process was first
            fresh.rename(copy)
    return copy


def _cpu() -> str:
    """`x86-64-v3`, or `generic` where that does not run."""
    has = set(get_host_cpu_features().split(","))  # type: ignore[no-untyped-call]
    return "x86-64-v3" if has >= _V3 else "generic"


numba.config.CPU_NAME = os.environ.get("NUMBA_CPU_NAME") or _cpu()  # type: ignore[attr-defined]
numba.config.CPU_FEATURES = os.environ.get("NUMBA_CPU_FEATURES", "")  # type: ignore[attr-defined]
numba.config.CACHE_DIR = str(_writable(_folder()))  # type: ignore[attr-defined]
njit = partial(numba.njit, cache=True, nogil=True)
