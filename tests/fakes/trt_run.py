"""The runtime half of the fake: plans, runtime, engine, context.

Sources, all NVIDIA/TensorRT: pyCore.cpp is python/src/infer/pyCore.cpp, NvInferRuntime.h is in include/, both
at tag release/10.3 (11.1 says the same unless noted); the guide is NVIDIA's "TensorRT Developer Guide".
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

from tests.fakes.cudart import FakeCuda, Op
from tests.fakes.trt_plugins import IPluginRegistry, get_plugin_registry
from tests.fakes.world import Bound, Dims, World, world

MAGIC = b"FAKEPLAN"
NUMPY_TYPES = {"FLOAT": np.float32, "HALF": np.float16, "INT32": np.int32, "INT64": np.int64}

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
        """Return the engine or ``None``, with the reason at the logger (NvInferRuntime.h, "or nullptr if").

        The words are those that users of the real one report (magic: NVIDIA/TensorRT issue 1596; device:
        issue 2176, in the form of 10.8 in deepinsight/insightface issue 2882).
        """
        here, data = world(), bytes(memoryview(serialized_engine))
        head, why = _read_plan(data, here)
        if head is None:
            here.say(self._logger, "ERROR", f"IRuntime::deserializeCudaEngine: {why}")
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
        return None, "Error Code 1: Cuda Runtime (out of memory)"
    if not data.startswith(MAGIC):
        return None, (
            "Error Code 1: Serialization (Serialization assertion magicTagRead == kMAGIC_TAG failed."
            "Magic tag does not match)"
        )
    size = int.from_bytes(data[8:16], "little")
    text, digest = data[16 : 16 + size], data[16 + size :]
    if hashlib.sha256(text).digest() != digest:
        return (
            None,
            "Error Code 1: Serialization (Serialization assertion mSize >= 0 failed. Unexpected end of plan)",
        )
    head: dict[str, Any] = json.loads(text)
    if head["version"] != here.version:
        return None, (
            "Error Code 6: API Usage Error (The engine plan file is not compatible with this version of "
            f"TensorRT, expecting library version {here.version} got {head['version']}, please rebuild.)"
        )
    device = here.cuda.device
    if head["device"] != [device.name, device.major, device.minor]:
        compute = ".".join(str(n) for n in head["device"][1:])
        return None, (
            "Error Code 6: API Usage Error (The engine plan file is generated on an incompatible device, "
            f"expecting compute {device.major}.{device.minor} got compute {compute}, please rebuild.)"
        )
    return head, ""


class ICudaEngine(Bound):
    """Keeps its runtime, as its contexts keep it (pyCore.cpp: ``py::keep_alive<0, 1>``)."""

    def __init__(self, runtime: Runtime, head: dict[str, Any]) -> None:
        super().__init__()
        self._runtime, self._head = runtime, head
        self._tensors = {tensor["name"]: tensor for tensor in head["tensors"]}
        self._living = world().engines
        self._living.append(id(self))

    def __del__(self) -> None:
        self._living.remove(id(self))

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
        """False for an unknown name, or where a fixed dimension or the profile disagrees (header)."""
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
