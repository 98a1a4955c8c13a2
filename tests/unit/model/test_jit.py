"""One baked cache serves CPUs with AVX2 and those without."""

import os
import subprocess
import sys

import pytest

from holter.model import jit

SCRIPT = """
import numpy as np
from holter.signal.order import below
assert below(np.arange(-4, 4, dtype=np.float32), 2.5) == 5
print(sum(below.stats.cache_hits.values()), sum(below.stats.cache_misses.values()))
"""


def _run(folder, cpu):
    env = os.environ | {"NUMBA_CACHE_DIR": str(folder), "NUMBA_CPU_NAME": cpu}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=True)
    return tuple(map(int, done.stdout.split()))


def test_code_for_both_kinds_lies_side_by_side(tmp_path):
    kinds = {"generic", jit._cpu()}
    assert {_run(tmp_path, cpu) for cpu in kinds} == {(0, 1)}
    assert {_run(tmp_path, cpu) for cpu in kinds} == {(1, 0)}


@pytest.mark.parametrize(
    ("features", "cpu"),
    [("+sse2,+avx,-avx2", "generic"), ("+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe,+avx512f", "x86-64-v3")],
)
def test_the_kind_is_told_by_what_the_processor_has(monkeypatch, features, cpu):
    monkeypatch.setattr(jit, "get_host_cpu_features", lambda: features)
    assert jit._cpu() == cpu
