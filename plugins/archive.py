"""A library of custom ops as one file: what :mod:`mimamba_edge.plugins.install` puts where no compiler is.

The archive is a ``.tar.gz`` of what one host loads (TensorRT: both plugin libraries; ONNX Runtime: one), its
manifest and the licences, in one folder. The same libraries give the same bytes.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Collection
from pathlib import Path

from mimamba_edge.artifact import manifest_path, sha256_file, write_bytes
from mimamba_edge.errors import ConfigError, PluginError, quoted
from mimamba_edge.machine.elf import architecture
from mimamba_edge.outputs import Kind, check_outputs, tar_archive
from mimamba_edge.plugins.licences import COMPILER_NOTICE, CUDA_NOTICE, our_licence
from mimamba_edge.runtime import native_ops
from mimamba_edge.runtime.native_ops import NativeOps, describe_native_ops
from mimamba_edge.trt import library as tensorrt
from mimamba_edge.trt.library import PluginLibrary, autoreg_path, describe_library

__all__ = [
    "AGAIN",
    "LIBRARIES",
    "SUFFIX",
    "Library",
    "archive_name",
    "check_manifest",
    "describe",
    "pack",
    "read",
]

Library = PluginLibrary | NativeOps

SUFFIX = ".tar.gz"
LIBRARIES = {
    tensorrt.LIBRARY: (tensorrt.LIBRARY, tensorrt.AUTOREG),
    native_ops.LIBRARY: (native_ops.LIBRARY,),
}
"""What goes together, by the main one."""
_LICENCES = ("LICENSE", "NOTICE")
_MOST_BYTES = 512 << 20
AGAIN = "copy it again, or pack it again: mimamba-edge plugin build --archive"


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
    check_manifest(library.path, str(library.path))
    check_outputs([(path, Kind("an archive that `plugin build --archive` wrote", _ours))])
    held = [library.path.with_name(one) for one in LIBRARIES[library.path.name]]
    files = {file.name: file.read_bytes() for file in (*held, manifest_path(library.path))}
    notice = COMPILER_NOTICE + (CUDA_NOTICE if library.info and library.info.cuda else "")
    files |= {"LICENSE": our_licence().encode(), "NOTICE": notice.encode()}
    write_bytes(path, tar_archive(name.removesuffix(SUFFIX), files, compress=True))
    return path


def describe(library: Path, *, load: bool = True) -> Library:
    """Look at a library of either host; ``load=False``: at the file and its manifest alone."""
    if library.name == tensorrt.LIBRARY:
        return describe_library(library)
    return describe_native_ops(library, machine=None if load else architecture(library), load=load)


def check_manifest(library: Path, name: str) -> None:
    """Check libraries against their manifest, and that it is complete; none is loaded.

    Raises:
        PluginError: Something is missing or was changed.
    """
    described = describe(library, load=False)
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


def read(path: Path) -> tuple[str, dict[str, bytes]]:
    """Return the name of an archive's main library, and its files by name, without their folder.

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
        return _main_library(files), files
    except OSError as error:
        if not path.is_file():
            raise PluginError(f"{path} is not there", do="check the path") from error
        raise PluginError(f"{path} is not whole, or no archive", got=error, do=AGAIN) from error
    except (tarfile.TarError, EOFError, ValueError, zlib.error) as error:
        raise PluginError(f"{path} is no archive of a library of custom ops", got=error, do=AGAIN) from error


def _main_library(names: Collection[str]) -> str:
    """Return the main library among the names of an archive's files.

    Raises:
        ValueError: There is none, or they are not what belongs to it.
    """
    for name, libraries in LIBRARIES.items():
        if name in names:
            wanted = {*libraries, manifest_path(Path(name)).name, *_LICENCES}
            if wanted == set(names):
                return name
            lacks, more = sorted(wanted - set(names)), sorted(set(names) - wanted)
            raise ValueError(f"it lacks {lacks or 'nothing'}, and holds beside that {more or 'nothing'}")
    raise ValueError(f"it holds neither {' nor '.join(LIBRARIES)}")


def _ours(path: Path) -> bool:
    try:
        return bool(read(path))
    except PluginError:
        return False
