"""The builder half of the fake: network, profile, timing cache, config, ONNX parser, builder.

Sources, all NVIDIA/TensorRT: pyCore.cpp, pyGraph.cpp and pyOnnx.cpp are in python/src/, NvInfer.h and
NvOnnxParser.h in include/, at tags release/10.3 and release/11.1; the guide is NVIDIA's "TensorRT Developer
Guide". A "build" writes a plan that only the fake runtime reads (trt_run.py).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.fakes.trt_run import Bound, Dims, IHostMemory, get_plugin_registry, plan_bytes, world

CACHE_MAGIC = b"FAKECACHE"
PRECISION_FLAGS = ("FP16", "BF16", "INT8", "FP8", "INT4")
# ONNX element types (onnx.proto, TensorProto.DataType) that tests feed, by the names of trt.DataType.
ELEMENT_TYPES = {1: "FLOAT", 10: "HALF", 6: "INT32", 7: "INT64"}


class ITensor(Bound):
    """A tensor of a network."""

    name = ""

    def __init__(self, name: str, dtype: str, shape: list[int]) -> None:
        super().__init__()
        self.name, self._dtype, self._shape = name, dtype, shape

    dtype = property(lambda self: world().enum("DataType")[self._dtype])
    shape = property(lambda self: Dims(self._shape))


class INetworkDefinition(Bound):
    """What the parser fills."""

    name = "Unnamed Network 0"

    def __init__(self, flags: int) -> None:
        super().__init__()
        self._flags = flags
        self._inputs: list[ITensor] = []
        self._outputs: list[ITensor] = []
        self._plugins: list[str] = []
        self._layers = 0

    num_inputs = property(lambda self: len(self._inputs))
    num_outputs = property(lambda self: len(self._outputs))
    num_layers = property(lambda self: self._layers)
    flags = property(lambda self: self._flags)

    def get_flag(self, flag: Any) -> bool:
        """In 11 a network is strongly typed whatever the flag (NvInfer.h: "retained ... but is ignored")."""
        if flag.name == "STRONGLY_TYPED" and world().flavour == "11":
            return True
        return bool(self._flags & (1 << int(flag)))

    def get_input(self, index: int) -> Any:
        return self._inputs[index] if index < len(self._inputs) else None

    def get_output(self, index: int) -> Any:
        return self._outputs[index] if index < len(self._outputs) else None


class IOptimizationProfile(Bound):
    """Shapes of dynamic inputs; true if they are in order (pyCore.cpp binds ``__bool__`` to isValid)."""

    def __init__(self) -> None:
        super().__init__()
        self._shapes: dict[str, list[list[int]]] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        """pyCore.cpp, opt_profile_set_shape: RuntimeError where setDimensions refuses (ranks that differ)."""
        shapes = [[int(n) for n in dims] for dims in (min, opt, max)]
        if len({len(shape) for shape in shapes}) != 1:
            raise RuntimeError("Shape provided for opt is inconsistent with other shapes.")
        self._shapes[input] = shapes

    def get_shape(self, input: str) -> list[Dims]:
        return [Dims(shape) for shape in self._shapes.get(input, ())]

    def __bool__(self) -> bool:
        return all(a <= b <= c for low, mid, high in self._shapes.values() for a, b, c in zip(low, mid, high))


class ITimingCache(Bound):
    """Timings, with the device they were taken on."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._data = data

    def serialize(self) -> IHostMemory:
        return IHostMemory(self._data)

    def combine(self, input_cache: Any, ignore_mismatch: bool) -> bool:
        return True

    def reset(self) -> bool:
        self._data = b""
        return True


class IProgressMonitor(Bound):
    """To be derived from, with ``super().__init__()``; called from threads of TensorRT (NvInfer.h)."""

    def phase_start(self, phase_name: str, parent_phase: Any, num_steps: int) -> None:
        raise RuntimeError('Tried to call pure virtual function "IProgressMonitor::phase_start"')

    def step_complete(self, phase_name: str, step: int) -> bool:
        raise RuntimeError('Tried to call pure virtual function "IProgressMonitor::step_complete"')

    def phase_finish(self, phase_name: str) -> None:
        raise RuntimeError('Tried to call pure virtual function "IProgressMonitor::phase_finish"')


class IBuilderConfig(Bound):
    """How to build."""

    builder_optimization_level = 3
    avg_timing_iterations = 1
    max_aux_streams = -1
    profiling_verbosity: Any = None
    hardware_compatibility_level: Any = None
    engine_capability: Any = None
    profile_stream = 0
    plugins_to_serialize: Any = None
    progress_monitor: Any = None
    flags = 0

    def __init__(self, logger: Any) -> None:
        super().__init__()
        self._logger = logger
        self._flags: set[str] = {"TF32"}  # NvInfer.h, kTF32: enabled by default
        self._profiles: list[IOptimizationProfile] = []
        self._pools: dict[str, int] = {}
        self._cache: ITimingCache | None = None
        self._preview: dict[str, bool] = {}
        self.plugins_to_serialize = []

    num_optimization_profiles = property(lambda self: len(self._profiles))

    def set_flag(self, flag: Any) -> None:
        self._flags.add(_member(flag, "BuilderFlag"))

    def clear_flag(self, flag: Any) -> None:
        self._flags.discard(_member(flag, "BuilderFlag"))

    def get_flag(self, flag: Any) -> bool:
        return _member(flag, "BuilderFlag") in self._flags

    def set_preview_feature(self, feature: Any, enable: bool) -> None:
        self._preview[_member(feature, "PreviewFeature")] = enable

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        """NvInfer.h: "If the size of the pool is larger than the maximum possible value ..., does nothing"."""
        if pool_size > world().cuda.device.memory_bytes:
            world().say(
                self._logger, "ERROR", "setMemoryPoolLimit: Error Code 10: pool size exceeds the device's"
            )
            return
        self._pools[_member(pool, "MemoryPoolType")] = int(pool_size)

    def get_memory_pool_limit(self, pool: Any) -> int:
        """The default of the workspace is the device's whole memory (NvInfer.h, MemoryPoolType::kWORKSPACE)."""
        return self._pools.get(_member(pool, "MemoryPoolType"), world().cuda.device.memory_bytes)

    def add_optimization_profile(self, profile: Any) -> int:
        """NvInfer.h: "The index of the optimization profile ..., or -1 if the input is not valid"."""
        if not profile:
            return -1
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: Any) -> Any:
        """Empty bytes make a new cache (NvInfer.h); others must be one, else null with words to the logger."""
        here, data = world(), bytes(memoryview(serialized_timing_cache))
        if data and not data.startswith(CACHE_MAGIC):
            here.say(
                self._logger, "ERROR", "createTimingCache: Error Code 1: Serialization (magicTag mismatch)"
            )
            return None
        return ITimingCache(data or CACHE_MAGIC + _device_key())

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        """NvInfer.h: "A failure will be reported if the CUDA device property in the provided cache is different"."""
        if not cache._data.startswith(CACHE_MAGIC + _device_key()) and not ignore_mismatch:
            world().say(self._logger, "WARNING", "the timing cache was made on another device")
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> Any:
        return self._cache


def _device_key() -> bytes:
    device = world().cuda.device
    return f"[{device.name} {device.major}.{device.minor} {world().version}]".encode()


def _member(value: Any, name: str) -> str:
    """Return a member's name; pybind11 takes no integer and no member of another enum."""
    if not isinstance(value, world().enum(name)):
        raise TypeError(f"incompatible function arguments: {value!r} is no {name}")
    return str(value.name)


class ParserError(Bound):
    """Why the parser gave up."""

    def __init__(self, desc: str, code: str, node: int = -1, name: str = "", operator: str = "") -> None:
        super().__init__()
        self._desc, self._code, self._node, self._name, self._operator = desc, code, node, name, operator

    def desc(self) -> str:
        return self._desc

    def code(self) -> Any:
        return world().enum("ErrorCode")[self._code]

    def node(self) -> int:
        return self._node

    def node_name(self) -> str:
        return self._name

    def node_operator(self) -> str:
        return self._operator

    def file(self) -> str:
        return "onnxOpImporters.cpp"

    def line(self) -> int:
        return 6000

    def func(self) -> str:
        return "importFallbackPluginImporter"


class OnnxParser(Bound):
    """Reads ONNX into a network. ``False``, never an exception; the reasons by ``get_error``."""

    def __init__(self, network: Any, logger: Any) -> None:
        super().__init__()
        self._network, self._logger = network, logger
        self._errors: list[ParserError] = []
        self._parser_flags: set[str] = {"NATIVE_INSTANCENORM"}  # NvOnnxParser.h: on by default since 10.0

    num_errors = property(lambda self: len(self._errors))

    def get_error(self, index: int) -> Any:
        return self._errors[index] if index < len(self._errors) else None

    def clear_errors(self) -> None:
        self._errors.clear()

    def set_flag(self, flag: Any) -> None:
        self._parser_flags.add(_member(flag, "OnnxParserFlag"))

    def clear_flag(self, flag: Any) -> None:
        self._parser_flags.discard(_member(flag, "OnnxParserFlag"))

    def get_flag(self, flag: Any) -> bool:
        return _member(flag, "OnnxParserFlag") in self._parser_flags

    def parse_from_file(self, model: str) -> bool:
        if not isinstance(model, str):
            raise TypeError("parse_from_file(): incompatible function arguments")
        path = Path(model)
        if not path.is_file():
            return self._refuse("Failed to open file", "MODEL_DESERIALIZE_FAILED")
        return self.parse(path.read_bytes(), model)

    def parse(self, model: Any, path: Any = None) -> bool:
        """Take inputs, outputs and custom nodes; each custom node needs a creator, or a function body.

        10.3 takes a body before a plugin; a plugin's node needs a creator of its name, version and namespace
        (onnx/onnx-tensorrt, release/10.3-GA, ModelImporter.cpp and onnxOpImporters.cpp, FallbackPluginImporter).
        """
        if path is not None and not isinstance(path, str):
            raise TypeError("parse(): incompatible function arguments")
        import onnx

        try:
            held = onnx.load_model_from_string(bytes(memoryview(model)))
        except Exception:
            return self._refuse("Failed to parse ONNX model from stream", "MODEL_DESERIALIZE_FAILED")
        if not held.graph.output:
            return self._refuse("ONNX model has no graph", "MODEL_DESERIALIZE_FAILED")
        bodies = {(f.domain, f.name) for f in held.functions}
        network = self._network
        for index, node in enumerate(held.graph.node):
            network._layers += 1
            if node.domain in ("", "ai.onnx") or (node.domain, node.op_type) in bodies:
                continue
            given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            version, space = (given.get(k, b"").decode() for k in ("plugin_version", "plugin_namespace"))
            if get_plugin_registry().get_creator(node.op_type, version or "1", space) is None:
                return self._refuse(
                    'creator && "Plugin not found, are the plugin name, version, and namespace correct?"',
                    "UNSUPPORTED_NODE",
                    index,
                    node.name,
                    node.op_type,
                )
            if node.op_type not in network._plugins:
                network._plugins.append(node.op_type)
        for values, into in ((held.graph.input, network._inputs), (held.graph.output, network._outputs)):
            for value in values:
                kind = value.type.tensor_type
                dims = [d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim]
                into.append(ITensor(value.name, ELEMENT_TYPES.get(kind.elem_type, "FLOAT"), dims))
        return True

    def _refuse(self, desc: str, code: str, node: int = -1, name: str = "", operator: str = "") -> bool:
        self._errors.append(ParserError(desc, code, node, name, operator))
        world().say(
            self._logger, "ERROR", f"In node {node} with name: {name} and operator: {operator}: {desc}"
        )
        return False


class Builder(Bound):
    """Keeps its logger (pyCore.cpp: ``py::keep_alive<1, 2>``)."""

    max_threads = 1

    def __init__(self, logger: Any) -> None:
        super().__init__()
        world().adopt(logger, "createInferBuilder")
        self._logger = logger

    logger = property(lambda self: self._logger)

    def get_plugin_registry(self) -> Any:
        return get_plugin_registry()

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        if not isinstance(flags, int):
            raise TypeError("create_network(): incompatible function arguments")
        return INetworkDefinition(flags)

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig(self._logger)

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: Any, config: Any) -> Any:
        """Return the plan or ``None``; the reason goes to the logger."""
        found: list[Any] = []
        # The monitor is called from threads that the application did not start (NvInfer.h, IProgressMonitor).
        thread = threading.Thread(target=lambda: found.append(self._build(network, config)))
        thread.start()
        thread.join()
        return found[0]

    def _build(self, network: Any, config: Any) -> Any:
        here = world()
        here.builds += 1
        if here.take_fault("build_serialized_network"):
            here.say(
                self._logger,
                "ERROR",
                "Error Code 10: Internal Error (Could not find any implementation for node)",
            )
            return None
        if why := _problem(network, config):
            here.say(
                self._logger,
                "ERROR",
                f"IBuilder::buildSerializedNetwork: Error Code 4: API Usage Error ({why})",
            )
            return None
        if not _report(config.progress_monitor):
            here.say(self._logger, "ERROR", "the build was cancelled by the progress monitor")
            return None
        if config._cache is not None:
            config._cache._data += f"timing {len(config._cache._data)};".encode()
        device, version = here.cuda.device, here.version
        head = {
            "version": version,
            "device": [device.name, device.major, device.minor],
            "tensors": [
                {"name": t.name, "mode": mode, "dtype": t._dtype, "shape": t._shape}
                for mode, tensors in (("INPUT", network._inputs), ("OUTPUT", network._outputs))
                for t in tensors
            ],
            "profiles": [profile._shapes for profile in config._profiles] or [{}],
            "plugins": network._plugins,
        }
        return IHostMemory(plan_bytes(head))


def _problem(network: Any, config: Any) -> str | None:
    """Return why a network cannot be built."""
    if not network._outputs:
        return "Network must have at least one output"
    strong = network.get_flag(world().enum("NetworkDefinitionCreationFlag").STRONGLY_TYPED)
    wrong = [name for name in PRECISION_FLAGS if name in config._flags]
    if strong and wrong:
        # The guide, "Strong Typing vs Weak Typing": precision flags are not allowed with strong typing.
        return f"{', '.join(wrong)} flags must not be set for a strongly typed network"
    dynamic = [t for t in network._inputs if -1 in t._shape]
    if dynamic and not config._profiles:
        return "Network has dynamic or shape inputs, but no optimization profile has been defined."
    for tensor in dynamic:
        for shapes in (profile._shapes.get(tensor.name) for profile in config._profiles):
            if shapes is None:
                return f"input {tensor.name} has dynamic dimensions but its shape is not set in the profile"
            fits = all(len(s) == len(tensor._shape) for s in shapes) and all(
                n in (-1, m) for s in shapes for n, m in zip(tensor._shape, s)
            )
            if not fits:
                return f"static dimension of input {tensor.name} is inconsistent with the profile's"
    limit = config._pools.get("WORKSPACE", world().cuda.device.memory_bytes)
    return "insufficient workspace" if limit < np.int64(1 << 20) else None


def _report(monitor: Any) -> bool:
    """Go through the phases of a build; false where the monitor stops it (NvInfer.h, IProgressMonitor).

    A phase starts inside its parent, steps count up from 0, every started phase is finished, a cancelled one
    too. What a callback raises is printed and lost; raising in ``step_complete`` cancels (pyCore.cpp).
    """
    if monitor is None:
        return True

    def safely(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:
            print(f"[ERROR] Exception caught in a progress monitor: {error}")
            return False

    def phase(name: str, parent: str | None, steps: int, inside: Callable[[int], bool]) -> bool:
        safely(lambda: monitor.phase_start(name, parent, steps))
        going = True
        for step in range(steps):
            going = inside(step) and bool(safely(lambda step=step: monitor.step_complete(name, step)))
            if not going:
                break
        safely(lambda: monitor.phase_finish(name))
        return going

    def tactics(step: int) -> bool:
        return step != 1 or phase("Tactic selection", "Building Engine", 4, lambda _: True)

    return phase("Building Engine", None, 3, tactics)
