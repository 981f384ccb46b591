"""How the kernels are compiled: for every architecture where nvcc is at hand, and clear errors elsewhere."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from mimamba_edge.errors import DependencyError, OutputError
from mimamba_edge.plugins import ARCHITECTURES, KERNELS, BuildError, build_host, compile_cuda

needs_nvcc = pytest.mark.skipif(
    shutil.which("nvcc") is None,
    reason="needs nvcc: install the CUDA toolkit, 12.6 or newer (no GPU is needed), and put its bin on PATH",
)


@needs_nvcc
def test_all_architectures_compile_without_warnings_and_the_hot_kernels_do_not_spill(tmp_path: Path) -> None:
    report = compile_cuda(tmp_path, hot_only=True)
    assert {k.arch for k in report.kernels} == set(ARCHITECTURES)
    hot = {"scan_kernel<4, 4, false>", "scan_kernel<4, 4, true>", "conv_kernel<true>", "spectrum_kernel"}
    for arch in ARCHITECTURES:
        here = {k.kernel: k for k in report.kernels if k.arch == arch}
        assert hot | {"conv_kernel<false>", "combine_kernel"} == set(here)
        spilling = [k for k in here.values() if k.spill_stores or k.spill_loads]
        assert not [k for k in spilling if arch in (87, 90, 110)], spilling
    assert all(path.stat().st_size > 1000 for path in report.objects)


def test_missing_compilers_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DependencyError, match=r"g\+\+"):
        build_host(tmp_path / "host")
    with pytest.raises(DependencyError, match="nvcc"):
        compile_cuda(tmp_path / "cuda")


@needs_nvcc
def test_unknown_architectures_are_named(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"asked for \[31\]"):
        compile_cuda(tmp_path, (31, 90))


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler: apt install g++")
def test_what_a_compiler_says_is_shown(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="unrecognized"):
        build_host(tmp_path, flags=("--no-such-flag",))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        build_host(tmp_path / "file")


def test_sources_are_packed_and_know_nothing_of_tensorrt() -> None:
    sources = sorted(KERNELS.iterdir())
    assert {"scan.cu", "mstb.cu", "host.cpp"} <= {path.name for path in sources}
    for path in sources:
        text = path.read_text(encoding="utf-8")
        assert "NvInfer" not in text
        assert len(text.splitlines()) <= 400, path


@needs_nvcc
def test_a_plain_compiler_takes_the_public_header(tmp_path: Path) -> None:
    caller = tmp_path / "caller.cpp"
    caller.write_text(
        '#include "kernels.h"\n'
        "mimamba::Status size(const mimamba::ScanProblem &problem, int64_t *bytes) {\n"
        "  mimamba::Device device;\n"
        "  const mimamba::Status status = mimamba::query_device(0, &device);\n"
        "  return status.ok() ? mimamba::scan_workspace(problem, device, bytes) : status;\n"
        "}\n"
    )
    command = ["nvcc", "-std=c++17", "-x", "c++", "-Xcompiler", "-Wall,-Wextra,-Werror", "-I", str(KERNELS)]
    said = subprocess.run(
        [*command, "-c", str(caller), "-o", str(tmp_path / "caller.o")], capture_output=True, text=True
    )
    assert said.returncode == 0, said.stderr
