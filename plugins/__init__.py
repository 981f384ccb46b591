"""CUDA kernels of the two custom ops, and how they are compiled.

The sources in ``kernels/`` know nothing of TensorRT. Their arithmetic and control structure compile for a
CUDA device (``scan.cu``, ``mstb.cu``) and for the host (``host.cpp``), where the tests run them against the
oracles of :mod:`mimamba_edge.numerics`.

What the host build covers: every line between the launch and the memory system, with all index arithmetic,
every phase of every thread in several orders (a race would change bits), the cutting of the work, the checks.
What it does not: the launch itself, ``device_math.h`` (approximate exponential, conversions by PTX, CUDA's
``erff``, ``expf``, ``log1pf``, ``sincospif``), fused multiply-adds, memory coalescing and, of course, speed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mimamba_edge.artifact import check_writable
from mimamba_edge.errors import DependencyError, MimambaError, OutputError

__all__ = ["ARCHITECTURES", "KERNELS", "BuildError", "CudaReport", "KernelUse", "build_host", "compile_cuda"]

KERNELS = Path(__file__).resolve().parent / "kernels"
"""Folder of the sources."""

ARCHITECTURES = (75, 80, 86, 87, 89, 90, 100, 110, 120)
"""Compute capabilities, times ten, that the kernels are meant for. CUDA 12.6 (JetPack 6) ends at 90."""

_STANDARD = "-std=c++17"


class BuildError(MimambaError):
    """Kernels that a compiler refuses."""


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
class CudaReport:
    """What :func:`compile_cuda` did.

    Attributes:
        nvcc: Its version line.
        archs: What was compiled for.
        objects: One object file per source, each with the code of all architectures.
        kernels: One entry per kernel and architecture.
        seconds: Wall time per source.
    """

    nvcc: str
    archs: tuple[int, ...]
    objects: tuple[Path, ...]
    kernels: tuple[KernelUse, ...]
    seconds: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return what a record keeps: no paths."""
        return {
            "nvcc": self.nvcc,
            "archs": list(self.archs),
            "kernels": [asdict(k) for k in self.kernels],
            "seconds": {name: round(value, 1) for name, value in self.seconds.items()},
        }


def _tool(name: str, remedy: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise DependencyError(f"{name} is needed to compile the kernels and was not found", do=remedy)
    return found


def _run(command: Sequence[str | Path], what: str) -> str:
    """Run a compiler; return what it said, or raise BuildError with it."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    said = done.stdout + done.stderr
    if done.returncode:
        raise BuildError(
            f"{what} did not compile",
            got=f"exit {done.returncode}\n{said.strip()[-4000:]}",
            do=f"run it yourself: {' '.join(str(c) for c in command)}",
        )
    return said


def _folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {folder} cannot be made", got=error) from error
    check_writable(folder / "kernels")
    return folder


def build_host(folder: Path, *, flags: Sequence[str] = ("-O2",)) -> Path:
    """Compile the kernels' bodies for the host into a shared library with C names.

    Args:
        folder: Where ``libmimamba_host.so`` goes; made if it is not there.
        flags: Given to g++ besides the language, the warnings (as errors) and what a library needs.

    Raises:
        DependencyError: No g++.
        OutputError: The folder cannot be written.
        BuildError: The compiler refused; its words are in the message.
    """
    compiler = _tool("g++", "install a C++ compiler: apt install g++")
    library = _folder(folder) / "libmimamba_host.so"
    strict = ("-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-fvisibility=default")
    _run([compiler, _STANDARD, *strict, *flags, KERNELS / "host.cpp", "-o", library], "the host library")
    return library


def compile_cuda(
    folder: Path, archs: Sequence[int] = ARCHITECTURES, *, hot_only: bool = False, jobs: int = 2
) -> CudaReport:
    """Compile the kernels with nvcc, warnings as errors, and tell what each takes.

    The front end runs once, for the lowest architecture: the sources hold no code that depends on it. ptxas
    then runs for each.

    Args:
        folder: Where the object files go; made if it is not there.
        archs: Compute capabilities, times ten.
        hot_only: Leave out the selective scan of more than 16 states: a quick check.
        jobs: Compilations at a time.

    Raises:
        DependencyError: No nvcc.
        OutputError: The folder cannot be written.
        BuildError: nvcc does not know an architecture, or refused; its words are in the message.
    """
    compiler = _tool("nvcc", "install the CUDA toolkit, 12.6 or newer, and put its bin folder on PATH")
    known = {int(a) for a in re.findall(r"sm_(\d+)\b", _run([compiler, "--list-gpu-code"], "nvcc"))}
    if unknown := sorted(set(archs) - known):
        raise BuildError(
            "this nvcc does not know every architecture asked for",
            got=f"asked for {unknown}",
            expected=f"among {sorted(known)}",
            do="install a newer CUDA toolkit or name other architectures",
        )
    codes = ",".join(f"sm_{a}" for a in sorted(set(archs)))
    command: list[str | Path] = [compiler, _STANDARD, "-c", "-t", str(jobs)]
    command += ["-gencode", f"arch=compute_{min(archs)},code=[{codes}]", "-Xptxas", "-v"]
    command += ["-Werror", "all-warnings", "-Xcompiler", "-Wall,-Wextra,-fPIC"]
    command += ["-DMIMAMBA_HOT_ONLY"] if hot_only else []
    objects, uses, seconds = [], [], {}
    _folder(folder)
    for source in sorted(KERNELS.glob("*.cu")):
        target, started = folder / f"{source.stem}.o", time.perf_counter()
        said = _run([*command, source, "-o", target], source.name)
        seconds[source.name] = time.perf_counter() - started
        objects.append(target)
        uses += _uses(said)
    version = _run([compiler, "--version"], "nvcc").strip().splitlines()[-2]
    return CudaReport(version, tuple(sorted(set(archs))), tuple(objects), tuple(uses), seconds)


_USE = re.compile(
    r"Compiling entry function '(?P<name>\w+)' for 'sm_(?P<arch>\d+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, "
    r"(?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads.*?"
    r"Used (?P<registers>\d+) registers",
    re.DOTALL,
)


def _uses(said: str) -> list[KernelUse]:
    return [
        KernelUse(
            kernel=_plain(m["name"]),
            arch=int(m["arch"]),
            registers=int(m["registers"]),
            spill_stores=int(m["stores"]),
            spill_loads=int(m["loads"]),
            stack=int(m["stack"]),
        )
        for m in _USE.finditer(said)
    ]


def _plain(mangled: str) -> str:
    """Return name and template arguments of one of our kernels from its mangled name (Itanium C++ ABI)."""
    name = re.search(r"\d+([a-z]+_kernel)", mangled)
    arguments = re.findall(r"L([ib])(\d+)E", mangled)
    words = [value if kind == "i" else ("false", "true")[int(value)] for kind, value in arguments]
    return (name.group(1) if name else mangled) + (f"<{', '.join(words)}>" if words else "")
