"""Plugin libraries as files: where they lie, what their manifest says, which one is to be used."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mimamba_edge.artifact import cache_folder, load_library_manifest, manifest_path, sha256_file
from mimamba_edge.contract import OPS
from mimamba_edge.errors import PluginError
from mimamba_edge.machine.elf import architecture, cut_off

__all__ = [
    "AUTOREG",
    "BUILD",
    "FORMAT",
    "LIBRARY",
    "SYSTEM_FOLDER",
    "PluginInfo",
    "PluginLibrary",
    "autoreg_path",
    "check_architecture",
    "check_cpu",
    "describe_library",
    "find_plugin",
    "install_folder",
    "list_plugins",
    "plugin_folder",
]

LIBRARY = "libmimamba_plugin.so"
AUTOREG = "libmimamba_plugin_autoreg.so"
BUILD = "mimamba-edge plugin build"
"""The command that makes a library, for messages."""

SYSTEM_FOLDER = Path("/usr/local/lib/mimamba-edge/plugin")
"""Of libraries that every user of this machine finds, services too (Filesystem Hierarchy Standard 3.0)."""
_VARIABLE = "MIMAMBA_PLUGIN"
FORMAT = 1


@dataclass(frozen=True)
class PluginInfo:
    """What stands in ``libmimamba_plugin.so.json``.

    Attributes:
        file: Name of the library.
        sha256: Of the library.
        autoreg_sha256: Of the library beside it that registers by itself; ``None`` where none was built.
        mimamba_edge: Version of the package whose sources were built.
        ops: Versions of the custom ops.
        tensorrt_headers: Version of the headers, such as ``"10.3.0"``.
        cuda: Version of nvcc; ``None`` for host kernels.
        architectures: Compute capabilities times ten that there is machine code and PTX for.
        host_kernels: The kernels run on the host: for tests only.
        compiler: Version line of the C++ compiler.
    """

    file: str
    sha256: str
    autoreg_sha256: str | None
    mimamba_edge: str
    ops: Mapping[str, int]
    tensorrt_headers: str
    cuda: str | None
    architectures: tuple[int, ...]
    host_kernels: bool
    compiler: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "format": FORMAT,
            **asdict(self),
            "ops": dict(self.ops),
            "architectures": list(self.architectures),
        }

    @classmethod
    def load(cls, library: Path) -> PluginInfo:
        """Read the manifest beside a library.

        Raises:
            PluginError: It is not readable, of another format or malformed.
        """
        return load_library_manifest(
            library, cls, key="format", number=FORMAT, what="a plugin library", build=BUILD
        )


@dataclass(frozen=True)
class PluginLibrary:
    """A library file as it is now.

    Attributes:
        path: Absolute.
        sha256: Of its bytes.
        info: Its manifest; ``None`` for a library that comes without one.
        problem: Why it cannot be used, in words; ``None`` if nothing speaks against it.
    """

    path: Path
    sha256: str
    info: PluginInfo | None
    problem: PluginError | None = field(default=None, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        info, problem = self.info, self.problem
        return {
            "path": str(self.path),
            "sha256": self.sha256,
            "info": info.to_dict() if info else None,
            "problem": str(problem) if problem else None,
        }


def plugin_folder() -> Path:
    """Return the folder of the libraries that ``plugin build`` makes; not made here."""
    return cache_folder() / "plugin"


def install_folder() -> Path:
    """Return where ``plugin install`` puts libraries: the system's folder for root, else the user's cache."""
    return SYSTEM_FOLDER if os.geteuid() == 0 else plugin_folder()


def autoreg_path(library: Path) -> Path:
    """Return where the library that registers by itself stands: beside the main one."""
    return Path(library).with_name(AUTOREG)


def describe_library(path: Path) -> PluginLibrary:
    """Look at a library file and its manifest; what is wrong with them is in ``problem``.

    Raises:
        PluginError: There is no such file.
    """
    path = Path(path).absolute()
    if not path.is_file():
        what = "not a file" if path.exists() else "not there"
        raise PluginError(f"the plugin library {path} is {what}", do=f"check the path, or build one: {BUILD}")
    digest = sha256_file(path)
    if cut_off(path):
        problem = PluginError(
            f"the plugin library {path} is cut off", do=f"copy it again, or build it again: {BUILD}"
        )
        return PluginLibrary(path, digest, None, problem)
    if not manifest_path(path).is_file():
        return PluginLibrary(path, digest, None)
    try:
        info = PluginInfo.load(path)
    except PluginError as error:
        return PluginLibrary(path, digest, None, error)
    return PluginLibrary(path, digest, info, _problem(path, digest, info))


def _problem(path: Path, digest: str, info: PluginInfo) -> PluginError | None:
    if info.sha256 != digest:
        return PluginError(
            f"the plugin library {path} does not match its manifest",
            got=f"sha256 {digest}",
            expected=f"sha256 {info.sha256}",
            do=f"copy both files again, or build the library again: {BUILD}",
        )
    if dict(info.ops) != OPS:
        return PluginError(
            f"the plugin library {path} holds other versions of the ops",
            got=_versions(info.ops),
            expected=_versions(OPS),
            do=f"build the library again with this version of mimamba-edge: {BUILD}",
        )
    if int(info.tensorrt_headers.split(".")[0]) < 10:
        return PluginError(
            f"the plugin library {path} is for another TensorRT",
            got=f"built with the headers of {info.tensorrt_headers}",
            expected="headers of 10.3 or later",
            do=f"name newer headers by TENSORRT_ROOT and build again: {BUILD}",
        )
    return None


def _versions(ops: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(ops.items())) or "none"


def list_plugins() -> list[PluginLibrary]:
    """Return all libraries: the one that ``MIMAMBA_PLUGIN`` names, then the cache's, then the system's.

    Those of a folder newest first.

    Raises:
        PluginError: ``MIMAMBA_PLUGIN`` names no file.
    """
    named = os.environ.get(_VARIABLE)
    held: list[Path] = []
    for folder in (plugin_folder(), SYSTEM_FOLDER):
        held += sorted(folder.glob(f"*/{LIBRARY}"), key=lambda p: p.stat().st_mtime_ns, reverse=True)
    first = [Path(named).absolute()] if named else []
    return [describe_library(path) for path in (*first, *(p for p in held if p.absolute() not in first))]


def check_cpu(library: Path, name: Path) -> None:
    """Check that a library was not built for a device of another kind.

    Args:
        library: The file.
        name: What the error calls it: the library, or the archive that it came in.

    Raises:
        PluginError: It was.
    """
    cpu, here = architecture(library), platform.machine()
    if cpu not in (None, here):
        raise PluginError(
            f"the library {name} is for another CPU",
            got=cpu,
            expected=here,
            do="on that kind of device: mimamba-edge plugin install, of what `plugin build --archive` wrote",
        )


def find_plugin(*, sm: int | None = None) -> PluginLibrary:
    """Return the library to use: the one named by ``MIMAMBA_PLUGIN``, else the newest in the cache that fits.

    Args:
        sm: Compute capability, times ten, that a library from the cache must have code for.

    Raises:
        PluginError: There is none, or the one named cannot be used.
    """
    found = list_plugins()
    if os.environ.get(_VARIABLE):
        if found[0].problem:
            raise found[0].problem
        check_cpu(found[0].path, found[0].path)
        return found[0]
    why = []
    for library in found:
        try:
            if library.problem:
                raise library.problem
            if library.info and library.info.host_kernels:
                raise PluginError("its kernels run on the host: for tests only")
            check_cpu(library.path, library.path)
            if sm is not None:
                check_architecture(library, sm)
        except PluginError as error:
            why.append(f"{library.path}: {error.what}")
        else:
            return library
    raise PluginError(
        "no usable plugin library was found",
        got="\n            ".join(why) or f"none in {plugin_folder()}",
        expected=f"one made by {BUILD}, or {_VARIABLE} set to the path of one",
        do=f"on a machine with nvcc and TensorRT's headers (a Jetson has both): {BUILD}",
    )


def check_architecture(library: PluginLibrary, sm: int) -> None:
    """Check that a library has code for a device.

    CMake puts PTX beside the machine code of every architecture, and the driver compiles PTX for any later
    one, once (CUDA C++ Programming Guide, "PTX Compatibility").

    Args:
        library: A library; one without a manifest passes, since nothing is known of it.
        sm: The device's compute capability, times ten.

    Raises:
        PluginError: It has none.
    """
    info = library.info
    if info is None or (not info.host_kernels and any(arch <= sm for arch in info.architectures)):
        return
    raise PluginError(
        f"the plugin library {library.path} has no code for this GPU",
        got="kernels that run on the host, for tests" if info.host_kernels else list(info.architectures),
        expected=f"{sm}, or an earlier one",
        do=f"{BUILD} --arch {sm}",
    )
