"""A library of custom ops as one file: packed where it was built, installed where no compiler is.

The archive is a ``.tar.gz`` of what one host loads (TensorRT: both plugin libraries; ONNX Runtime: one), its
manifest and the licences, in one folder. The same libraries give the same bytes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from mimamba_edge.artifact import manifest_path, sha256_bytes, sha256_file, write_bytes
from mimamba_edge.errors import ConfigError, PluginError, quoted
from mimamba_edge.files import whole_folder
from mimamba_edge.machine.elf import architecture, needed_versions
from mimamba_edge.naming import version_numbers
from mimamba_edge.outputs import Kind, check_outputs, tar_archive
from mimamba_edge.plugins.licences import COMPILER_NOTICE, CUDA_NOTICE, our_licence
from mimamba_edge.runtime import native_ops
from mimamba_edge.runtime.native_ops import NativeOps, describe_native_ops
from mimamba_edge.trt import library as tensorrt
from mimamba_edge.trt.library import PluginLibrary, autoreg_path, check_cpu, describe_library

__all__ = ["SUFFIX", "Library", "archive_name", "install", "pack"]

Library = PluginLibrary | NativeOps

SUFFIX = ".tar.gz"
_LIBRARIES = {
    tensorrt.LIBRARY: (tensorrt.LIBRARY, tensorrt.AUTOREG),
    native_ops.LIBRARY: (native_ops.LIBRARY,),
}
"""What goes together, by the main one."""
_LICENCES = ("LICENSE", "NOTICE")
_MOST_BYTES = 512 << 20
_AGAIN = "copy it again, or pack it again: mimamba-edge plugin build --archive"


def archive_name(library: Library) -> str:
    """Return the name of the archive of a library: versions, architectures and CPU.

    Raises:
        PluginError: It comes without a manifest.
    """
    info = library.info
    if info is None:
        raise PluginError(
            f"the library {library.path} has no manifest: what it was built for is unknown",
            do="build it again: mimamba-edge plugin build",
        )
    if isinstance(library, PluginLibrary) and library.info:
        parts = ["mimamba-plugin", info.mimamba_edge, f"tensorrt{library.info.tensorrt_headers}"]
        parts += [f"cuda{info.cuda}" if info.cuda else "host"]
    else:
        parts = ["mimamba-ops", info.mimamba_edge, "onnxruntime", f"cuda{info.cuda}" if info.cuda else "cpu"]
    parts += ["sm" + "-".join(map(str, info.architectures))] if info.architectures else []
    return "_".join([*parts, architecture(library.path) or "unknown"]) + SUFFIX


def pack(library: Library, out: Path) -> Path:
    """Write the archive of a library and return its path.

    Args:
        library: With its manifest, and what belongs to it beside it.
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
    _check(library.path, str(library.path))
    check_outputs([(path, Kind("an archive that `plugin build --archive` wrote", _ours))])
    held = [library.path.with_name(one) for one in _LIBRARIES[library.path.name]]
    files = {file.name: file.read_bytes() for file in (*held, manifest_path(library.path))}
    notice = COMPILER_NOTICE + (CUDA_NOTICE if library.info and library.info.cuda else "")
    files |= {"LICENSE": our_licence().encode(), "NOTICE": notice.encode()}
    write_bytes(path, tar_archive(name.removesuffix(SUFFIX), files, compress=True))
    return path


def install(archive: Path, folder: Path | None = None) -> Library:
    """Put the libraries of an archive where `build`, `stream` and the service find them.

    Args:
        archive: What :func:`pack` wrote.
        folder: Folder of installed libraries; by default the system's for root, else the user's cache.

    Returns:
        The installed library.

    Raises:
        PluginError: It is no such archive, was changed, or does not run on this machine.
        OutputError: The folder cannot be written.
    """
    files = _members(archive)
    name = _main(files)
    default = tensorrt.install_folder if name == tensorrt.LIBRARY else native_ops.install_folder
    goal = (folder or default()) / sha256_bytes(files[name])[:16]
    with whole_folder(goal) as fresh:
        for each, data in files.items():
            (fresh / each).write_bytes(data)
            (fresh / each).chmod(0o644)
        _check(fresh / name, str(archive))
        check_cpu(fresh / name, archive)
        for each in _LIBRARIES[name]:
            _check_libc(fresh / each, archive)
        _load(fresh / name, archive)
        # A service of another user reads it, whatever root's umask is.
        fresh.chmod(0o755)
    return _describe(goal / name)


def _describe(library: Path, *, load: bool = True) -> Library:
    if library.name == tensorrt.LIBRARY:
        return describe_library(library)
    return describe_native_ops(library, machine=None if load else architecture(library), load=load)


def _check(library: Path, name: str) -> None:
    """Check libraries against their manifest, and that it is complete; none is loaded.

    Raises:
        PluginError: Something is missing or was changed.
    """
    described = _describe(library, load=False)
    if problem := described.problem:
        # Unpacked, it lies in a folder that is gone again.
        what = problem.what.replace(str(library), name)
        raise PluginError(what, got=problem.got, expected=problem.expected, do=problem.do)
    if isinstance(described, PluginLibrary):
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
    if problem := _describe(library).problem:
        raise problem


def _main(files: Mapping[str, bytes]) -> str:
    """Return the main library among the names of an archive's files.

    Raises:
        ValueError: There is none, or they are not what belongs to it.
    """
    for name, libraries in _LIBRARIES.items():
        if name in files:
            wanted = {*libraries, manifest_path(Path(name)).name, *_LICENCES}
            if wanted == set(files):
                return name
            lacks, more = sorted(wanted - set(files)), sorted(set(files) - wanted)
            raise ValueError(f"it lacks {lacks or 'nothing'}, and holds beside that {more or 'nothing'}")
    raise ValueError(f"it holds neither {' nor '.join(_LIBRARIES)}")


def _members(path: Path) -> dict[str, bytes]:
    """Return the files of an archive by name, without their folder.

    What :func:`pack` writes and nothing else: regular files in one folder. A link, a device, a path that
    leads elsewhere or a file too much is no slip of a copy.

    Raises:
        PluginError: It is no archive of a library.
    """
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for one in archive:
                folder, _, name = one.name.partition("/")
                file = archive.extractfile(one) if one.isreg() and one.size <= _MOST_BYTES else None
                if file is None or not name or "/" in name or folder in ("", "..") or name in files:
                    raise ValueError(f"a member that does not belong there: {quoted(one.name)}")
                files[name] = file.read()
        _main(files)
    except OSError as error:
        if not path.is_file():
            raise PluginError(f"{path} is not there", do="check the path") from error
        raise PluginError(f"{path} is not whole, or no archive", got=error, do=_AGAIN) from error
    except (tarfile.TarError, EOFError, ValueError, zlib.error) as error:
        raise PluginError(f"{path} is no archive of a library of custom ops", got=error, do=_AGAIN) from error
    return files


def _ours(path: Path) -> bool:
    try:
        return bool(_members(path))
    except PluginError:
        return False
