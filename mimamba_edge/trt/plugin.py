"""Plugin libraries of the custom ops: found, described, loaded into TensorRT's registry.

``IPluginRegistry::loadLibrary`` answers null both for a library that it cannot load and for one whose
creators are registered already, and says why only in the log (NVIDIA/TensorRT v10.3.0 to v11.1,
``NvInferRuntime.h``). What it cannot say is found out here.
"""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mimamba_edge.artifact import cache_folder, manifest_path, sha256_file
from mimamba_edge.contract import OPS
from mimamba_edge.errors import PluginError

__all__ = [
    "AUTOREG",
    "LIBRARY",
    "NAMESPACE",
    "Creator",
    "LoadedPlugin",
    "PluginInfo",
    "PluginLibrary",
    "autoreg_path",
    "check_architecture",
    "describe_library",
    "find_plugin",
    "list_plugins",
    "load_plugin",
    "plugin_folder",
]

LIBRARY = "libmimamba_plugin.so"
AUTOREG = "libmimamba_plugin_autoreg.so"
NAMESPACE = "mimamba"
VARIABLE = "MIMAMBA_PLUGIN"
_FORMAT = 1
_TEGRA = (53, 62, 72, 87, 101, 110)
_BUILD = "mimamba-edge plugin build"


class _Says(Protocol):
    def words(self) -> str | None: ...


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
        architectures: Compute capabilities times ten that there is machine code for.
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
            "format": _FORMAT,
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
        path = manifest_path(library)
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            if raw.pop("format") != _FORMAT:
                raise ValueError(f"not of format {_FORMAT}")
            raw["architectures"] = tuple(int(arch) for arch in raw["architectures"])
            raw["ops"] = {str(name): int(version) for name, version in raw["ops"].items()}
            return cls(**raw)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise PluginError(
                f"{path} is not the manifest of a plugin library",
                got=f"{type(error).__name__}: {error}",
                do=f"build the library again: {_BUILD}",
            ) from error


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


@dataclass(frozen=True)
class Creator:
    """A plugin creator in TensorRT's registry; of those that are not ours the fields are left out."""

    name: str
    version: str
    namespace: str
    fields: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.namespace}::{self.name} {self.version}".removeprefix("::")


@dataclass(frozen=True)
class LoadedPlugin:
    """A library that is in the registry of this process.

    Attributes:
        library: Where it came from.
        creators: What it registered.
        handle: What ``deregister_library`` takes.
    """

    library: PluginLibrary
    creators: tuple[Creator, ...]
    handle: Any


_loaded: list[tuple[Any, LoadedPlugin]] = []
"""Registries (each kept alive, so that identity means something) and what was loaded into them."""


def plugin_folder() -> Path:
    """Return the folder of the libraries that ``plugin build`` makes; not made here."""
    return cache_folder() / "plugin"


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
        raise PluginError(
            f"the plugin library {path} is {what}", do=f"check the path, or build one: {_BUILD}"
        )
    digest = sha256_file(path)
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
            f"the plugin library {path} is not the one of its manifest",
            got=f"sha256 {digest}",
            expected=f"sha256 {info.sha256}",
            do=f"copy both files again, or build the library again: {_BUILD}",
        )
    if dict(info.ops) != OPS:
        return PluginError(
            f"the plugin library {path} holds other versions of the ops",
            got=_versions(info.ops),
            expected=_versions(OPS),
            do=f"build the library again with this version of mimamba-edge: {_BUILD}",
        )
    if int(info.tensorrt_headers.split(".")[0]) < 10:
        return PluginError(
            f"the plugin library {path} is for another TensorRT",
            got=f"built with the headers of {info.tensorrt_headers}",
            expected="headers of 10.3 or later",
            do=f"name newer headers by TENSORRT_ROOT and build again: {_BUILD}",
        )
    return None


def _versions(ops: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(ops.items())) or "none"


def list_plugins() -> list[PluginLibrary]:
    """Return all libraries: the one named by ``MIMAMBA_PLUGIN`` first, then the cache's, newest first.

    Raises:
        PluginError: ``MIMAMBA_PLUGIN`` names no file.
    """
    named = os.environ.get(VARIABLE)
    held = sorted(plugin_folder().glob(f"*/{LIBRARY}"), key=lambda p: p.stat().st_mtime_ns, reverse=True)
    first = [Path(named).absolute()] if named else []
    return [describe_library(path) for path in (*first, *(p for p in held if p.absolute() not in first))]


def find_plugin(*, sm: int | None = None) -> PluginLibrary:
    """Return the library to use: the one named by ``MIMAMBA_PLUGIN``, else the newest in the cache that fits.

    Args:
        sm: Compute capability, times ten, that a library from the cache must have code for.

    Raises:
        PluginError: There is none, or the one named cannot be used.
    """
    found = list_plugins()
    if os.environ.get(VARIABLE):
        if found[0].problem:
            raise found[0].problem
        return found[0]
    why = []
    for library in found:
        try:
            if library.problem:
                raise library.problem
            if library.info and library.info.host_kernels:
                raise PluginError("its kernels run on the host: for tests only")
            if sm is not None:
                check_architecture(library, sm)
        except PluginError as error:
            why.append(f"{library.path}: {error.what}")
        else:
            return library
    raise PluginError(
        "there is no plugin library that can be used",
        got="\n            ".join(why) or f"none in {plugin_folder()}",
        expected=f"one made by {_BUILD}, or {VARIABLE} set to the path of one",
        do=f"on a machine with nvcc and TensorRT's headers (a Jetson has both): {_BUILD}",
    )


def check_architecture(library: PluginLibrary, sm: int) -> None:
    """Check that a library has machine code for a device.

    Machine code runs on its own compute capability and on later minor ones of the same major; not between
    Tegra and other chips (CUDA C++ Programming Guide, "Binary Compatibility").

    Args:
        library: A library; one without a manifest passes, since nothing is known of it.
        sm: The device's compute capability, times ten.

    Raises:
        PluginError: It has none.
    """
    info = library.info
    if info is None:
        return
    runs = any(
        arch == sm or (arch // 10 == sm // 10 and arch < sm and not {arch, sm} & set(_TEGRA))
        for arch in info.architectures
    )
    if info.host_kernels or not runs:
        built = "none: its kernels run on the host, for tests" if info.host_kernels else info.architectures
        raise PluginError(
            f"the plugin library {library.path} has no code for this GPU",
            got=f"architectures {', '.join(map(str, built)) if isinstance(built, tuple) else built}",
            expected=sm,
            do=f"{_BUILD} --arch {sm}",
        )


def load_plugin(trt: Any, library: PluginLibrary | Path, *, logger: _Says | None = None) -> LoadedPlugin:
    """Load a library into TensorRT's registry, by absolute path, and compare the versions of its ops.

    A library that is loaded already is given back as it was. It stays loaded: its code is the engine's.

    Args:
        trt: The module ``tensorrt``.
        library: What to load.
        logger: Its last words are quoted when TensorRT refuses.

    Raises:
        PluginError: The file is missing, changed, not a library, holds no creators or other versions of the
            ops; or another library with these ops is in the registry already.
    """
    library = describe_library(library.path if isinstance(library, PluginLibrary) else library)
    if library.problem:
        raise library.problem
    registry = trt.get_plugin_registry()
    for held in (held for where, held in _loaded if where is registry or where == registry):
        if held.library.path.resolve() == library.path.resolve():
            if held.library.sha256 == library.sha256:
                return held
            raise PluginError(
                f"the plugin library {library.path} was replaced since this process loaded it",
                got=f"sha256 {library.sha256}",
                expected=f"sha256 {held.library.sha256}",
                do="start the program again",
            )
    before = _creators(registry)
    if taken := [creator for creator in before if creator.namespace == NAMESPACE]:
        raise _already(library.path, taken)
    handle = registry.load_library(str(library.path))
    if handle is None:
        raise _refused(library.path, before, logger)
    new = tuple(creator for creator in _creators(registry) if creator not in before)
    got = {(creator.name, creator.version) for creator in new if creator.namespace == NAMESPACE}
    if got != {(name, str(version)) for name, version in OPS.items()}:
        registry.deregister_library(handle)
        raise PluginError(
            f"the library {library.path} does not hold the plugins of this version of mimamba-edge",
            got=_names(new),
            expected=", ".join(f"{NAMESPACE}::{name} {version}" for name, version in OPS.items()),
            do=f"build it again: {_BUILD}; registered besides: {_names(before)}",
        )
    loaded = LoadedPlugin(library, new, handle)
    _loaded.append((registry, loaded))
    return loaded


def _creators(registry: Any) -> list[Creator]:
    found = []
    for creator in registry.all_creators:
        namespace = str(creator.plugin_namespace)
        # TensorRT's own creators write errors to the log when asked for their fields.
        fields = creator.field_names or () if namespace == NAMESPACE else ()
        names = tuple(str(one.name) for one in fields)
        found.append(Creator(str(creator.name), str(creator.plugin_version), namespace, names))
    return found


def _names(creators: Sequence[Creator]) -> str:
    return ", ".join(map(str, creators)) or "none"


def _already(path: Path, taken: Sequence[Creator]) -> PluginError:
    held = [str(held.library.path) for _, held in _loaded] or ["a library that this program did not load"]
    return PluginError(
        f"the plugins of {path} are in TensorRT's registry already",
        got=f"{_names(taken)}, from {', '.join(held)}",
        expected="one library in a process",
        do="use that library, or start the program again without it (LD_PRELOAD, the autoreg library)",
    )


def _refused(path: Path, before: Sequence[Creator], logger: _Says | None) -> PluginError:
    """Find out why the registry answered null."""
    words = logger.words() if logger is not None else None
    try:
        exported = ctypes.CDLL(str(path), mode=os.RTLD_LOCAL | os.RTLD_LAZY)
    except OSError as error:
        return PluginError(
            f"the plugin library {path} cannot be loaded",
            got="; ".join(filter(None, (str(error), words))),
            expected="a shared library for this machine whose own libraries are installed",
            do=f"build it here: {_BUILD}",
        )
    entry = hasattr(exported, "getCreators")
    return PluginError(
        f"TensorRT refuses the plugin library {path}",
        got=words
        or ("no creators, or some that are registered already" if entry else "no function getCreators"),
        expected=f"a library made by {_BUILD}",
        do=f"build it again; registered in this process: {_names(before)}",
    )
