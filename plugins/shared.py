"""The CUDA kernels as a shared library with C names: for PyTorch and measurements, without TensorRT."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mimamba_edge.plugins import ARCHITECTURES, _run, _tool, compile_cuda

__all__ = ["build_cuda_library"]


def build_cuda_library(
    folder: Path, archs: Sequence[int] = ARCHITECTURES, *, extra: Sequence[Path] = ()
) -> Path:
    """Compile the kernels and the launchers of ``c_api.h`` into ``libmimamba_cuda.so``.

    The CUDA runtime is linked statically: the library works beside any other copy of it in the process.

    Args:
        folder: Where it goes, with its object files; made if it is not there.
        archs: Compute capabilities, times ten.
        extra: CUDA sources with C names of their own that go into the same library.

    Raises:
        DependencyError: No nvcc.
        OutputError: The folder cannot be written.
        BuildError: nvcc refused; its words are in the message.
    """
    report = compile_cuda(folder, archs)
    library = folder / "libmimamba_cuda.so"
    codes = ",".join(f"sm_{a}" for a in report.archs)
    command: list[str | Path] = [_tool("nvcc", ""), "-std=c++17", "-shared", "-Xcompiler", "-fPIC"]
    command += ["-gencode", f"arch=compute_{min(archs)},code=[{codes}]"]
    _run([*command, *report.objects, *extra, "-o", library], "the CUDA library")
    return library
