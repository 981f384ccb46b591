"""Puts a packed library of custom ops where `build`, `stream` and the service find it.

Whether it runs here is asked of this machine before it is in its place: CPU, C library, CUDA's driver,
TensorRT and the GPU; then it is loaded.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from mimamba_edge.artifact import sha256_bytes
from mimamba_edge.console import show_warning
from mimamba_edge.errors import PluginError
from mimamba_edge.files import whole_folder
from mimamba_edge.machine.elf import needed_versions
from mimamba_edge.machine.gpu import first_capability, newest_cuda
from mimamba_edge.machine.jetson import is_jetson, jetpack, tensorrt_majors
from mimamba_edge.naming import version_numbers
from mimamba_edge.plugins.archive import AGAIN, LIBRARIES, Library, check_manifest, describe, read
from mimamba_edge.runtime import native_ops
from mimamba_edge.trt import library as tensorrt
from mimamba_edge.trt.library import PluginLibrary, check_architecture, check_cpu

__all__ = ["check_board", "install"]

_FIRST_TENSORRT = 10


def install(archive: Path, folder: Path | None = None) -> Library:
    """Put the libraries of an archive where `build`, `stream` and the service find them.

    Args:
        archive: What :func:`mimamba_edge.plugins.archive.pack` wrote.
        folder: Folder of installed libraries; by default the system's for root, else the user's cache.

    Returns:
        The installed library.

    Raises:
        PluginError: It is no such archive, was changed, or does not run on this machine.
        OutputError: The folder cannot be written.
    """
    name, files = read(archive)
    default = tensorrt.install_folder if name == tensorrt.LIBRARY else native_ops.install_folder
    goal = (folder or default()) / sha256_bytes(files[name])[:16]
    with whole_folder(goal) as fresh:
        for each, data in files.items():
            (fresh / each).write_bytes(data)
            (fresh / each).chmod(0o644)
        check_manifest(fresh / name, str(archive))
        check_cpu(fresh / name, archive)
        for each in LIBRARIES[name]:
            _check_libc(fresh / each, archive)
        packed = describe(fresh / name, load=False)
        if isinstance(packed, PluginLibrary):
            check_board(replace(packed, path=archive))
        _load(fresh / name, archive)
        # A service of another user reads it, whatever root's umask is.
        fresh.chmod(0o755)
    return describe(goal / name)


def check_board(library: PluginLibrary, root: Path = Path("/")) -> None:
    """Check plugins against the CUDA driver, the TensorRT and the GPU of this machine, where it tells them.

    A driver runs what its own CUDA and older ones made, within a major version newer ones too (CUDA
    Compatibility). `libmimamba_plugin.so` serves every TensorRT from 10 on, its twin that registers itself
    only the major version of its headers: that is a warning, since nothing of ours loads it.

    Args:
        library: With its manifest; what errors call it is its path.
        root: Root of the file system of the board.

    Raises:
        PluginError: One of the three does not fit.
    """
    info, runs, boards = library.info, newest_cuda(root), tensorrt_majors(root)
    if info is None:
        return
    sm = first_capability(root)
    if info.cuda and runs and _major(info.cuda) > _major(runs):
        board = f" (JetPack {jetpack(root)})" if is_jetson(root) else ""
        cross = f"--arch {sm or 87} --machine aarch64 --cuda {runs} " if board else ""
        raise PluginError(
            f"{library.path} is for a newer CUDA than this machine's driver runs",
            got=f"CUDA {info.cuda}",
            expected=f"CUDA {_major(runs)}.x or earlier: the driver is of CUDA {runs}{board}",
            do=f"take the archive for CUDA {_major(runs)}; or pack one by a toolkit of that version: "
            f"mimamba-edge plugin build {cross}--archive FILE; or build it here: {tensorrt.BUILD}",
        )
    if boards and max(boards) < _FIRST_TENSORRT:
        raise PluginError(
            f"{library.path} is for another TensorRT than this machine has",
            got=f"TensorRT {max(boards)}",
            expected=f"TensorRT {_FIRST_TENSORRT} or later",
            do="on a Jetson flash JetPack 6.1 or later (docs/jetson.md); elsewhere install a newer TensorRT",
        )
    if sm:
        check_architecture(library, sm)
    made_for = _major(info.tensorrt_headers)
    if boards and made_for not in boards:
        show_warning(
            f"{tensorrt.AUTOREG} registers itself in TensorRT {made_for} alone, and this machine has "
            f"{max(boards)}: trtexec --staticPlugins, Triton and DeepStream need one built with its headers"
        )


def _major(version: str) -> int:
    return next(iter(version_numbers(version, 1)), 0)


def _check_libc(library: Path, archive: Path) -> None:
    """Check that this system's C library is new enough.

    Raises:
        PluginError: It is not, or the library is none.
    """
    try:
        needed = needed_versions(library)
    except ValueError as error:
        raise PluginError(f"{archive} holds no shared library for Linux", do=AGAIN) from error
    wanted = max((version_numbers(name) for name in needed if name.startswith("GLIBC_2")), default=())
    here = os.confstr("CS_GNU_LIBC_VERSION") or ""
    if wanted > version_numbers(here) > ():
        raise PluginError(
            f"{archive} was built on a newer system than this one",
            got=here,
            expected=f"glibc {'.'.join(map(str, wanted))} or newer",
            do="build it on a system as old as this one, or here: mimamba-edge plugin build",
        )


def _load(library: Path, archive: Path) -> None:
    """Load a library as its host would: what it needs of this system shows there and nowhere else.

    The one that registers itself is left alone: it wants a host with TensorRT.

    Raises:
        PluginError: It cannot be loaded.
    """
    # In a process of its own, since a library that is not what its headers say ends the process.
    ask = [sys.executable, "-I", "-c", "import ctypes, sys; ctypes.CDLL(sys.argv[1])", str(library)]
    done = subprocess.run(ask, capture_output=True, text=True, errors="replace")
    if done.returncode:
        said = (done.stderr.splitlines() or [f"the process ended with {done.returncode}"])[-1]
        raise PluginError(
            f"{archive} holds a library that this system does not load",
            got=said.replace(str(library), library.name),
            do="build it on a system as old as this one, or here: mimamba-edge plugin build",
        )
    if problem := describe(library).problem:
        raise problem
