"""Runs CMake on ``CMakeLists.txt``: the one way in which kernels and plugins are compiled."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mimamba_edge.errors import ConfigError, DependencyError, PluginError
from mimamba_edge.plugins import SOURCES

__all__ = [
    "LOG",
    "BuildError",
    "build_targets",
    "check_architectures",
    "cross_settings",
    "cuda_version",
    "find_tool",
    "nvcc",
    "said",
]

LOG = "build.log"
"""Name of the log, in the folder of what is built; kept when the build fails, too."""

_STEP = re.compile(r"^\[\s*(\d+)(?:/(\d+)|%)\]\s*(.*)")
_LAST_WORDS = 12
_REMEDIES = {
    "cmake": "apt install cmake, or pip install cmake",
    "nvcc": "install the CUDA toolkit, 12.6 or newer (JetPack brings it, in /usr/local/cuda/bin), "
    "and put its bin folder on PATH or name nvcc by CUDACXX",
}


class BuildError(PluginError):
    """Sources that CMake or a compiler refuses."""


def find_tool(name: str) -> str:
    """Return the path of a program that a build needs.

    Raises:
        DependencyError: It is not there; the message says how to get it.
    """
    found = shutil.which(name)
    if found is None:
        raise DependencyError(
            f"{name} is needed to compile the kernels and was not found",
            do=_REMEDIES.get(Path(name).name, f"apt install {name}, or name a C++17 compiler by CXX"),
        )
    return found


def nvcc(version: str | None = None) -> str:
    """Return the path of nvcc: JetPack puts it beside PATH.

    Args:
        version: Of the toolkit, such as ``"12.6"``; by default the one that ``CUDACXX`` or PATH names.

    Raises:
        DependencyError: It is not there, or of another version.
    """
    found = os.environ.get("CUDACXX") or shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    if version is None:
        return find_tool(found)
    for path in (found, f"/usr/local/cuda-{version}/bin/nvcc"):
        if shutil.which(path) and cuda_version(path) == version:
            return path
    raise DependencyError(
        f"nvcc of CUDA {version} was not found",
        got=f"CUDA {cuda_version(found)}, {found}" if shutil.which(found) else "none",
        expected=f"/usr/local/cuda-{version}/bin/nvcc, or CUDACXX=PATH",
        do=f"install that CUDA toolkit beside others: apt install cuda-toolkit-{version.replace('.', '-')}",
    )


def said(*command: str) -> str:
    """Return what a program prints."""
    return subprocess.run(command, capture_output=True, text=True).stdout


def cuda_version(compiler: str) -> str | None:
    """Return the version of an nvcc, such as ``"12.6"``; ``None`` where it does not say."""
    release = re.search(r"release (\d+\.\d+)", said(compiler, "--version"))
    return release.group(1) if release else None


_TARGETS = {"12": "aarch64-linux", "13": "sbsa-linux"}
"""Folder of a Jetson's libraries in a toolkit's ``targets``, by CUDA major version.

JetPack 6 has its own, JetPack 7 those of every Arm server.
"""


def cross_settings(machine: str, compiler: str, cuda_compiler: str) -> dict[str, str]:
    """Return what CMake must be told to build for another CPU than this one.

    Args:
        machine: That CPU; ``"aarch64"`` alone is known.
        compiler: C++ compiler for it.
        cuda_compiler: nvcc of this machine.

    Raises:
        ConfigError: Another CPU.
        DependencyError: The toolkit has no libraries for it.
    """
    if machine != "aarch64":
        raise ConfigError("no CPU that the plugins can be built for here", got=machine, expected="aarch64")
    version = cuda_version(cuda_compiler) or "13"
    target = _TARGETS.get(version.split(".")[0], _TARGETS["13"])
    library = _toolkit(cuda_compiler) / "targets" / target / "lib" / "libcudart_static.a"
    if not library.is_file():
        package = "cuda-cross-aarch64" if target == "aarch64-linux" else "cuda-cross-sbsa"
        raise DependencyError(
            f"this CUDA toolkit has no libraries for {machine}",
            expected=library,
            do=f"apt install {package}-{version.replace('.', '-')} from NVIDIA's repository",
        )
    return {
        "CMAKE_SYSTEM_NAME": "Linux",
        "CMAKE_SYSTEM_PROCESSOR": machine,
        "CMAKE_CXX_COMPILER": compiler,
        "CMAKE_CUDA_HOST_COMPILER": compiler,
        "CMAKE_CUDA_FLAGS": f"--target-directory={target}",
        # CMake looks for this machine's.
        "CUDA_cudart_static_LIBRARY": str(library),
    }


def _toolkit(compiler: str) -> Path:
    """Return the folder of the toolkit of an nvcc, which may be a script on PATH that calls it."""
    command = [compiler, "--dryrun", "-c", "no.cu"]
    told = subprocess.run(command, capture_output=True, text=True).stderr
    found = re.search(r"^#\$ _HERE_=(.+)$", told, re.MULTILINE)
    return Path(found[1]).resolve().parent if found else Path(compiler).resolve().parents[1]


def check_architectures(archs: Sequence[int], compiler: str) -> None:
    """Check that an nvcc knows all of them.

    Raises:
        ConfigError: It does not.
    """
    known = {int(arch) for arch in re.findall(r"sm_(\d+)\b", said(compiler, "--list-gpu-code"))}
    if known and (unknown := sorted(set(archs) - known)):
        raise ConfigError(
            f"{compiler} does not know every architecture asked for",
            got=unknown,
            expected=f"among {sorted(known)}",
            do="install a newer CUDA toolkit or name other architectures",
        )


def build_targets(
    targets: Sequence[str],
    work: Path,
    log: Path,
    settings: Mapping[str, str],
    *,
    jobs: int | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> str:
    """Configure in ``work/build`` and build; libraries come out in ``work/lib``.

    Args:
        targets: Of ``CMakeLists.txt``.
        work: A folder of the build's own.
        log: File that gets all that is printed.
        settings: Variables of CMake; the C++ compiler is that of CXX, else g++, if none is among them.
        jobs: Compilations at a time; by default one a core.
        progress: Told the share that is done, 0 to 1, and of what.

    Returns:
        What the build printed.

    Raises:
        DependencyError: There is no CMake or no C++ compiler.
        BuildError: CMake or a compiler refused; the message has its last words and names the log.
    """
    cmake = find_tool("cmake")
    compiler = settings.get("CMAKE_CXX_COMPILER") or find_tool(os.environ.get("CXX", "g++"))
    given = {
        "CMAKE_CXX_COMPILER": compiler,
        "CMAKE_LIBRARY_OUTPUT_DIRECTORY": str(work.absolute() / "lib"),
        **settings,
    }
    configure = [cmake, "-S", str(SOURCES), "-B", str(work.absolute() / "build")]
    configure += ["-G", "Ninja"] if shutil.which("ninja") else []
    configure += [f"-D{name}={value}" for name, value in given.items()]
    build = [cmake, "--build", str(work.absolute() / "build"), "--parallel", str(jobs or os.cpu_count() or 1)]
    printed = ""
    with log.open("w", encoding="utf-8") as file:
        for command in (configure, [*build, "--target", *targets]):
            file.write(f"$ {' '.join(command)}\n")
            file.flush()
            lines: list[str] = []
            with subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
            ) as process:
                assert process.stdout is not None
                for line in process.stdout:
                    file.write(line)
                    lines.append(line)
                    if progress and (step := _STEP.match(line)):
                        progress(int(step[1]) / int(step[2] or 100), step[3])
            if process.returncode:
                raise BuildError(
                    f"{' and '.join(targets)} could not be built",
                    got=f"{Path(command[0]).name} ended with {process.returncode}:\n    "
                    + "\n    ".join(_last_words(lines)),
                    do=f"the whole log is {log}",
                )
            printed = "".join(lines)
    return printed


def _last_words(lines: Sequence[str]) -> list[str]:
    """Return what a compiler complained of, else the end of what was printed."""
    held = [line.rstrip() for line in lines]
    errors = [index for index, line in enumerate(held) if re.search(r"\berror\b", line, re.IGNORECASE)]
    start = errors[0] if errors else max(0, len(held) - _LAST_WORDS)
    return held[start : start + _LAST_WORDS]
