"""The builder half of the fake: profile, timing cache, progress monitor, config, builder.

Sources, NVIDIA/TensorRT at tags release/10.3 and release/11.1: pyCore.cpp is python/src/infer/pyCore.cpp,
NvInfer.h is in include/; the guide is NVIDIA's "TensorRT Developer Guide". A "build" writes a plan that only
the fake runtime reads (trt_run.py).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from tests.fakes.trt_onnx import INetworkDefinition
from tests.fakes.trt_plugins import get_plugin_registry
from tests.fakes.trt_run import plan_bytes
from tests.fakes.world import Bound, Dims, IHostMemory, member, world

CACHE_MAGIC = b"FAKECACHE"
PRECISION_FLAGS = ("FP16", "BF16", "INT8", "FP8", "INT4")


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
        return all(
            a <= b <= c
            for low, mid, high in self._shapes.values()
            for a, b, c in zip(low, mid, high, strict=True)
        )


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
        self._flags.add(member(flag, "BuilderFlag"))

    def clear_flag(self, flag: Any) -> None:
        self._flags.discard(member(flag, "BuilderFlag"))

    def get_flag(self, flag: Any) -> bool:
        return member(flag, "BuilderFlag") in self._flags

    def set_preview_feature(self, feature: Any, enable: bool) -> None:
        self._preview[member(feature, "PreviewFeature")] = enable

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        """A limit above what the device has does nothing (NvInfer.h: "larger than the maximum possible")."""
        if pool_size > world().cuda.device.memory_bytes:
            world().say(
                self._logger, "ERROR", "setMemoryPoolLimit: Error Code 10: pool size exceeds the device's"
            )
            return
        self._pools[member(pool, "MemoryPoolType")] = int(pool_size)

    def get_memory_pool_limit(self, pool: Any) -> int:
        """The default of the workspace is the device's whole memory (NvInfer.h, kWORKSPACE)."""
        return self._pools.get(member(pool, "MemoryPoolType"), world().cuda.device.memory_bytes)

    def add_optimization_profile(self, profile: Any) -> int:
        """NvInfer.h: "The index of the optimization profile ..., or -1 if the input is not valid"."""
        if not profile:
            return -1
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: Any) -> Any:
        """Empty bytes make a new cache (NvInfer.h); others must be one, else null and words to the logger."""
        here, data = world(), bytes(memoryview(serialized_timing_cache))
        if data and not data.startswith(CACHE_MAGIC):
            here.say(
                self._logger, "ERROR", "createTimingCache: Error Code 1: Serialization (magicTag mismatch)"
            )
            return None
        return ITimingCache(data or CACHE_MAGIC + _device_key())

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        """False if the cache was made on another device (NvInfer.h: "A failure will be reported if")."""
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
        if not any(-1 in t._shape for t in network._inputs):
            for tensor in network._outputs:
                tensor._shape = [network._inputs[0]._shape[0] if n == -1 else n for n in tensor._shape]
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
                n in (-1, m) for s in shapes for n, m in zip(tensor._shape, s, strict=True)
            )
            if not fits:
                return f"static dimension of input {tensor.name} is inconsistent with the profile's"
    limit = config._pools.get("WORKSPACE", world().cuda.device.memory_bytes)
    return "insufficient workspace" if limit < 1 << 20 else None


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
