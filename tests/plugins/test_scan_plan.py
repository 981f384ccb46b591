"""How the scan's plan cuts time on devices that are not at hand: plain C++, no nvcc."""

from __future__ import annotations

import ctypes as c
import shutil
import subprocess
from pathlib import Path

import pytest

from mimamba_edge.plugins import KERNELS
from mimamba_edge.plugins.ctypes_api import I64, Device, Scan

SOURCE = """
#include "scan_plan.h"
extern "C" int64_t segments(const mimamba::ScanProblem *p, const mimamba::Device *device) {
  return mimamba::plan_scan(*p, *device).segments;
}
extern "C" const char *refusal(const mimamba::ScanProblem *p) { return mimamba::check(*p).message; }
"""
H200, ORIN_NANO = 132, 8


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> c.CDLL:
    if shutil.which("g++") is None:
        pytest.skip("needs a C++ compiler: apt install g++")
    folder: Path = tmp_path_factory.mktemp("plan")
    (folder / "plan.cpp").write_text(SOURCE)
    strict = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-I", str(KERNELS)]
    subprocess.run(["g++", *strict, str(folder / "plan.cpp"), "-o", str(folder / "plan.so")], check=True)
    library = c.CDLL(str(folder / "plan.so"))
    library.segments.restype, library.refusal.restype = I64, c.c_char_p
    return library


@pytest.mark.parametrize(
    ("multiprocessors", "b", "length", "d", "n", "segments"),
    [
        (H200, 1, 4, 256, 16, 1),  # nothing to cut
        (H200, 1, 256, 1536, 16, 8),  # 48 blocks become 384
        (H200, 1, 1024, 1536, 16, 8),
        (H200, 1, 65536, 1536, 16, 8),
        (H200, 1, 65536, 128, 16, 16),  # 4 blocks become 64
        (H200, 1, 4096, 192, 1, 16),
        (H200, 64, 256, 1536, 16, 1),  # full as it is
        (H200, 1, 1024, 1536, 64, 1),  # no segments of so many states
        (ORIN_NANO, 1, 4, 256, 16, 1),
        (ORIN_NANO, 1, 1024, 1536, 16, 1),
        (ORIN_NANO, 1, 1024, 128, 16, 8),
    ],
)
def test_time_is_cut_where_the_device_would_idle(
    library: c.CDLL, multiprocessors: int, b: int, length: int, d: int, n: int, segments: int
) -> None:
    problem = Scan(b=b, l=length, d=d, g=1, n=n, state_batch=b, type=0)
    device = Device(multiprocessors, 48 * 1024, 1 << 30)
    assert library.segments(c.byref(problem), c.byref(device)) == segments


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({}, ""),
        ({"b": 0, "state_batch": 0}, ""),
        ({"segments": 16, "z_row": 32, "B_row": 64, "C_row": 64}, ""),
        ({"segments": 3}, "segments must be 0, 1, 8 or 16"),
        ({"segments": 8, "n": 17}, "more than 16 states"),
        ({"B_row": 31}, "a row of z, B or C must hold at least"),
        ({"z_row": 15}, "a row of z, B or C must hold at least"),
        ({"C_row": 1 << 24}, "fewer than 2^24 elements"),
        ({"d": 1 << 24}, "fewer than 2^24 elements"),
        ({"l": (1 << 30) + 1}, "at most 2^30"),
        ({"g": 3}, "must divide"),
        ({"n": 257}, "1 to 256"),
    ],
)
def test_what_does_not_fit_is_refused(library: c.CDLL, changed: dict[str, int], says: str) -> None:
    sizes = {"b": 2, "l": 9, "d": 16, "g": 2, "n": 16, "state_batch": 2, "type": 0}
    said = library.refusal(c.byref(Scan(**{**sizes, **changed}))).decode()
    assert says in said if says else said == ""
