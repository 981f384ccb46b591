from __future__ import annotations

from pathlib import Path

import pytest

from mimamba_edge.plugins import SOURCES, build_onnxruntime, cmake
from mimamba_edge.runtime.native_ops import LIBRARY
from tests.kept import cxx, digest_of, kept


@pytest.fixture(scope="session")
def native() -> Path:
    """The library, warnings as errors."""
    files = [Path(str(module.__file__)) for module in (build_onnxruntime, cmake)]
    files += [SOURCES / "CMakeLists.txt", *(SOURCES / "onnxruntime").iterdir()]
    digest = digest_of(files, cmake.said(cxx(), "--version"))

    def make(folder: Path) -> None:
        strict = {"MIMAMBA_STRICT": "ON"}
        build_onnxruntime.compile_native_ops(folder, folder / "build.log", settings=strict)

    return kept("ort-ops", digest, make) / "lib" / LIBRARY
