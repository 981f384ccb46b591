"""The runtime half of the fake: loggers, plugin registry, runtime, engine, context.

Sources, all NVIDIA/TensorRT: pyCore.cpp is python/src/infer/pyCore.cpp, NvInferRuntime.h is in include/, both
at tag release/10.3 (11.1 says the same unless noted); the guide is NVIDIA's "TensorRT Developer Guide".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.fakes.cudart import FakeCuda, Op
from tests.fakes.names import make_enum

MAGIC = b"FAKEPLAN"
LIBRARY_MAGIC = b"FAKE PLUGIN LIBRARY\n"
Model = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]

NUMPY_TYPES = {"FLOAT": np.float32, "HALF": np.float16, "INT32": np.int32, "INT64": np.int64}


@dataclass
class World:
    """One machine with TensorRT: what all its objects share.

    Attributes:
        flavour: ``"10.3"`` or ``"11"``.
        version: TensorRT's full version.
        cuda: Its CUDA device.
        model: What every engine computes, by tensor name.
        messages: All that was said to loggers: ``(severity's name, text)``.
        engines: Engines that are alive; a plugin library must outlive them.
        faults: Names of calls that fail once.
        builds: How many networks were built.
    """

    flavour: str
    version: str
    cuda: FakeCuda
    model: Model | None = None
    messages: list[tuple[str, str]] = field(default_factory=list)
    engines: list[int] = field(default_factory=list)
    faults: set[str] = field(default_factory=set)
    builds: int = 0
    registry: Any = None
    logger: Any = None

    def enum(self, name: str) -> Any:
        return make_enum(self.flavour, name)

    def say(self, logger: Any, severity: str, text: str) -> None:
        """Give a message to a logger. What ``log`` raises is printed and lost (pyCore.cpp, PyLogger::log)."""
        self.messages.append((severity, text))
        try:
            logger.log(self.enum("ILogger.Severity")[severity], text)
        except Exception as error:
            print(f"[ERROR] Exception caught in log(): {error}")

    def take_fault(self, name: str) -> bool:
        found = name in self.faults
        self.faults.discard(name)
        return found

    def adopt(self, logger: Any, what: str) -> None:
        """Check the logger of a new object; the first one given is the process's (NvInferRuntime.h, getLogger)."""
        if not isinstance(logger, ILogger):
            raise TypeError(f"__init__(): incompatible constructor arguments: {type(logger).__name__}")
        if self.take_fault(what):
            # A factory that gives a null pointer (no driver, wrong driver) is a TypeError in pybind11.
            self.say(logger, "ERROR", "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")
        if self.logger is None:
            self.logger = logger
        elif self.logger is not logger:
            self.say(logger, "WARNING", f"The logger passed into {what} differs from one already provided")


WORLD: list[World] = []


def world() -> World:
    return WORLD[-1]


class BoundType(type):
    """As pybind11's metaclass: a Python subclass that does not call ``__init__`` of its base is refused."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        made = super().__call__(*args, **kwargs)
        if not getattr(made, "_bound", False):
            base = next(c for c in cls.__mro__ if c.__module__.startswith("tests.fakes"))
            raise TypeError(f"{base.__name__}.__init__() must be called when overriding __init__")
        return made


class Bound(metaclass=BoundType):
    """A bound class: instances take no attributes but its own, unless a Python class derives from it."""

    def __init__(self) -> None:
        self._bound = True

    def __setattr__(self, name: str, value: Any) -> None:
        own = type(self).__module__.startswith("tests.fakes")
        if own and not name.startswith("_") and not hasattr(type(self), name):
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        super().__setattr__(name, value)


def not_created(cls: type) -> Any:
    """Classes without a constructor of their own say so: TensorRT makes their objects."""

    def refuse(self: Any, *args: Any, **kwargs: Any) -> None:
        raise TypeError(f"{cls.__name__}: No constructor defined!")

    return refuse


class ILogger(Bound):
    """To be derived from, with ``super().__init__()``."""

    def __init__(self) -> None:
        super().__init__()

    def log(self, severity: Any, msg: str) -> None:
        raise RuntimeError('Tried to call pure virtual function "ILogger::log"')


class Logger(ILogger):
    """Prints; ``min_severity`` as in pyCore.cpp, DefaultLogger."""

    min_severity: Any = None

    def __init__(self, min_severity: Any = None) -> None:
        super().__init__()
        self.min_severity = min_severity or world().enum("ILogger.Severity").WARNING

    def log(self, severity: Any, msg: str) -> None:
        if int(severity) <= int(self.min_severity):
            print(f"[TRT] {msg}")


class Dims:
    """A sequence that is neither a tuple nor hashable (pyFoundationalTypes.cpp)."""

    __hash__ = None  # type: ignore[assignment]
    MAX_DIMS = 8

    def __init__(self, shape: Any = ()) -> None:
        self._d = None if shape is None else [int(n) for n in shape]

    def __len__(self) -> int:
        if self._d is None:  # nbDims is -1 where a name is unknown
            raise ValueError("__len__() should return >= 0")
        return len(self._d)

    def __getitem__(self, index: Any) -> Any:
        return self._d[index] if self._d is not None else None

    def __iter__(self) -> Iterator[int]:
        return iter(self._d or [])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (list, tuple)) and list(other) == self._d

    def __repr__(self) -> str:
        return str(tuple(self._d or ()))


class IHostMemory(bytearray):
    """Bytes behind the buffer protocol: it has ``nbytes`` but no length (pyFoundationalTypes.cpp)."""

    @property
    def nbytes(self) -> int:
        return super().__len__()

    def __len__(self) -> int:
        raise TypeError("object of type 'IHostMemory' has no len()")

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Any:
        raise TypeError("'IHostMemory' object is not iterable")


# Plans: bytes that only this fake reads.


def plan_bytes(head: dict[str, Any]) -> bytes:
    """Return a plan; its digest finds what was cut off."""
    text = json.dumps(head).encode()
    return MAGIC + len(text).to_bytes(8, "little") + text + hashlib.sha256(text).digest()


def plan_head(
    flavour_version: str,
    device: Any,
    *,
    batch: tuple[int, int, int] = (1, 1, 1),
    window: tuple[int, int] = (3, 20),
    n_outputs: int = 2,
    plugins: tuple[str, ...] = ("SelectiveScan", "MultiScaleTemporalBlock"),
) -> dict[str, Any]:
    """Return what stands in a plan for ``windows`` -> ``logits``; tests change what they want wrong."""
    b = batch[0] if batch[0] == batch[2] else -1
    shapes = {"windows": [[n, *window] for n in batch]} if b == -1 else {}
    return {
        "version": flavour_version,
        "device": [device.name, device.major, device.minor],
        "tensors": [
            {"name": "windows", "mode": "INPUT", "dtype": "FLOAT", "shape": [b, *window]},
            {"name": "logits", "mode": "OUTPUT", "dtype": "FLOAT", "shape": [b, n_outputs]},
        ],
        "profiles": [shapes],
        "plugins": list(plugins),
    }


class IPluginRegistry(Bound):
    """Libraries of creators. The real one's handles are capsules."""

    def __init__(self) -> None:
        super().__init__()
        self._libraries: dict[str, list[Any]] = {}

    @property
    def all_creators(self) -> list[Any]:
        return [creator for creators in self._libraries.values() for creator in creators]

    @property
    def plugin_creator_list(self) -> list[Any]:
        """Creators of IPluginV2 only (pyPlugin.cpp); this registry has none."""
        return []

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


OP_FIELDS = {
    "SelectiveScan": ["has_z", "delta_softplus", "reverse", "return_last_state"],
    "MultiScaleTemporalBlock": ["top_k", "min_bin", "max_bin", "weighting", "amplitude_scale"],
}


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


class Runtime(Bound):
    """Keeps its logger (pyCore.cpp: ``py::keep_alive<1, 2>``)."""

    engine_host_code_allowed = False
    max_threads = 1

    def __init__(self, logger: Any) -> None:
        super().__init__()
        world().adopt(logger, "createInferRuntime")
        self._logger = logger

    @property
    def logger(self) -> Any:
        return self._logger

    def get_plugin_registry(self) -> IPluginRegistry:
        return get_plugin_registry()

    def deserialize_cuda_engine(self, serialized_engine: Any) -> Any:
        """Return the engine or ``None``, with the reason at the logger (NvInferRuntime.h, "or nullptr if ...").

        The words are those that users of the real one report (issues of NVIDIA/TensorRT).
        """
        here, data = world(), bytes(memoryview(serialized_engine))
        head, why = _read_plan(data, here)
        if head is None:
            here.say(self._logger, "ERROR", f"IRuntime::deserializeCudaEngine: Error Code 1: {why}")
            return None
        for name in head["plugins"]:
            if get_plugin_registry().get_creator(name, "1", "mimamba") is None:
                text = f"Cannot find plugin: {name}, version: 1, namespace:mimamba."
                here.say(
                    self._logger,
                    "ERROR",
                    f"IPluginRegistry::getCreator: Error Code 4: API Usage Error ({text})",
                )
                return None
        return ICudaEngine(self, head)


def _read_plan(data: bytes, here: World) -> tuple[dict[str, Any] | None, str]:
    if here.take_fault("deserialize"):
        return None, "Cuda Runtime (out of memory)"
    if not data.startswith(MAGIC):
        return None, (
            "Serialization (Serialization assertion magicTagRead == kMAGIC_TAG failed."
            "Magic tag does not match)"
        )
    size = int.from_bytes(data[8:16], "little")
    text, digest = data[16 : 16 + size], data[16 + size :]
    if hashlib.sha256(text).digest() != digest:
        return None, "Serialization (Serialization assertion mSize >= 0 failed. Unexpected end of plan)"
    head: dict[str, Any] = json.loads(text)
    if head["version"] != here.version:
        return None, (
            "Serialization (The engine plan file is not compatible with this version of TensorRT, "
            f"expecting library version {here.version} got {head['version']}, please rebuild.)"
        )
    device = here.cuda.device
    if head["device"] != [device.name, device.major, device.minor]:
        compute = ".".join(str(n) for n in head["device"][1:])
        return None, (
            "Serialization (The engine plan file is generated on an incompatible device, "
            f"expecting compute {device.major}.{device.minor} got compute {compute}, please rebuild.)"
        )
    return head, ""


class ICudaEngine(Bound):
    """Keeps its runtime, as its contexts keep it (pyCore.cpp: ``py::keep_alive<0, 1>``)."""

    def __init__(self, runtime: Runtime, head: dict[str, Any]) -> None:
        super().__init__()
        self._runtime, self._head = runtime, head
        self._tensors = {tensor["name"]: tensor for tensor in head["tensors"]}
        world().engines.append(id(self))

    def __del__(self) -> None:
        if WORLD and id(self) in world().engines:
            world().engines.remove(id(self))

    num_io_tensors = property(lambda self: len(self._tensors))
    num_optimization_profiles = property(lambda self: len(self._head["profiles"]))
    name = property(lambda self: "Unnamed Network 0")
    num_layers = property(lambda self: 12)
    device_memory_size_v2 = property(lambda self: 1 << 20)

    def get_tensor_name(self, index: int) -> Any:
        names = list(self._tensors)
        return names[index] if 0 <= index < len(names) else None

    def get_tensor_mode(self, name: str) -> Any:
        mode = self._tensors[name]["mode"] if name in self._tensors else "NONE"
        return world().enum("TensorIOMode")[mode]

    def get_tensor_dtype(self, name: str) -> Any:
        return world().enum("DataType")[self._tensors[name]["dtype"] if name in self._tensors else "FLOAT"]

    def get_tensor_shape(self, name: str) -> Dims:
        return Dims(self._tensors[name]["shape"] if name in self._tensors else None)

    def get_tensor_location(self, name: str) -> Any:
        return world().enum("TensorLocation").DEVICE

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Dims]:
        """Return min, opt, max; of a static input its shape thrice; invalid Dims for an output."""
        tensor = self._tensors.get(name)
        if (
            tensor is None
            or tensor["mode"] != "INPUT"
            or not 0 <= profile_index < len(self._head["profiles"])
        ):
            return [Dims(None)] * 3
        return [
            Dims(shape) for shape in self._head["profiles"][profile_index].get(name, [tensor["shape"]] * 3)
        ]

    def create_execution_context(self, strategy: Any = None) -> Any:
        """Return a context; ``None`` where the device has no memory for it."""
        here = world()
        if here.take_fault("create_execution_context"):
            here.say(self._runtime._logger, "ERROR", "createExecutionContext: Error Code 2: OutOfMemory")
            return None
        return IExecutionContext(self)


class IExecutionContext(Bound):
    """Shapes, addresses and enqueue."""

    def __init__(self, engine: ICudaEngine) -> None:
        super().__init__()
        self._engine = engine
        self._addresses: dict[str, int] = {}
        self._shapes = {t["name"]: list(t["shape"]) for t in engine._head["tensors"] if t["mode"] == "INPUT"}
        self._version = 0  # goes up with every change of a shape or an address
        self._flushed = -1  # the version that the last enqueue outside a capture saw

    engine = property(lambda self: self._engine)
    active_optimization_profile = property(lambda self: 0)

    def _error(self, text: str) -> None:
        world().say(self._engine._runtime._logger, "ERROR", text)

    def set_input_shape(self, name: str, shape: Any) -> bool:
        """NvInferRuntime.h: false for an unknown name, or where a fixed dimension or the profile disagrees."""
        if not isinstance(shape, (tuple, list, Dims)):
            raise TypeError("set_input_shape(): incompatible function arguments")
        engine, shape = self._engine, [int(n) for n in shape]
        if name not in self._shapes:
            self._error(f"IExecutionContext::setInputShape: Error Code 3: given invalid tensor name: {name}")
            return False
        low, _, high = (list(dims) for dims in engine.get_tensor_profile_shape(name, 0))
        if len(shape) != len(low) or not all(a <= n <= b for a, n, b in zip(low, shape, high, strict=True)):
            self._error(
                "IExecutionContext::setInputShape: Error Code 3: API Usage Error (Set dimension "
                f"{shape} for tensor {name} does not satisfy any optimization profiles. Valid: {low}..{high})"
            )
            return False
        if self._shapes[name] != shape:
            self._shapes[name] = shape
            self._version += 1
        return True

    def get_tensor_shape(self, name: str) -> Dims:
        if name in self._shapes:
            return Dims(self._shapes[name])
        if name not in self._engine._tensors:
            return Dims(None)
        held = list(self._engine._tensors[name]["shape"])
        given = next(iter(self._shapes.values()))
        return Dims([given[0] if n == -1 else n for n in held])

    def infer_shapes(self) -> list[str]:
        """Return the inputs whose shapes are not known yet."""
        return [name for name, shape in self._shapes.items() if -1 in shape]

    def set_tensor_address(self, name: str, memory: int) -> bool:
        """NvInferRuntime.h: false for an unknown name; "must have at least 256-byte alignment"."""
        if not isinstance(memory, int):
            raise TypeError("set_tensor_address(): incompatible function arguments")
        if name not in self._engine._tensors:
            self._error(
                f"IExecutionContext::setTensorAddress: Error Code 3: given invalid tensor name: {name}"
            )
            return False
        if memory % 256:
            world().cuda.violations.append(f"address of {name} is not aligned to 256 bytes")
        if self._addresses.get(name) != memory:
            self._addresses[name] = memory
            self._version += 1
        return True

    def get_tensor_address(self, name: str) -> int:
        return self._addresses.get(name, 0)

    def _bytes(self, name: str) -> tuple[tuple[int, ...], Any, int]:
        shape = tuple(self.get_tensor_shape(name))
        dtype = np.dtype(NUMPY_TYPES[self._engine._tensors[name]["dtype"]])
        return shape, dtype, int(np.prod(shape)) * dtype.itemsize

    def execute_async_v3(self, stream_handle: int) -> bool:
        """Queue the model; false where a shape or an address is missing (NvInferRuntime.h, enqueueV3).

        Under capture the guide ("CUDA Graphs") wants one enqueue with these shapes before: what waits until
        then allocates and synchronises, which breaks the capture.
        """
        if not isinstance(stream_handle, int):
            raise TypeError("execute_async_v3(): incompatible function arguments")
        here, cuda = world(), world().cuda
        if here.take_fault("execute_async_v3"):
            self._error(
                "IExecutionContext::enqueueV3: Error Code 1: Cuda Runtime (unspecified launch failure)"
            )
            return False
        missing = [name for name in self._engine._tensors if not self._addresses.get(name)]
        if missing or self.infer_shapes():
            self._error(f"IExecutionContext::enqueueV3: Error Code 3: API Usage Error (not set: {missing})")
            return False
        capturing = (
            cuda.streams.get(stream_handle) is not None and cuda.streams[stream_handle].recorded is not None
        )
        if capturing and (self._flushed != self._version or here.take_fault("capture")):
            cuda.invalidate()
            self._error(
                "IExecutionContext::enqueueV3: Error Code 1: operation not permitted when stream is capturing"
            )
            return False
        if not capturing:
            self._flushed = self._version
        inputs = {name: (self._addresses[name], *self._bytes(name)) for name in self._shapes}
        outputs = {
            n: (self._addresses[n], *self._bytes(n)) for n in self._engine._tensors if n not in self._shapes
        }
        version = self._version

        def run() -> None:
            if capturing and version != self._version:
                # The guide: "Modifying the context from which the graph was captured will result in
                # undefined behavior when executing the graph".
                cuda.violations.append("a graph ran after its context was modified")
            fed: dict[str, np.ndarray] = {}
            for name, (address, shape, dtype, size) in inputs.items():
                held = cuda.view(address, size)
                if held is None:
                    cuda.illegal(f"input {name} at {address:#x}, {size} B: no device memory")
                    return
                fed[name] = held.view(dtype).reshape(shape).copy()
            if here.model is None:
                raise AssertionError("no model was given to the fake")
            answers = here.model(fed)
            for name, (address, shape, dtype, size) in outputs.items():
                target = cuda.view(address, size)
                if target is None:
                    cuda.illegal(f"output {name} at {address:#x}, {size} B: no device memory")
                    return
                target.view(dtype).reshape(shape)[:] = answers[name]

        # Device memory of a mapped buffer is what the host sees, so it must not be read early either.
        mapped = tuple(
            (address, size, True) for address, _, _, size in outputs.values() if _is_mapped(cuda, address)
        )
        return cuda.enqueue(stream_handle, Op(run, mapped))


def _is_mapped(cuda: FakeCuda, address: int) -> bool:
    return any(b.kind == "mapped" and b.device <= address < b.device + len(b.bytes) for b in cuda.blocks)
