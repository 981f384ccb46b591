"""Builds the plugin libraries: finds what CMake needs, runs it, writes the manifest beside what came out."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mimamba_edge import __version__
from mimamba_edge.artifact import manifest_path, sha256_file, write_json
from mimamba_edge.contract import OPS
from mimamba_edge.errors import ConfigError, DependencyError, OutputError, PluginError
from mimamba_edge.machine.discrete import gpus
from mimamba_edge.machine.jetson import compute_capability
from mimamba_edge.outputs import BUILD_LOG, check_outputs, plugin_beside
from mimamba_edge.trt.library import (
    AUTOREG,
    LIBRARY,
    PluginInfo,
    PluginLibrary,
    autoreg_path,
    describe_library,
    plugin_folder,
)

__all__ = ["LOG", "Tools", "architectures", "build_plugin", "find_tools"]

LOG = "build.log"
"""Name of the log, beside the library; kept when the build fails, too."""

_SOURCES = Path(__file__).resolve().parent
_STEP = re.compile(r"^\[\s*(\d+)(?:/(\d+)|%)\]\s*(.*)")
_LAST_WORDS = 12


@dataclass(frozen=True)
class Tools:
    """What a build takes from this machine.

    Attributes:
        cmake: Path.
        compiler: Path of the C++ compiler.
        compiler_version: Its version line.
        nvcc: Path; ``None`` for host kernels.
        cuda: Version of nvcc, such as ``"12.6"``; ``None`` for host kernels.
        tensorrt: Folder that holds ``NvInfer.h``.
        tensorrt_version: Of the headers, such as ``"10.3.0"``.
    """

    cmake: str
    compiler: str
    compiler_version: str
    nvcc: str | None
    cuda: str | None
    tensorrt: Path
    tensorrt_version: str


def find_tools(*, host_kernels: bool = False) -> Tools:
    """Find CMake, compilers and TensorRT's headers.

    Raises:
        DependencyError: One is missing; the message says how to get it.
    """
    cmake = _tool("cmake", "apt install cmake, or pip install cmake")
    compiler = _tool(os.environ.get("CXX", "g++"), "apt install g++, or name a C++17 compiler by CXX")
    nvcc = None if host_kernels else _nvcc()
    said = _say(nvcc, "--version") if nvcc else ""
    release = re.search(r"release (\d+\.\d+)", said)
    headers, version = _headers()
    return Tools(
        cmake=cmake,
        compiler=compiler,
        compiler_version=(_say(compiler, "--version").splitlines() or ["unknown"])[0],
        nvcc=nvcc,
        cuda=release.group(1) if release else None,
        tensorrt=headers,
        tensorrt_version=version,
    )


def _tool(name: str, remedy: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise DependencyError(f"{name} is needed to build the plugins and was not found", do=remedy)
    return found


def _nvcc() -> str:
    # JetPack puts it there without a word on PATH.
    named = os.environ.get("CUDACXX") or shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    return _tool(
        named,
        "install the CUDA toolkit, 12.6 or newer (JetPack brings it, in /usr/local/cuda/bin), "
        "and put its bin folder on PATH or name nvcc by CUDACXX",
    )


def _say(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout


def _headers() -> tuple[Path, str]:
    """Return the folder of TensorRT's headers and their version."""
    root = os.environ.get("TENSORRT_ROOT")
    system = (f"/usr/include/{platform.machine()}-linux-gnu", "/usr/include", "/usr/src/tensorrt/include")
    folders = [Path(root) / "include"] if root else [Path(folder) for folder in system]
    for folder in folders:
        if (folder / "NvInfer.h").is_file() and (version := _version(folder / "NvInferVersion.h")):
            if int(version.split(".")[0]) < 10:
                raise DependencyError(
                    "these headers of TensorRT are too old for the plugins that are used",
                    got=f"{version} in {folder}",
                    expected="10.3 or later",
                    do="set TENSORRT_ROOT to those of the TensorRT that will load the library",
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
        integrated = compute_capability()
        found = [integrated] if integrated else [gpu.sm for gpu in gpus() if gpu.sm]
        if not found:
            raise ConfigError(
                "no GPU was found here whose architecture could be taken",
                expected="--arch, such as 87 (Orin), 110 (Thor), 90 (Hopper), 120 (Blackwell)",
                do="name what to build for: --arch 87",
            )
        return tuple(sorted({sm for sm in found if sm}))
    chosen = []
    for word in words:
        number = re.fullmatch(r"(?:sm_)?(\d{1,2})\.?(\d)", word)
        if number is None:
            raise ConfigError("not a GPU architecture", got=word, expected="such as 87, 8.7 or sm_87")
        chosen.append(int(number.group(1) + number.group(2)))
    return tuple(sorted(set(chosen)))


def _check_known(nvcc: str, archs: Sequence[int]) -> None:
    known = {int(arch) for arch in re.findall(r"sm_(\d+)\b", _say(nvcc, "--list-gpu-code"))}
    if known and (unknown := sorted(set(archs) - known)):
        raise ConfigError(
            f"{nvcc} does not know every architecture asked for",
            got=unknown,
            expected=f"among {sorted(known)}",
            do="install a newer CUDA toolkit or name other architectures",
        )


def _key(tools: Tools, archs: Sequence[int], host_kernels: bool) -> str:
    digest = hashlib.sha256()
    for path in sorted(_SOURCES.rglob("*")):
        if path.suffix in (".cu", ".cpp", ".h", ".map", ".txt"):
            digest.update(f"{path.relative_to(_SOURCES)}\0".encode() + path.read_bytes())
    facts = (__version__, tools.tensorrt_version, tools.cuda, tools.compiler_version, *archs, host_kernels)
    digest.update(repr(facts).encode())
    return digest.hexdigest()[:16]


def build_plugin(
    archs: Sequence[int],
    out: Path | None = None,
    *,
    host_kernels: bool = False,
    progress: Callable[[float, str], None] | None = None,
) -> PluginLibrary:
    """Build both plugin libraries and their manifest.

    Nothing but the log is in ``out`` before all is built. In the cache, what was built of the same sources
    with the same tools is taken as it is.

    Args:
        archs: Compute capabilities times ten.
        out: Folder; by default one of its own in the cache.
        host_kernels: The kernels run on the host, for tests: no nvcc, no GPU.
        progress: Told the share that is done, 0 to 1, and of what.

    Raises:
        ConfigError: nvcc does not know an architecture.
        DependencyError: A tool or TensorRT's headers are missing.
        OutputError: ``out`` cannot be written.
        PluginError: The build failed; the message names the log and its last words.
    """
    tools = find_tools(host_kernels=host_kernels)
    if tools.nvcc:
        _check_known(tools.nvcc, archs)
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
            built = _run(tools, archs, Path(work), folder / LOG, host_kernels, progress)
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
        raise OutputError(f"{folder} cannot be written", got=error.strerror or error) from error
    return describe_library(library)


def _run(
    tools: Tools,
    archs: Sequence[int],
    work: Path,
    log: Path,
    host_kernels: bool,
    progress: Callable[[float, str], None] | None,
) -> Path:
    """Configure and build in ``work``; return the folder of the libraries."""
    ninja = shutil.which("ninja")
    settings = {
        "CMAKE_BUILD_TYPE": "Debug" if host_kernels else "Release",
        "CMAKE_CXX_COMPILER": tools.compiler,
        "CMAKE_LIBRARY_OUTPUT_DIRECTORY": str(work / "lib"),
        "TENSORRT_ROOT": str(tools.tensorrt.parent.absolute()) if os.environ.get("TENSORRT_ROOT") else "",
    }
    if host_kernels:
        settings["MIMAMBA_HOST_KERNELS"] = "ON"
    else:
        settings["CMAKE_CUDA_COMPILER"] = str(tools.nvcc)
        settings["CMAKE_CUDA_ARCHITECTURES"] = ";".join(map(str, archs))
    configure = [tools.cmake, "-S", str(_SOURCES), "-B", str(work / "build")]
    configure += ["-G", "Ninja"] if ninja else []
    configure += [f"-D{name}={value}" for name, value in settings.items()]
    targets = ["mimamba_plugin", "mimamba_plugin_autoreg"]
    build = [tools.cmake, "--build", str(work / "build"), "--parallel", str(os.cpu_count() or 1)]
    say = progress or (lambda share, what: None)
    with log.open("w", encoding="utf-8") as file:
        for command in (configure, [*build, "--target", *targets]):
            file.write(f"$ {' '.join(command)}\n")
            file.flush()
            last: deque[str] = deque(maxlen=400)
            with subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
            ) as process:
                assert process.stdout is not None
                for line in process.stdout:
                    file.write(line)
                    last.append(line.rstrip())
                    if step := _STEP.match(line):
                        say(int(step[1]) / int(step[2] or 100), step[3])
            code = process.returncode
            if code:
                raise PluginError(
                    "the plugins could not be built",
                    got=f"{Path(command[0]).name} ended with {code}:\n    "
                    + "\n    ".join(_last_words(last)),
                    do=f"the whole log is {log}",
                )
    return work / "lib"


def _last_words(lines: Sequence[str]) -> list[str]:
    """Return what a compiler complained of, else the end of what was said."""
    held = list(lines)
    errors = [index for index, line in enumerate(held) if re.search(r"\berror\b", line, re.IGNORECASE)]
    start = errors[0] if errors else max(0, len(held) - _LAST_WORDS)
    return held[start : start + _LAST_WORDS]
