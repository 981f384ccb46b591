"""What the machine gives a scan at most, measured between the scans.

Exponentials: a scan takes ``l d n`` of them for its decays and ``2 l d`` for the step sizes and the gate.
The roof is the time of as many by the library's own ``exp2``, compiled as the library is, in registers and
with nothing else to do. Copy: a scan reads u, delta, z, B, C, A, D, the bias and the state and writes y and
the state, ``4 (4 l d + 2 l n + 3 d n + 2 d)`` bytes if each is moved once. The roof is the time of a copy of
half as many bytes, read once and written once. The share that a scan reaches of each is the roof's time over
its own; it cannot reach 1, since each decay takes three more multiplications and two additions.
"""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.native_ops.problem import Sizes
from mimamba_edge.plugins import SOURCES

__all__ = ["COPY", "EXPONENTIALS", "OPTIONS", "compile_roof", "roofs"]

EXPONENTIALS, COPY = "exponentials alone", "copy alone"
_AVX2 = ("-mavx2", "-mfma", "-mf16c")
OPTIONS = {
    "baseline": (),
    "avx2": _AVX2,
    "avx512": (*_AVX2, "-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl"),
}
"""Those of ``plugins/onnxruntime/CMakeLists.txt``."""


def compile_roof(folder: Path, compiler: str, target: str) -> Path:
    """Compile the exponentials for an instruction set of the library and return a library.

    Raises:
        CalledProcessError: The compiler refused.
    """
    library = folder / "roofs.so"
    options = ("-std=c++17", "-O3", "-ffp-contract=fast", "-fno-math-errno", *OPTIONS[target])
    at = (f"-DMIMAMBA_TARGET={target}", f"-I{SOURCES / 'onnxruntime'}", "-shared", "-fPIC")
    source = Path(__file__).with_name("roofs.cpp")
    subprocess.run([compiler, *options, *at, str(source), "-o", str(library)], check=True)
    return library


def roofs(sizes: Sizes, library: Path) -> dict[str, Callable[[], Any]]:
    """Return the calls that take a scan's exponentials, and move its bytes, and do nothing else."""
    function = ctypes.CDLL(str(library)).exponentials
    function.argtypes, function.restype = [ctypes.c_int64], ctypes.c_float
    count = sizes.exponentials
    origin = np.ones(sizes.bytes_moved // 8, np.float32)
    copy = np.empty_like(origin)
    return {EXPONENTIALS: lambda: function(count), COPY: lambda: np.copyto(copy, origin)}
