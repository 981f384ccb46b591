from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mimamba_edge.plugins.kernel_libraries import build_host_library
from tests.plugins.hostlib import Host


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    if shutil.which("g++") is None or shutil.which("cmake") is None:
        pytest.skip("needs CMake and a C++ compiler: apt install cmake g++")
    folder: Path = tmp_path_factory.mktemp("kernels")
    return Host(build_host_library(folder))
