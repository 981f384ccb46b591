"""What stands in the emulated root in TensorRT's place: the tests' fakes, found by ``fake_tensorrt.pth``.

A plugin library is loaded by the emulated system's linker. What an engine computes, ONNX Runtime computes
from the file that it was made of.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.abc
import importlib.machinery
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

MODEL = Path.home() / "model" / "model.onnx"


_FAKED = ("tensorrt", "cuda")


@cache
def _session() -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(str(MODEL), providers=["CPUExecutionProvider"])


def answers(windows: Any) -> dict[str, Any]:
    """What every engine says: the answers of the portable file."""
    session = _session()
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: windows}), strict=True))


def _install() -> None:
    sys.path.append("/fakes")
    if "mimamba_edge.trt.worker" in sys.orig_argv:
        sys.path.append("/fakes/onnx")  # of the fake parser alone
    names = ("tensorrt", "trt_plugins", "world")
    tensorrt, trt_plugins, world = (importlib.import_module(f"tests.fakes.{name}") for name in names)

    def load_library(self: Any, path: str) -> Any:
        try:
            ctypes.CDLL(path)
        except OSError as error:
            world.world().say(world.Logger(), "ERROR", f"Unable to open library: {path} due to {error}")
            return None
        held = json.loads(trt_plugins.library_bytes()[len(trt_plugins.LIBRARY_MAGIC) :])
        self._libraries[path] = [trt_plugins.Creator(**fields) for fields in held]
        return trt_plugins.LibraryHandle(path)

    trt_plugins.IPluginRegistry.load_library = load_library
    cuda = tensorrt.FakeCuda(tensorrt.Device())
    made = world.World("10.3", tensorrt.VERSIONS["10.3"], cuda, tensorrt.resolve(answers))
    world.WORLD.append(made)
    sys.modules.update(tensorrt.modules(made))
    for name in _FAKED:
        module, spec = sys.modules[name], _spec(name)
        module.__spec__, module.__file__ = spec, spec.origin


def _spec(name: str) -> importlib.machinery.ModuleSpec:
    # Where JetPack's package lies: doctor asks.
    place = f"/usr/lib/python3/dist-packages/{name}/__init__.py"
    return importlib.machinery.ModuleSpec(name, _Held(), origin=place)


class _Finder:
    """Installs the fakes when one of them is first asked for: most programs ask for none."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
        if name not in _FAKED:
            return None
        sys.meta_path.remove(_Finder)
        _install()
        return _spec(name)


class _Held(importlib.abc.Loader):
    def create_module(self, spec: Any) -> Any:
        return sys.modules[spec.name]

    def exec_module(self, module: Any) -> None:
        pass


# cuda-bindings' own .pth has imported the empty package.
sys.modules.pop("cuda", None)
sys.meta_path.insert(0, _Finder)
