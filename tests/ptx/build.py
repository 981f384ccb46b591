"""Compiles the simulator, and kernels as PTX for it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from mimamba_edge.errors import DependencyError
from mimamba_edge.plugins import KERNELS
from mimamba_edge.plugins.cmake import find_tool, nvcc
from tests.kept import digest_of, kept, plugin_build

SIMULATOR = Path(__file__).with_name("sim")
ARCHITECTURE = "compute_80"
# The simulator reads PTX as text; line numbers let it name the source of what it finds.
KEEP_PTX = ("--no-compress", "-lineinfo")
# The host's arithmetic must be the device's: no contraction of a * b + c, wrapping integers.
ARITHMETIC = ("-fwrapv", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math")
STRICT = ("-std=c++17", "-O3", "-march=native", "-fPIC", "-Wall", "-Wextra", "-Werror")


def _run(*command: str | Path) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


@cache
def cuda_headers() -> Path:
    """Return the folder of CUDA's headers, as nvcc tells it.

    Raises:
        DependencyError: There is no nvcc, or its headers are not there.
    """
    said = subprocess.run([nvcc(), "--dryrun", "-c", "no.cu"], capture_output=True, text=True).stderr
    top = re.search(r"^#\$ TOP=(.*)$", said, re.MULTILINE)
    for inside in ("include", f"targets/{platform.machine()}-linux/include"):
        if top and (Path(top[1]) / inside / "cuda_runtime_api.h").is_file():
            return (Path(top[1]) / inside).resolve()
    raise DependencyError(f"the headers of {nvcc()} were not found", do="install the CUDA toolkit")


@cache
def simulator() -> Path:
    """Return ``libptxsim.so``, which takes the place of libcudart.

    Raises:
        DependencyError: There is no nvcc or no C++ compiler.
    """
    include, compiler = cuda_headers(), find_tool(os.environ.get("CXX", "g++"))
    sources = sorted(SIMULATOR.glob("*.cpp"))
    processor = Path("/proc/cpuinfo")
    flags = next((s for s in processor.read_text().splitlines() if s.startswith("flags")), "")

    def make(folder: Path) -> None:
        def compile_one(source: Path) -> Path:
            made = folder / f"{source.stem}.o"
            _run(compiler, *STRICT, *ARITHMETIC, "-isystem", include, "-c", source, "-o", made)
            return made

        with ThreadPoolExecutor(2) as pool:
            objects = list(pool.map(compile_one, sources))
        name = "libptxsim.so"
        _run(compiler, "-shared", "-Wl,-Bsymbolic", f"-Wl,-soname,{name}", "-o", folder / name, *objects)
        for made in objects:
            made.unlink()

    digest = digest_of(sorted(SIMULATOR.iterdir()), _run(compiler, "--version"), flags, *STRICT, *ARITHMETIC)
    return kept("simulator", digest, make) / "libptxsim.so"


@cache
def project(headers: Path | None) -> Path:
    """Return the build folder of ``plugins``, its kernels as PTX and the simulator in place of libcudart.

    The targets are those of a real build: ``lib/libmimamba_cuda.so``, ``lib/libmimamba_ort.so``, the harness,
    and with TensorRT's headers the plugin library.

    Args:
        headers: Folder that holds TensorRT's ``include/``.

    Raises:
        DependencyError: There is no nvcc, no CMake or no C++ compiler.
    """
    runtime, compiler = simulator(), nvcc()
    settings = {
        "CMAKE_CUDA_COMPILER": compiler,
        "CMAKE_CUDA_ARCHITECTURES": f"{ARCHITECTURE.removeprefix('compute_')}-virtual",
        "CMAKE_CUDA_FLAGS": " ".join(("-O1", *KEEP_PTX)),
        # Where FindCUDAToolkit looks for the runtime, and no second one from nvcc.
        "CUDA_cudart_static_LIBRARY": str(runtime),
        "CMAKE_CUDA_RUNTIME_LIBRARY": "None",
        "CMAKE_BUILD_TYPE": "None",
        "CMAKE_CXX_FLAGS": "-O1",
        "MIMAMBA_STRICT": "ON",
    }
    targets = ["mimamba_cuda", "mimamba_harness_kernels", "mimamba_ort", "mimamba_ort_cuda_driver"]
    if headers:
        settings["TENSORRT_ROOT"] = str(headers)
        targets += ["mimamba_plugin", "mimamba_harness"]
    else:
        settings["MIMAMBA_KERNELS_ONLY"] = "ON"
    return plugin_build("project", targets, settings, compiler, headers=headers)


def kernel_library(
    sources: Sequence[Path], *, headers: Path = KERNELS, options: Sequence[str] = (), link: Path | None = None
) -> Path:
    """Return a library of CUDA sources, compiled to PTX alone and linked with the simulator.

    Args:
        sources: Files to compile, one after the other.
        headers: Folder of what they include.
        options: Of nvcc, such as ``-DMIMAMBA_HOT_ONLY``.
        link: Another library, for what these sources lack.

    Raises:
        DependencyError: There is no nvcc or no C++ compiler.
    """
    runtime, compiler = simulator(), nvcc()
    words = ["-O1", "-std=c++17", f"-arch={ARCHITECTURE}", *KEEP_PTX, "-Xcompiler=-fPIC", *options]

    def make(made: Path) -> None:
        objects = [made / f"{source.stem}.o" for source in sources]
        for source, out in zip(sources, objects, strict=True):
            _run(compiler, *words, f"-I{headers}", "-c", source, "-o", out)
        libraries = [runtime, *([link] if link else [])]
        paths = [f"-Wl,-rpath,{library.parent}" for library in libraries]
        linker = find_tool(os.environ.get("CXX", "g++"))
        name = f"lib{made.name}.so"  # of its own: two in one process are two libraries
        soname = f"-Wl,-soname,{name}"
        _run(linker, "-shared", soname, "-o", made / name, *objects, *libraries, *paths)

    named = {path for path in map(Path, options) if path.is_file()}  # what -include names
    files = {*sources, *headers.glob("*.h"), *headers.glob("*.cuh"), *named}
    digest = digest_of(sorted(files), str(runtime), str(link), _run(compiler, "--version"), *words)
    folder = kept("kernels", digest, make)
    return folder / f"lib{folder.name}.so"
