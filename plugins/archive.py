"""A plugin library as one file: packed where it was built, installed where no compiler is.

The archive is a ``.tar.gz`` of both libraries, their manifest and the licences, in one folder. The same
libraries give the same bytes.
"""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

from mimamba_edge.artifact import manifest_path, sha256_bytes, sha256_file, write_bytes
from mimamba_edge.errors import ConfigError, PluginError
from mimamba_edge.files import whole_folder
from mimamba_edge.machine.elf import architecture, needed_versions
from mimamba_edge.naming import version_numbers
from mimamba_edge.outputs import Kind, check_outputs, tar_archive
from mimamba_edge.plugins.licences import our_licence
from mimamba_edge.trt.library import (
    AUTOREG,
    LIBRARY,
    PluginLibrary,
    autoreg_path,
    check_cpu,
    describe_library,
    install_folder,
)

__all__ = ["SUFFIX", "archive_name", "install", "pack"]

SUFFIX = ".tar.gz"
_MANIFEST = manifest_path(Path(LIBRARY)).name
_FILES = (LIBRARY, AUTOREG, _MANIFEST, "LICENSE", "NOTICE")
_MOST_BYTES = 512 << 20
_AGAIN = "copy it again, or pack it again: mimamba-edge plugin build --archive"
_NOTICE = """\
The libraries hold parts of the C++ runtime of GCC (libstdc++ and libgcc: GPL-3.0 with the GCC Runtime Library
Exception 3.1) and of NVIDIA's CUDA runtime (libcudart_static, redistributable under Attachment A of the CUDA
Toolkit's licence: https://docs.nvidia.com/cuda/eula).
"""


def archive_name(library: PluginLibrary) -> str:
    """Return the name of the archive of a library: versions, architectures and CPU.

    Raises:
        PluginError: It comes without a manifest.
    """
    info = library.info
    if info is None:
        raise PluginError(
            f"the plugin library {library.path} has no manifest: what it was built for is unknown",
            do="build it again: mimamba-edge plugin build",
        )
    parts = ["mimamba-plugin", info.mimamba_edge, f"tensorrt{info.tensorrt_headers}"]
    parts += [f"cuda{info.cuda}"] if info.cuda else ["host"]
    parts += ["sm" + "-".join(map(str, info.architectures))] if info.architectures else []
    return "_".join([*parts, architecture(library.path) or "unknown"]) + SUFFIX


def pack(library: PluginLibrary, out: Path) -> Path:
    """Write the archive of a library and return its path.

    Args:
        library: With its manifest, and the one that registers itself beside it.
        out: ``NAME.tar.gz``, or a folder, in which it gets :func:`archive_name`.

    Raises:
        ConfigError: Another name.
        PluginError: A library is missing or does not match the manifest.
        OutputError: The archive cannot be written, or something else has its name.
    """
    name = archive_name(library)
    path = out / name if out.is_dir() else out
    if not path.name.endswith(SUFFIX):
        raise ConfigError("not a name for an archive", got=out, expected=f"NAME{SUFFIX}, or a folder")
    held = {
        LIBRARY: library.path,
        AUTOREG: autoreg_path(library.path),
        _MANIFEST: manifest_path(library.path),
    }
    _check(held[LIBRARY], str(library.path))
    check_outputs([(path, Kind("an archive that `plugin build --archive` wrote", _ours))])
    files = {name: file.read_bytes() for name, file in held.items()}
    files |= {"LICENSE": our_licence().encode(), "NOTICE": _NOTICE.encode()}
    folder = name.removesuffix(SUFFIX)
    write_bytes(path, tar_archive(folder, files, compress=True))
    return path


def install(archive: Path, folder: Path | None = None) -> PluginLibrary:
    """Put the libraries of an archive where `build`, `stream` and the service find them.

    Args:
        archive: What :func:`pack` wrote.
        folder: Folder of installed libraries; by default the system's for root, else the user's cache.

    Returns:
        The installed library.

    Raises:
        PluginError: It is no such archive, was changed, or is for another CPU.
        OutputError: The folder cannot be written.
    """
    files = _members(archive)
    goal = (folder or install_folder()) / sha256_bytes(files[LIBRARY])[:16]
    with whole_folder(goal) as fresh:
        for name, data in files.items():
            (fresh / name).write_bytes(data)
            (fresh / name).chmod(0o644)
        _check(fresh / LIBRARY, str(archive))
        check_cpu(fresh / LIBRARY, archive)
        _check_libc(fresh / LIBRARY, archive)
        # A service of another user reads it, whatever root's umask is.
        fresh.chmod(0o755)
    return describe_library(goal / LIBRARY)


def _check(library: Path, name: str) -> None:
    """Check libraries against their manifest, and that it is complete.

    Raises:
        PluginError: Something is missing, was changed, or is for another CPU.
    """
    described = describe_library(library)
    if described.problem:
        raise described.problem
    info, autoreg = described.info, autoreg_path(library)
    if info is None or not autoreg.is_file() or sha256_file(autoreg) != info.autoreg_sha256:
        raise PluginError(
            f"{name}: the library that registers itself is missing or does not match the manifest",
            do="build both again: mimamba-edge plugin build",
        )


def _check_libc(library: Path, archive: Path) -> None:
    """Check that this system's C library is new enough.

    Raises:
        PluginError: It is not, or the library is none.
    """
    try:
        needed = needed_versions(library)
    except ValueError as error:
        raise PluginError(f"{archive} holds no shared library for Linux", do=_AGAIN) from error
    wanted = max((version_numbers(name) for name in needed if name.startswith("GLIBC_2")), default=())
    here = os.confstr("CS_GNU_LIBC_VERSION") or ""
    if wanted > version_numbers(here) > ():
        raise PluginError(
            f"{archive} was built on a newer system than this one",
            got=here,
            expected=f"glibc {'.'.join(map(str, wanted))} or newer",
            do="build it on a system as old as this one, or here: mimamba-edge plugin build",
        )


def _members(path: Path) -> dict[str, bytes]:
    """Return the files of an archive by name, without folders.

    Raises:
        PluginError: It is no archive of a plugin, or for another CPU.
    """
    try:
        with tarfile.open(path, "r:gz") as archive:
            members = {
                Path(one.name).name: one for one in archive if one.isfile() and one.size <= _MOST_BYTES
            }
            held = {name: archive.extractfile(members[name]) for name in _FILES}
            files = {name: file.read() for name, file in held.items() if file is not None}
    except OSError as error:
        if not path.is_file():
            raise PluginError(f"{path} is not there", do="check the path") from error
        raise PluginError(f"{path} is not whole, or no archive", got=error, do=_AGAIN) from error
    except (tarfile.TarError, EOFError, KeyError, ValueError) as error:
        raise PluginError(f"{path} is no archive of a plugin library", got=error, do=_AGAIN) from error
    return files


def _ours(path: Path) -> bool:
    try:
        return LIBRARY in _members(path)
    except PluginError:
        return False
