from __future__ import annotations

import os
from pathlib import Path

import pytest

from mimamba_edge.errors import DependencyError
from tests.ptx.build import project
from tests.ptx.device import Kernels


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test that needs the simulated device compiles all of it."""
    for item in items:
        if "simulated" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(900))


def tensorrt_headers() -> Path | None:
    """Folder that ``TENSORRT_ROOT`` names, if it holds TensorRT's headers."""
    root = os.environ.get("TENSORRT_ROOT", "")
    return Path(root).resolve() if root and Path(root, "include", "NvInfer.h").is_file() else None


@pytest.fixture(scope="session")
def simulated() -> Path:
    """Build folder of the plugins, their PTX on the simulated device."""
    try:
        return project(tensorrt_headers())
    except DependencyError as error:
        pytest.skip(f"needs nvcc, CMake and a C++ compiler, no GPU: {error}")


@pytest.fixture(scope="session")
def kernels(simulated: Path) -> Kernels:
    """The kernels through their C names."""
    return Kernels(simulated / "lib" / "libmimamba_cuda.so")
