"""The kernels without TensorRT: as libraries with C names, and what ptxas says of each."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mimamba_edge.artifact import check_writable
from mimamba_edge.errors import OutputError
from mimamba_edge.plugins import ARCHITECTURES
from mimamba_edge.plugins.cmake import LOG, build_targets, check_architectures, nvcc, said

__all__ = ["KernelUse", "RegisterReport", "build_cuda_library", "register_report"]


@dataclass(frozen=True)
class KernelUse:
    """What one kernel takes of one architecture, as ``ptxas -v`` tells it.

    Attributes:
        kernel: Name with its template arguments, such as ``scan_kernel<4, 4, false>``.
        arch: Compute capability times ten.
        registers: Of a thread.
        spill_stores: Bytes of a thread written to local memory for want of registers.
        spill_loads: Bytes read back.
        stack: Bytes of a thread's stack frame.
    """

    kernel: str
    arch: int
    registers: int
    spill_stores: int
    spill_loads: int
    stack: int


@dataclass(frozen=True)
class RegisterReport:
    """What :func:`register_report` found.

    Attributes:
        nvcc: Its version line.
        archs: What was compiled for.
        kernels: One entry per kernel and architecture.
        seconds: Wall time.
    """

    nvcc: str
    archs: tuple[int, ...]
    kernels: tuple[KernelUse, ...]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return what a record keeps."""
        return {**asdict(self), "seconds": round(self.seconds, 1)}


def build_cuda_library(
    folder: Path, archs: Sequence[int] = ARCHITECTURES, *, extra: Sequence[Path] = (), hot_only: bool = False
) -> Path:
    """Compile the kernels and the launchers of ``kernels/c_api.h`` into ``libmimamba_cuda.so``.

    The CUDA runtime is linked statically: the library works beside any other copy of it in the process.

    Args:
        folder: Where it goes; made if it is not there.
        archs: Compute capabilities, times ten, to make machine code for.
        extra: CUDA sources with C names of their own that go into the same library.
        hot_only: Leave out the selective scan of more than 16 states: a quick check.

    Raises:
        ConfigError: nvcc does not know an architecture.
        DependencyError: No CMake, no C++ compiler or no nvcc.
        OutputError: The folder cannot be written.
        BuildError: nvcc refused; its words are in the message.
    """
    settings = _for_device([f"{arch}-real" for arch in archs], archs, hot_only)
    settings["MIMAMBA_EXTRA"] = ";".join(str(path.absolute()) for path in extra)
    _build("mimamba_cuda", folder, settings)
    return folder / "lib" / "libmimamba_cuda.so"


def register_report(
    folder: Path, archs: Sequence[int] = ARCHITECTURES, *, hot_only: bool = False
) -> RegisterReport:
    """Compile the kernels, warnings as errors, and tell what each takes of a device.

    Args:
        folder: Where CMake works; made if it is not there.
        archs: Compute capabilities, times ten.
        hot_only: Leave out the selective scan of more than 16 states: a quick check.

    Raises:
        ConfigError: nvcc does not know an architecture.
        DependencyError: No CMake, no C++ compiler or no nvcc.
        OutputError: The folder cannot be written.
        BuildError: nvcc refused; its words are in the message.
    """
    settings = {**_for_device([str(arch) for arch in archs], archs, hot_only), "MIMAMBA_STRICT": "ON"}
    started = time.perf_counter()
    # One at a time: what two compilers print together cannot be told apart.
    printed = _build("mimamba_registers", folder, settings, jobs=1)
    version = said(nvcc(), "--version").strip().splitlines()[-2]
    return RegisterReport(version, tuple(sorted(archs)), _uses(printed), time.perf_counter() - started)


def _for_device(named: Sequence[str], archs: Sequence[int], hot_only: bool) -> dict[str, str]:
    compiler = nvcc()
    check_architectures(archs, compiler)
    return {
        "CMAKE_CUDA_COMPILER": compiler,
        "CMAKE_CUDA_ARCHITECTURES": ";".join(named),
        "MIMAMBA_HOT_ONLY": "ON" if hot_only else "OFF",
    }


def _build(target: str, folder: Path, settings: dict[str, str], *, jobs: int | None = None) -> str:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {folder} cannot be made", got=error) from error
    check_writable(folder / LOG)
    return build_targets(
        [target], folder, folder / LOG, {"MIMAMBA_KERNELS_ONLY": "ON", **settings}, jobs=jobs
    )


_USE = re.compile(
    r"Compiling entry function '(?P<name>\w+)' for 'sm_(?P<arch>\d+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, "
    r"(?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads.*?"
    r"Used (?P<registers>\d+) registers",
    re.DOTALL,
)


def _uses(printed: str) -> tuple[KernelUse, ...]:
    return tuple(
        KernelUse(
            kernel=_plain(m["name"]),
            arch=int(m["arch"]),
            registers=int(m["registers"]),
            spill_stores=int(m["stores"]),
            spill_loads=int(m["loads"]),
            stack=int(m["stack"]),
        )
        for m in _USE.finditer(printed)
    )


def _plain(mangled: str) -> str:
    """Return name and template arguments of one of our kernels from its mangled name (Itanium C++ ABI)."""
    found = re.search(r"\d+([a-z]+_kernel)(?:I(\w+?)EEv)?", mangled)
    if not found:
        return mangled
    arguments = re.findall(r"L([ib])(\d+)E|^(f)|(__half|__nv_bfloat16)", (found[2] or "") + "E")
    words = [
        word or ("float" if real else value if kind == "i" else ("false", "true")[int(value)])
        for kind, value, real, word in arguments
    ]
    return found[1] + (f"<{', '.join(words)}>" if words else "")
