from __future__ import annotations

import pytest

from mimamba_edge.errors import DependencyError
from tests.ptx.build import kernel_library
from tests.ptx.device import Kernels


@pytest.fixture(scope="session")
def kernels() -> Kernels:
    """The kernels' PTX on the simulated device."""
    try:
        return Kernels(kernel_library())
    except DependencyError as error:
        pytest.skip(f"needs nvcc and a C++ compiler (no GPU): {error}")
