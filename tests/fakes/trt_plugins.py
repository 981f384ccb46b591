"""The fake plugin registry (NVIDIA/TensorRT release/10.3: python/src/infer/pyPlugin.cpp, include/)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mimamba_edge.contract import FIELDS
from tests.fakes.world import Bound, Logger, world

LIBRARY_MAGIC = b"FAKE PLUGIN LIBRARY\n"


class IPluginRegistry(Bound):
    """Libraries of creators. The real one's handles are capsules."""

    def __init__(self) -> None:
        super().__init__()
        self._libraries: dict[str, list[Any]] = {}

    @property
    def all_creators(self) -> list[Any]:
        return [creator for creators in self._libraries.values() for creator in creators]

    def load_library(self, plugin_path: str) -> Any:
        """Return a handle; ``None`` if it cannot be loaded or a creator is there already.

        NvInferRuntime.h, IPluginRegistry::loadLibrary: "The call will fail and return nullptr if any of the
        plugins are already registered."
        """
        if not isinstance(plugin_path, str):
            raise TypeError("load_library(): incompatible function arguments")
        here = world()
        logger = here.logger or Logger()
        path = Path(plugin_path)
        data = path.read_bytes() if path.is_file() else b""
        if not data.startswith(LIBRARY_MAGIC):
            here.say(logger, "ERROR", f"Unable to open library: {plugin_path} due to no such file or format")
            return None
        creators = [Creator(**fields) for fields in json.loads(data[len(LIBRARY_MAGIC) :])]
        taken = {creator._key for creator in self.all_creators}
        if any(creator._key in taken for creator in creators):
            here.say(
                logger, "ERROR", "plugin creator already registered: name, version and namespace are taken"
            )
            return None
        self._libraries[plugin_path] = creators
        return LibraryHandle(plugin_path)

    def deregister_library(self, handle: Any) -> None:
        """Unload; the code of a living engine's plugins would be gone."""
        if world().engines:
            world().cuda.violations.append("a plugin library was unloaded under a living engine")
        self._libraries.pop(handle._path)

    def get_creator(self, type: str, version: str, plugin_namespace: str = "") -> Any:
        key = (type, version, plugin_namespace)
        return next((creator for creator in self.all_creators if creator._key == key), None)


class LibraryHandle:
    def __init__(self, path: str) -> None:
        self._path = path


class Creator(Bound):
    """An IPluginCreatorV3One."""

    def __init__(self, name: str, version: str, namespace: str, fields: list[str]) -> None:
        super().__init__()
        self._key = (name, version, namespace)
        self._fields = fields

    name = property(lambda self: self._key[0])
    plugin_version = property(lambda self: self._key[1])
    plugin_namespace = property(lambda self: self._key[2])
    field_names = property(lambda self: [PluginField(name) for name in self._fields])


class PluginField(Bound):
    name = ""

    def __init__(self, name: str = "") -> None:
        super().__init__()
        self.name = name


OP_FIELDS = {name: list(fields) for name, fields in FIELDS.items()}


def library_bytes(
    *, version: str = "1", namespace: str = "mimamba", ops: Mapping[str, list[str]] = OP_FIELDS
) -> bytes:
    """Return a plugin library that the fake registry can load."""
    creators = [
        {"name": name, "version": version, "namespace": namespace, "fields": fields}
        for name, fields in ops.items()
    ]
    return LIBRARY_MAGIC + json.dumps(creators).encode()


def get_plugin_registry() -> IPluginRegistry:
    here = world()
    if here.registry is None:
        here.registry = IPluginRegistry()
    registry: IPluginRegistry = here.registry
    return registry


def init_libnvinfer_plugins(logger: Any, namespace: str) -> bool:
    return True
