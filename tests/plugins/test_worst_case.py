"""The kernels where every approximation is as wrong as it may be: each still within its tolerance."""

from __future__ import annotations

from pathlib import Path

import pytest

from mimamba_edge.errors import DependencyError
from tests.ptx.device import Kernels
from tests.ptx.mutants import CASES, library, mstb_cases, scan_cases

pytestmark = pytest.mark.timeout(900)  # the first test compiles
WORST_CASE = Path(__file__).parents[1] / "ptx" / "worst_case.cuh"


@pytest.fixture(scope="module")
def worst() -> Kernels:
    """The kernels with the worst of the CUDA library's functions."""
    try:
        return Kernels(library(None, options=["-include", str(WORST_CASE)]))
    except DependencyError as error:
        pytest.skip(f"needs nvcc and a C++ compiler, no GPU: {error}")


@pytest.mark.parametrize("op", CASES)
def test_errors_up_or_down_by_argument(worst: Kernels, op: str) -> None:
    with worst.setting(approx_error=1):
        for case in CASES[op](worst):
            case()


@pytest.mark.parametrize("approx_error", [2, 3])
def test_errors_of_one_sign(worst: Kernels, approx_error: int) -> None:
    """Not for states that grow: the errors of all steps multiply, in any single precision."""
    with worst.setting(approx_error=approx_error):
        for case in (*scan_cases(worst, growing=False), *mstb_cases(worst)):
            case()
