"""Builds the plugin libraries and writes the manifest beside them."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mimamba_edge import __version__
from mimamba_edge.artifact import manifest_path, sha256_file, write_json
from mimamba_edge.contract import OPS
from mimamba_edge.errors import ConfigError, DependencyError
from mimamba_edge.files import writing_failed
from mimamba_edge.machine import gpu
from mimamba_edge.outputs import BUILD_LOG, check_outputs, plugin_beside
from mimamba_edge.plugins import SOURCES
from mimamba_edge.plugins.cmake import (
    LOG,
    build_targets,
    check_architectures,
    cross_settings,
    cuda_version,
    find_tool,
    nvcc,
    said,
)
from mimamba_edge.trt.library import (
    AUTOREG,
    LIBRARY,
    PluginInfo,
    PluginLibrary,
    autoreg_path,
    describe_library,
    plugin_folder,
)

__all__ = ["Tools", "architectures", "build_plugin", "find_tools"]


@dataclass(frozen=True)
class Tools:
    """What a build takes from this machine.

    Attributes:
        compiler_version: Version line of the C++ compiler.
        nvcc: Path; ``None`` for host kernels.
        cuda: Version of nvcc, such as ``"12.6"``; ``None`` for host kernels.
        tensorrt: Folder that holds ``NvInfer.h``.
        tensorrt_version: Of the headers, such as ``"10.3.0"``.
        settings: What CMake must be told to build for another CPU.
    """

    compiler_version: str
    nvcc: str | None
    cuda: str | None
    tensorrt: Path
    tensorrt_version: str
    settings: Mapping[str, str] = field(default_factory=dict)


def find_tools(*, host_kernels: bool = False, cuda: str | None = None, machine: str | None = None) -> Tools:
    """Find CMake, compilers and TensorRT's headers.

    Args:
        host_kernels: No nvcc is needed.
        cuda: Version that nvcc must have, such as ``"12.6"``.
        machine: CPU to build for, as ``platform.machine()`` says it; by default this one.

    Raises:
        DependencyError: One is missing; the message says how to get it.
    """
    find_tool("cmake")
    foreign = machine is not None and machine != platform.machine()
    compiler = find_tool(os.environ.get("CXX", f"{machine}-linux-gnu-g++" if foreign else "g++"))
    compiler_cuda = None if host_kernels else nvcc(cuda)
    headers, version = _headers()
    return Tools(
        compiler_version=(said(compiler, "--version").splitlines() or ["unknown"])[0],
        nvcc=compiler_cuda,
        cuda=cuda_version(compiler_cuda) if compiler_cuda else None,
        tensorrt=headers,
        tensorrt_version=version,
        settings=cross_settings(str(machine), compiler, compiler_cuda) if foreign and compiler_cuda else {},
    )


def _headers() -> tuple[Path, str]:
    """Return the folder of TensorRT's headers and their version."""
    root = os.environ.get("TENSORRT_ROOT")
    system = (f"/usr/include/{platform.machine()}-linux-gnu", "/usr/include", "/usr/src/tensorrt/include")
    folders = [Path(root) / "include"] if root else [Path(folder) for folder in system]
    for folder in folders:
        if (folder / "NvInfer.h").is_file() and (version := _version(folder / "NvInferVersion.h")):
            if int(version.split(".")[0]) < 10:
                raise DependencyError(
                    "these headers of TensorRT are too old for the plugins",
                    got=f"{version} in {folder}",
                    expected="10.3 or later",
                    do="set TENSORRT_ROOT to the TensorRT that will load the library",
                )
            return folder, version
    raise DependencyError(
        "TensorRT's headers are needed to build the plugins and were not found",
        got=", ".join(map(str, folders)),
        expected="NvInfer.h and NvInferVersion.h of TensorRT 10.3 or later",
        do="on a Jetson: apt install libnvinfer-headers-dev (JetPack has it); elsewhere install NVIDIA's deb "
        "packages, or unpack its tar file and set TENSORRT_ROOT to the folder that holds include/",
    )


def _version(header: Path) -> str | None:
    """Read ``NvInferVersion.h``; from 10.13 on its numbers stand behind another macro."""
    try:
        text = header.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    numbers = []
    for part in ("MAJOR", "MINOR", "PATCH"):
        found = re.search(rf"#define (?:NV_TENSORRT_{part}|TRT_{part}_ENTERPRISE)\s+(\d+)", text)
        if found is None:
            return None
        numbers.append(found.group(1))
    return ".".join(numbers)


def architectures(asked: Sequence[str] = ()) -> tuple[int, ...]:
    """Return compute capabilities times ten: those asked for, else those of the GPUs of this machine.

    Args:
        asked: Such as ``["87,90"]``, ``["8.7", "sm_90"]``.

    Raises:
        ConfigError: Not such numbers, or nothing was asked and there is no GPU to ask.
    """
    words = [word.strip() for text in asked for word in text.split(",") if word.strip()]
    if not words:
        found = gpu.architectures()
        if not found:
            raise ConfigError(
                "no GPU was found whose architecture could be used",
                expected="--arch, such as 87 (Orin), 110 (Thor), 90 (Hopper), 120 (Blackwell)",
                do="name what to build for: --arch 87",
            )
        return found
    chosen = []
    for word in words:
        number = re.fullmatch(r"(?:sm_)?(\d{1,2})\.?(\d)", word)
        if number is None:
            raise ConfigError("not a GPU architecture", got=word, expected="such as 87, 8.7 or sm_87")
        chosen.append(int(number.group(1) + number.group(2)))
    return tuple(sorted(set(chosen)))


def _key(tools: Tools, archs: Sequence[int], host_kernels: bool) -> str:
    digest = hashlib.sha256()
    for path in sorted(SOURCES.rglob("*")):
        if path.suffix in (".cu", ".cpp", ".h", ".map", ".txt"):
            digest.update(f"{path.relative_to(SOURCES)}\0".encode() + path.read_bytes())
    facts: tuple[object, ...] = (
        __version__,
        tools.tensorrt_version,
        tools.cuda,
        tools.compiler_version,
        *archs,
        host_kernels,
    )
    facts += (sorted(tools.settings.items()),)
    digest.update(repr(facts).encode())
    return digest.hexdigest()[:16]


def build_plugin(
    archs: Sequence[int],
    out: Path | None = None,
    *,
    host_kernels: bool = False,
    cuda: str | None = None,
    machine: str | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> PluginLibrary:
    """Build both plugin libraries and their manifest.

    Nothing but the log is in ``out`` before all is built. In the cache, what was built of the same sources
    with the same tools is taken as it is.

    Args:
        archs: Compute capabilities times ten.
        out: Folder; by default one of its own in the cache.
        host_kernels: A reference on the host in place of the kernels, for tests: no nvcc, no GPU.
        cuda: Version that nvcc must have, such as ``"12.6"``; by default the one that is found.
        machine: CPU to build for, as ``platform.machine()`` says it; by default this one.
        progress: Told the share that is done, 0 to 1, and of what.

    Raises:
        ConfigError: nvcc does not know an architecture.
        DependencyError: A tool or TensorRT's headers are missing.
        OutputError: ``out`` cannot be written.
        BuildError: The build failed; the message names the log and its last words.
    """
    tools = find_tools(host_kernels=host_kernels, cuda=cuda, machine=machine)
    if tools.nvcc:
        check_architectures(archs, tools.nvcc)
    folder = Path(out) if out is not None else plugin_folder() / _key(tools, archs, host_kernels)
    # CMake takes relative paths from folders of its own.
    folder = folder.absolute()
    library = folder / LIBRARY
    if out is None and library.is_file():
        held = describe_library(library)
        if held.info is not None and held.problem is None:
            return held
    written = [(path, plugin_beside(library)) for path in (library, autoreg_path(library))]
    check_outputs([*written, (folder / LOG, BUILD_LOG)])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".build-", dir=folder) as work:
            settings = _settings(tools, archs, host_kernels)
            targets = ("mimamba_plugin", "mimamba_plugin_autoreg")
            build_targets(targets, Path(work), folder / LOG, settings, progress=progress)
            built = Path(work) / "lib"
            info = PluginInfo(
                file=LIBRARY,
                sha256=sha256_file(built / LIBRARY),
                autoreg_sha256=sha256_file(built / AUTOREG) if (built / AUTOREG).is_file() else None,
                mimamba_edge=__version__,
                ops=OPS,
                tensorrt_headers=tools.tensorrt_version,
                cuda=tools.cuda,
                architectures=() if host_kernels else tuple(archs),
                host_kernels=host_kernels,
                compiler=tools.compiler_version,
            )
            # The manifest goes first: a reader in between finds it and the old library in disagreement.
            write_json(manifest_path(library), info.to_dict())
            for name, target in ((AUTOREG, autoreg_path(library)), (LIBRARY, library)):
                if (built / name).is_file():
                    (built / name).replace(target)
    except OSError as error:
        raise writing_failed(folder, error) from error
    return describe_library(library)


def _settings(tools: Tools, archs: Sequence[int], host_kernels: bool) -> dict[str, str]:
    settings = {
        **tools.settings,
        "CMAKE_BUILD_TYPE": "Debug" if host_kernels else "Release",
        "TENSORRT_ROOT": str(tools.tensorrt.parent.absolute()) if os.environ.get("TENSORRT_ROOT") else "",
    }
    if host_kernels:
        return {**settings, "MIMAMBA_HOST_KERNELS": "ON"}
    named = ";".join(map(str, archs))
    return {**settings, "CMAKE_CUDA_COMPILER": str(tools.nvcc), "CMAKE_CUDA_ARCHITECTURES": named}
