from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mimamba_edge.plugins import build_host
from tests.plugins.hostlib import Host


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    if shutil.which("g++") is None:
        pytest.skip("needs a C++ compiler: apt install g++")
    folder: Path = tmp_path_factory.mktemp("kernels")
    return Host(build_host(folder))
