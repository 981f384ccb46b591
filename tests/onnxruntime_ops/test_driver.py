"""The ops without ONNX Runtime: under sanitizers, and as NEON code in an emulator."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.kept import cxx, plugin_build

pytestmark = pytest.mark.slow

DRIVER = "mimamba_ort_driver"


def _build(name: str, compiler: str, **settings: str) -> Path:
    given = {"MIMAMBA_ONNXRUNTIME_ONLY": "ON", "CMAKE_BUILD_TYPE": "None", **settings}
    work = plugin_build(name, (DRIVER,), given, compiler, folders=("onnxruntime", "harness"))
    return work / "build" / "onnxruntime" / DRIVER


def _run(*command: str | Path, **environment: str) -> None:
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert " 0 failed" in done.stdout


def test_addresses_and_undefined_behaviour() -> None:
    driver = _build("ort-addresses", cxx(), MIMAMBA_SANITIZE="ON", CMAKE_CXX_FLAGS="-O0")
    for seed, target in enumerate(("avx512", "avx2", "baseline")):  # what this CPU lacks: its best again
        _run(driver, "60", str(seed), MIMAMBA_ORT_TARGET=target)


def test_threads() -> None:
    driver = _build("ort-threads", cxx(), CMAKE_CXX_FLAGS="-O1 -g1 -fsanitize=thread")
    # Older thread sanitizers do not know where newer kernels put libraries.
    fixed = ("setarch", platform.machine(), "-R") if shutil.which("setarch") else ()
    _run(*fixed, driver, "80", "7", TSAN_OPTIONS="halt_on_error=1")


def test_neon_in_an_emulator() -> None:
    compiler, emulator = shutil.which("aarch64-linux-gnu-g++"), shutil.which("qemu-aarch64-static")
    if compiler is None or emulator is None:
        pytest.skip(
            "needs an aarch64 compiler and emulator: apt install g++-aarch64-linux-gnu qemu-user-static"
        )
    cxx()
    driver = _build(
        "ort-neon",
        compiler,
        CMAKE_SYSTEM_NAME="Linux",
        CMAKE_SYSTEM_PROCESSOR="aarch64",
        CMAKE_CXX_COMPILER=compiler,
        CMAKE_EXE_LINKER_FLAGS="-static",
        CMAKE_CXX_FLAGS="-O2",
    )
    _run(emulator, driver, "60", "3")
