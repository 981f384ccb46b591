"""How the kernels are compiled: for every architecture where nvcc is at hand, and clear errors elsewhere."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from mimamba_edge.errors import ConfigError, DependencyError, OutputError
from mimamba_edge.plugins import ARCHITECTURES, KERNELS
from mimamba_edge.plugins.cmake import LOG, BuildError, build_targets
from mimamba_edge.plugins.kernel_libraries import build_cuda_library, register_report

needs_nvcc = pytest.mark.skipif(
    shutil.which("nvcc") is None or shutil.which("cmake") is None,
    reason="needs CMake, and nvcc on PATH: install the CUDA toolkit, 12.6 or newer (no GPU is needed)",
)


@needs_nvcc
def test_all_architectures_compile_without_warnings_and_the_hot_kernels_do_not_spill(tmp_path: Path) -> None:
    report = register_report(tmp_path, hot_only=True)
    assert {k.arch for k in report.kernels} == set(ARCHITECTURES)
    types = ("float", "__half", "__nv_bfloat16")
    hot = {f"scan_kernel<{t}, 4, 4, {segments}>" for t in types for segments in (1, 8, 16)}
    hot |= {f"conv_kernel<{t}, {shared}>" for t in types for shared in ("true", "false")}
    hot |= {"spectrum_kernel", *(f"combine_kernel<{t}>" for t in types)}
    for arch in ARCHITECTURES:
        here = {k.kernel: k for k in report.kernels if k.arch == arch}
        assert hot == set(here)
        spilling = [k for k in here.values() if k.spill_stores or k.spill_loads]
        assert not [k for k in spilling if arch in (87, 90, 110)], spilling


@needs_nvcc
def test_the_kernels_come_as_a_library_with_c_names_and_what_is_added(tmp_path: Path) -> None:
    extra = KERNELS.parents[1] / "benchmarks" / "gpu" / "roofs.cu"
    library = ctypes.CDLL(str(build_cuda_library(tmp_path, (90,), extra=(extra,), hot_only=True)))
    for name in ("mimamba_query_device", "mimamba_launch_scan", "mimamba_mstb_workspace", "roof_copy"):
        assert getattr(library, name)


@pytest.mark.skipif(
    shutil.which("cmake") is None or shutil.which("g++") is None, reason="needs cmake and g++"
)
def test_what_cmake_says_is_shown(tmp_path: Path) -> None:
    settings = {"MIMAMBA_HOST_KERNELS": "ON", "MIMAMBA_KERNELS_ONLY": "ON"}
    with pytest.raises(BuildError, match="no_such_target") as refused:
        build_targets(["no_such_target"], tmp_path, tmp_path / LOG, settings)
    assert str(tmp_path / LOG) in str(refused.value)


def test_missing_tools_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDACXX", str(tmp_path / "nvcc"))
    with pytest.raises(DependencyError, match="cmake"):
        build_targets(["mimamba_cuda"], tmp_path, tmp_path / LOG, {})
    with pytest.raises(DependencyError, match="nvcc"):
        register_report(tmp_path / "cuda")


@needs_nvcc
def test_unknown_architectures_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"got: +\[31\]"):
        register_report(tmp_path, (31, 90))


@needs_nvcc
def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        build_cuda_library(tmp_path / "file", (90,))


def test_sources_are_packed_and_know_nothing_of_tensorrt() -> None:
    sources = sorted(KERNELS.iterdir())
    assert {"scan.cu", "mstb.cu", "kernels.h"} <= {path.name for path in sources}
    for path in sources:
        text = path.read_text(encoding="utf-8")
        assert "NvInfer" not in text
        assert len(text.splitlines()) <= 400, path


@needs_nvcc
def test_a_plain_compiler_takes_the_public_header(tmp_path: Path) -> None:
    caller = tmp_path / "caller.cpp"
    caller.write_text(
        '#include "kernels.h"\n'
        "mimamba::Status start(const mimamba::ScanProblem &problem) {\n"
        "  mimamba::Device device;\n"
        "  const mimamba::Status status = mimamba::query_device(0, &device);\n"
        "  return status.ok() ? mimamba::launch_scan(problem, device, nullptr) : status;\n"
        "}\n"
    )
    command = ["nvcc", "-std=c++17", "-x", "c++", "-Xcompiler", "-Wall,-Wextra,-Werror", "-I", str(KERNELS)]
    said = subprocess.run(
        [*command, "-c", str(caller), "-o", str(tmp_path / "caller.o")], capture_output=True, text=True
    )
    assert said.returncode == 0, said.stderr
