"""Loads a plugin library into TensorRT's registry.

``IPluginRegistry::loadLibrary`` answers null both for a library that it cannot load and for one whose
creators are registered already, and says why only in the log (NVIDIA/TensorRT v10.3.0 to v11.1,
``NvInferRuntime.h``). What it cannot say is found out here.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mimamba_edge.contract import FIELDS, OPS
from mimamba_edge.errors import PluginError
from mimamba_edge.trt.library import BUILD, PluginLibrary, describe_library

__all__ = ["NAMESPACE", "Creator", "LoadedPlugin", "load_plugin"]

NAMESPACE = "mimamba"


class _Says(Protocol):
    def words(self) -> str | None: ...


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
            do=f"build it again: {BUILD}; registered besides: {_names(before)}",
        )
    for creator in new:
        # A parser drops the attributes that a plugin has no field for, without a word.
        if creator.namespace == NAMESPACE and set(creator.fields) != set(FIELDS[creator.name]):
            registry.deregister_library(handle)
            raise PluginError(
                f"the library {library.path} is of another mimamba-edge: {creator} has other fields",
                got=", ".join(sorted(creator.fields)) or "none",
                expected=", ".join(sorted(FIELDS[creator.name])),
                do=f"build it again: {BUILD}",
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
        f"the plugins of {path} are already in TensorRT's registry",
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
            do=f"build it here: {BUILD}",
        )
    lacking = [name for name in ("getCreators", "setLoggerFinder") if not hasattr(exported, name)]
    why = (
        f"no function {' and no '.join(lacking)}"
        if lacking
        else "no creators, or some that are there already"
    )
    return PluginError(
        f"TensorRT refuses the plugin library {path}",
        got=words or why,
        expected=f"a library made by {BUILD}",
        do=f"build it again; registered in this process: {_names(before)}",
    )
