"""Builds the custom ops for ONNX Runtime and writes the manifest beside them."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mimamba_edge import __version__
from mimamba_edge.artifact import cache_folder, manifest_path, sha256_file, write_json
from mimamba_edge.contract import OPS
from mimamba_edge.errors import DependencyError
from mimamba_edge.files import writing_failed
from mimamba_edge.machine import gpu
from mimamba_edge.outputs import BUILD_LOG, check_outputs, native_ops_beside
from mimamba_edge.plugins import SOURCES
from mimamba_edge.plugins.build import architectures
from mimamba_edge.plugins.cmake import (
    LOG,
    build_targets,
    check_architectures,
    cuda_version,
    find_tool,
    nvcc,
    said,
)
from mimamba_edge.runtime.native_ops import (
    CPU,
    CUDA,
    LIBRARY,
    NativeInfo,
    NativeOps,
    describe_native_ops,
    native_folder,
)

__all__ = ["build_native_ops", "compile_native_ops", "cuda_architectures"]


GLIBC = "2.28"
"""What a portable library may ask for at most, as ONNX Runtime's own wheels: Debian 10, JetPack 5, RHEL 8."""


@dataclass(frozen=True)
class _Compiler:
    """A C++ compiler: how it is called, what it says of itself, and variables of CMake that go with it."""

    command: tuple[str, ...]
    version: str
    settings: dict[str, str]


def _compiler(machine: str, portable: bool) -> _Compiler:
    """Return the compiler of ``CXX``; else g++, for another CPU the one that Debian and Ubuntu name after it.

    For a portable library, and where there is no such g++, the one of ziglang: it brings the headers of
    every glibc and a C++ library for every CPU.

    Raises:
        DependencyError: There is no CMake, or no such compiler.
    """
    find_tool("cmake")
    named, foreign = os.environ.get("CXX"), machine != platform.machine()
    settings = {"CMAKE_SYSTEM_NAME": "Linux", "CMAKE_SYSTEM_PROCESSOR": machine} if foreign else {}
    tool = named or (f"{machine}-linux-gnu-g++" if foreign else "g++")
    if named is None and (portable or shutil.which(tool) is None):
        if importlib.util.find_spec("ziglang") is not None:
            command = (sys.executable, "-m", "ziglang", "c++", "-target", f"{machine}-linux-gnu.{GLIBC}")
            version = f"zig {said(*command[:3], 'version').strip()} for glibc {GLIBC}"
            return _Compiler(command, version, settings)
        if foreign and shutil.which(tool) is None:
            raise DependencyError(
                f"no C++ compiler for {machine} was found",
                do=f"apt install g++-{machine}-linux-gnu or pip install ziglang, or name one by CXX",
            )
    tool = find_tool(tool)
    return _Compiler((tool,), (said(tool, "--version").splitlines() or ["unknown"])[0], settings)


def cuda_architectures(asked: Sequence[str] = ()) -> tuple[int, ...]:
    """Return compute capabilities times ten: those asked for, else those of this machine where nvcc is.

    Args:
        asked: As for the plugins: ``["87,90"]``.

    Returns:
        None at all: the library is for the CPU alone.

    Raises:
        ConfigError: Not such numbers.
    """
    if asked:
        return architectures(asked)
    here = gpu.architectures()
    try:
        return here if here and nvcc() else ()
    except DependencyError:
        return ()


def _program(compiler: _Compiler, folder: Path) -> str:
    """Return a compiler as the one program that CMake takes."""
    if len(compiler.command) == 1:
        return compiler.command[0]
    path = folder / "c++"
    path.write_text(f'#!/bin/sh\nexec {shlex.join(compiler.command)} "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def _key(compiler: _Compiler, machine: str, cuda: str | None, archs: Sequence[int]) -> str:
    digest = hashlib.sha256()
    folders = ("onnxruntime", "kernels") if archs else ("onnxruntime",)
    files = (path for folder in folders for path in sorted((SOURCES / folder).iterdir()))
    for path in (SOURCES / "CMakeLists.txt", *files):
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    digest.update(repr((__version__, compiler.version, machine, cuda, *archs)).encode())
    return digest.hexdigest()[:16]


def compile_native_ops(
    work: Path,
    log: Path,
    *,
    archs: Sequence[int] = (),
    settings: dict[str, str] | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> Path:
    """Compile the library and return its path, ``work/lib/libmimamba_ort.so``.

    Args:
        work: Folder of the build's own.
        log: File that gets all that is printed.
        archs: Compute capabilities times ten of the ops for the CUDA provider; none: for the CPU alone.
        settings: More variables of CMake.
        progress: Told the share that is done, 0 to 1, and of what.

    Raises:
        DependencyError: There is no CMake, no C++ compiler or, for CUDA, no nvcc.
        BuildError: The compiler refused; the message names the log and its last words.
    """
    given = {"CMAKE_BUILD_TYPE": "Release", "MIMAMBA_VERSION": __version__}
    if archs:
        given["MIMAMBA_KERNELS_ONLY"] = "ON"
        given["CMAKE_CUDA_COMPILER"] = nvcc()
        given["CMAKE_CUDA_ARCHITECTURES"] = ";".join(map(str, archs))
    else:
        given["MIMAMBA_ONNXRUNTIME_ONLY"] = "ON"
    build_targets(("mimamba_ort",), work, log, {**given, **(settings or {})}, progress=progress)
    return work / "lib" / LIBRARY


def build_native_ops(
    out: Path | None = None,
    *,
    archs: Sequence[int] = (),
    machine: str | None = None,
    portable: bool = False,
    progress: Callable[[float, str], None] | None = None,
) -> NativeOps:
    """Build the library and its manifest with CMake and a C++ compiler, and nvcc for CUDA.

    Nothing but the log is in ``out`` before all is built. In the cache, what was built of the same sources
    with the same compiler is taken as it is.

    Args:
        out: Folder; by default one of its own in the cache.
        archs: Compute capabilities times ten of the ops for the CUDA provider; none: for the CPU alone.
        machine: CPU to build for, as ``platform.machine()`` says it; by default this one.
        portable: For other systems with this CPU, too: by ziglang's compiler, where it is installed.
        progress: Told the share that is done, 0 to 1, and of what.

    Raises:
        ConfigError: nvcc does not know an architecture.
        DependencyError: There is no CMake, no C++ compiler or, for CUDA, no nvcc.
        OutputError: ``out`` cannot be written.
        BuildError: The build failed; the message names the log and its last words.
    """
    machine = machine or platform.machine()
    compiler, cuda = _compiler(machine, portable), None
    if archs:
        check_architectures(archs, nvcc())
        cuda = cuda_version(nvcc())
    if out is None:
        # A library for another CPU stays out of the folder in which this machine looks.
        kept = native_folder() if machine == platform.machine() else cache_folder() / f"{machine}-ops"
        folder = kept / _key(compiler, machine, cuda, archs)
    else:
        folder = Path(out).absolute()
    library = folder / LIBRARY
    if out is None and library.is_file():
        held = describe_native_ops(library, machine=machine)
        if held.info is not None and held.problem is None:
            return held
    check_outputs([(library, native_ops_beside(library)), (folder / LOG, BUILD_LOG)])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".build-", dir=folder) as work:
            settings = {**compiler.settings, "CMAKE_CXX_COMPILER": _program(compiler, Path(work))}
            built = compile_native_ops(
                Path(work), folder / LOG, archs=archs, settings=settings, progress=progress
            )
            info = NativeInfo(
                file=LIBRARY,
                sha256=sha256_file(built),
                mimamba_edge=__version__,
                ops=OPS,
                machine=machine,
                compiler=compiler.version,
                providers=(CPU, CUDA) if archs else (CPU,),
                architectures=tuple(archs),
                cuda=cuda,
            )
            # The manifest goes first: a reader in between finds it and the old library in disagreement.
            write_json(manifest_path(library), info.to_dict())
            built.replace(library)
    except OSError as error:
        raise writing_failed(folder, error) from error
    return describe_native_ops(library, machine=machine)
