"""Finds the GPU and builds for it: our kernels, and the roofs that no kernel can beat."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
from pathlib import Path
from typing import Any

from mimamba_edge.errors import DependencyError, MimambaError
from mimamba_edge.plugins.cmake import find_tool, nvcc
from mimamba_edge.plugins.kernel_libraries import build_cuda_library

__all__ = ["Roofs", "build_ours", "find_torch", "sm_of"]

HERE = Path(__file__).resolve().parent


def find_torch() -> Any:
    """Return torch with a CUDA device that it can use, and CMake and nvcc beside it.

    Raises:
        DependencyError: One of them is missing; the message says which.
    """
    if importlib.util.find_spec("torch") is None:
        raise DependencyError(
            "torch is not installed for this Python",
            do="use a Python that has a torch built for CUDA: make gpu-bench GPU_PYTHON=/path/to/python3",
        )
    torch = importlib.import_module("torch")
    if torch.version.cuda is None:
        raise DependencyError(
            "this torch is built for the CPU",
            got=torch.__version__,
            expected="a torch built for CUDA",
            do="install one, or name the Python that has one: make gpu-bench GPU_PYTHON=/path/to/python3",
        )
    if not torch.cuda.is_available():
        raise DependencyError(
            "no CUDA device can be used here",
            got=f"torch {torch.__version__} for CUDA {torch.version.cuda} finds none",
            do="run it on a machine with an NVIDIA GPU whose driver fits that CUDA (see nvidia-smi)",
        )
    find_tool("cmake"), nvcc()
    return torch


def sm_of(torch: Any) -> int:
    """Return the device's compute capability, times ten."""
    major, minor = torch.cuda.get_device_capability()
    return int(10 * major + minor)


class Roofs:
    """The kernels of ``roofs.cu``, launched on torch's current stream."""

    def __init__(self, library: Path, torch: Any) -> None:
        self._library = ctypes.CDLL(str(library))
        self._torch = torch
        self._processors = torch.cuda.get_device_properties(0).multi_processor_count
        self._sink = torch.zeros(1, device="cuda")

    def _call(self, name: str, *arguments: Any) -> None:
        if code := getattr(self._library, name)(*arguments):
            raise MimambaError(f"{name} failed", got=f"CUDA error {code}")

    def _stream(self) -> ctypes.c_void_p:
        return ctypes.c_void_p(self._torch.cuda.current_stream().cuda_stream)

    def copy(self, source: Any, target: Any) -> None:
        """Copy a contiguous tensor of a multiple of 16 bytes."""
        count = ctypes.c_int64(source.numel() * source.element_size() // 16)
        pointers = (ctypes.c_void_p(t.data_ptr()) for t in (source, target))
        self._call("roof_copy", *pointers, count, self._processors, self._stream())

    def exps(self, count: int) -> None:
        """Compute ``count`` exponentials."""
        sink = ctypes.c_void_p(self._sink.data_ptr())
        self._call("roof_exp", ctypes.c_int64(count), sink, self._processors, self._stream())

    def empty(self) -> None:
        """Launch a kernel that does nothing."""
        self._call("roof_empty", self._stream())

    def nodes(self, graph: int) -> int:
        """Return how many nodes a captured ``cudaGraph_t`` has."""
        count = ctypes.c_int64()
        self._call("graph_nodes", ctypes.c_void_p(graph), ctypes.byref(count))
        return count.value


def build_ours(folder: Path, sm: int) -> Path:
    """Compile our kernels and the roofs into one library."""
    return build_cuda_library(folder, (sm,), extra=(HERE / "roofs.cu",))
