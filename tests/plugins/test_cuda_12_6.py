"""JetPack 6 has CUDA 12.6: no header, intrinsic, instruction or call of the kernels may be newer."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mimamba_edge.plugins import KERNELS

# Headers of the toolkit that 12.6 has, with what the kernels take of them.
HEADERS = {"cuda_bf16.h", "cuda_fp16.h", "cuda_pipeline_primitives.h", "cuda_runtime_api.h"}
WHEELS = "nvidia-cuda-nvcc-cu12==12.6.* nvidia-cuda-runtime-cu12==12.6.* nvidia-cuda-cccl-cu12==12.6.*"


def test_no_other_header_of_the_toolkit_is_included() -> None:
    for path in KERNELS.iterdir():
        for header in re.findall(r"#include <(\S+\.\w+)>", path.read_text(encoding="utf-8")):
            assert header in HEADERS, f"{path.name}: does CUDA 12.6 have all that is used of {header}?"


@pytest.fixture(scope="module")
def cuda126() -> Path:
    named = os.environ.get("MIMAMBA_CUDA126")
    if not named or shutil.which("nvcc") is None:
        pytest.skip(
            f"needs nvcc, and CUDA 12.6's headers and ptxas: pip install --no-deps --target DIR {WHEELS}, "
            "then set MIMAMBA_CUDA126 to DIR"
        )
    return Path(named) / "nvidia"


@pytest.mark.parametrize("source", ["scan.cu", "mstb.cu"])
@pytest.mark.parametrize("arch", [75, 87, 90])
def test_headers_and_assembler_of_12_6_take_the_kernels(
    cuda126: Path, tmp_path: Path, source: str, arch: int
) -> None:
    """A newer nvcc parses them, since no package index has that of 12.6; the rest is of 12.6."""
    ptx = tmp_path / "kernels.ptx"
    wheels = ("cuda_runtime", "cuda_nvcc", "cuda_cccl")
    folders = [word for wheel in wheels for word in ("-I", str(cuda126 / wheel / "include"))]
    command = ["nvcc", "-std=c++17", "-O3", f"-arch=compute_{arch}", "-ptx", *folders, str(KERNELS / source)]
    # The version that the headers name: were they not found first, nothing would be shown.
    version = tmp_path / "version.cu"
    version.write_text('#include <cuda_runtime_api.h>\nstatic_assert(CUDART_VERSION / 10 == 1206, "");\n')
    for words in ([*command[:-1], str(version)], command):
        done = subprocess.run([*words, "-o", str(ptx)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    # 8.5 is the PTX of 12.6: it refuses what is newer.
    ptx.write_text(re.sub(r"^\.version .*$", ".version 8.5", ptx.read_text(), flags=re.MULTILINE))
    assembler = cuda126 / "cuda_nvcc" / "bin" / "ptxas"
    assembler.chmod(0o755)
    done = subprocess.run(
        [str(assembler), f"-arch=sm_{arch}", "-v", str(ptx), "-o", os.devnull], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Compiling entry function" in done.stderr
    assert not re.findall(r"[1-9]\d* bytes spill", done.stderr)
