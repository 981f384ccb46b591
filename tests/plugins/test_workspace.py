"""TensorRT does not tell a launch how much workspace it has: no shape may need more than a larger one got."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from mimamba_edge.plugins import KERNELS

HERE = Path(__file__).parent


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler: apt install g++")
def test_every_shape_and_device_stays_in_the_workspace_of_a_larger_shape(
    cuda_headers: Path, tmp_path: Path
) -> None:
    tensorrt = KERNELS.parent / "tensorrt"
    program = tmp_path / "workspace"
    command = ["g++", "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-DMIMAMBA_HOST_KERNELS"]
    command += ["-I", str(KERNELS), "-I", str(tensorrt), "-isystem", str(cuda_headers)]
    sources = [str(HERE / "workspace.cpp"), str(tensorrt / "core.cpp")]
    subprocess.run([*command, *sources, "-o", str(program)], check=True)
    ran = subprocess.run([str(program)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout
