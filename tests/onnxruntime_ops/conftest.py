from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from mimamba_edge.plugins.build_onnxruntime import compile_native_ops


@pytest.fixture(scope="session")
def native(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library, warnings as errors."""
    if shutil.which(os.environ.get("CXX", "g++")) is None or shutil.which("cmake") is None:
        pytest.skip("needs CMake and a C++ compiler: apt install cmake g++")
    folder = tmp_path_factory.mktemp("ort-ops")
    return compile_native_ops(folder, folder / "build.log", settings={"MIMAMBA_STRICT": "ON"})
