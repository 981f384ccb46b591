"""Puts the fakes into ``sys.modules``: ``tensorrt`` of one flavour, and ``cuda.bindings.runtime``.

    fakes = install(monkeypatch, flavour="10.3", run=lambda windows: logits)
    ...
    fakes.cuda.assert_clean()

Child processes of a test get the same by ``install(..., run="package.module:function", children=True)``.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import json
import os
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tests.fakes import trt_build, trt_onnx, trt_plugins, trt_run, world
from tests.fakes.cudart import Device, FakeCuda, make_module
from tests.fakes.names import make_enum, snapshot
from tests.fakes.trt_plugins import Creator, library_bytes
from tests.fakes.trt_run import plan_bytes, plan_head
from tests.fakes.world import World

__all__ = ["FLAVOURS", "VERSIONS", "Device", "install", "library_bytes", "plan_bytes", "plan_head"]

FLAVOURS = ("10.3", "11")
VERSIONS = {"10.3": "10.3.0", "11": "11.4.0.106"}
ENUMS = """BuilderFlag DataType EngineCapability ErrorCode HardwareCompatibilityLevel MemoryPoolType
NetworkDefinitionCreationFlag OnnxParserFlag PreviewFeature ProfilingVerbosity TensorIOMode TensorLocation
ExecutionContextAllocationStrategy PluginFieldType TensorRTPhase"""
CLASSES = (
    world.ILogger,
    world.Logger,
    world.Dims,
    world.IHostMemory,
    trt_plugins.IPluginRegistry,
    trt_plugins.PluginField,
    trt_run.Runtime,
    trt_run.ICudaEngine,
    trt_run.IExecutionContext,
    trt_onnx.ITensor,
    trt_onnx.INetworkDefinition,
    trt_build.IOptimizationProfile,
    trt_build.ITimingCache,
    trt_build.IProgressMonitor,
    trt_build.IBuilderConfig,
    trt_onnx.ParserError,
    trt_onnx.OnnxParser,
    trt_build.Builder,
)
FUNCTIONS = (trt_plugins.get_plugin_registry, trt_plugins.init_libnvinfer_plugins)
Run = Callable[[np.ndarray], np.ndarray]


def make_tensorrt(flavour: str) -> types.ModuleType:
    """Return the module ``tensorrt``. It holds classes of the package's bindings as attributes."""
    module = types.ModuleType("tensorrt")
    module.__version__ = VERSIONS[flavour]
    for name in ENUMS.split():
        if name in snapshot(flavour)["classes"]:
            setattr(module, name, make_enum(flavour, name))
    for held in (*CLASSES, *FUNCTIONS):
        setattr(module, held.__name__, held)
    module.IPluginCreatorV3One = Creator
    severity = make_enum(flavour, "ILogger.Severity")
    for logger in (world.ILogger, world.Logger):
        logger.Severity = severity
        for name, value in severity.__members__.items():
            setattr(logger, name, value)
    return module


def resolve(run: Run | str | None) -> world.Model | None:
    """Return the engine's function of a function ``windows -> logits``, or of ``"module:function"``.

    A function of a model with other outputs returns them by name.
    """
    if run is None:
        return None
    if isinstance(run, str):
        module, name = run.split(":")
        function: Run = getattr(importlib.import_module(module), name)
    else:
        function = run

    def model(inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        found = function(next(iter(inputs.values())))
        return found if isinstance(found, Mapping) else {"logits": found}

    return model


def modules(machine: World) -> dict[str, types.ModuleType]:
    """Return what goes into ``sys.modules``."""
    runtime = make_module(machine.cuda)
    bindings = types.ModuleType("cuda.bindings")
    bindings.__path__ = []
    bindings.runtime = runtime
    package = types.ModuleType("cuda")
    package.__path__ = []
    package.bindings = bindings
    made = (make_tensorrt(machine.flavour), package, bindings, runtime)
    for module in made:
        module.__spec__ = importlib.machinery.ModuleSpec(module.__name__, None)
    return {module.__name__: module for module in made}


def install(
    monkeypatch: Any,
    flavour: str = "10.3",
    *,
    run: Run | str | None = None,
    device: Device | None = None,
    children: bool = False,
) -> World:
    """Put the fakes in place of the real packages until the test ends.

    Args:
        monkeypatch: The test's.
        flavour: One of :data:`FLAVOURS`.
        run: What every engine computes: ``windows (b, c, l) -> logits (b, o)``; as text for children.
        device: The machine's device; an Orin with integrated memory if none.
        children: Child processes that run Python see the same fakes, each its own machine.

    Returns:
        The machine: ``.cuda`` (allocations, counts, faults), ``.messages``, ``.faults``, ``.builds``.
    """
    made = World(flavour, VERSIONS[flavour], FakeCuda(device), resolve(run))
    monkeypatch.setattr(world, "WORLD", [made])
    for name, module in modules(made).items():
        monkeypatch.setitem(sys.modules, name, module)
    if children:
        here = Path(__file__).resolve()
        told = {"flavour": flavour, "run": run, "device": asdict(made.cuda.device)}
        monkeypatch.setenv("FAKE_TENSORRT", json.dumps(told))
        paths = [str(here.parent / "site"), str(here.parents[2]), os.environ.get("PYTHONPATH", "")]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))
    return made


def install_from_environment() -> None:
    """What ``site/sitecustomize.py`` calls in a child process."""
    told = json.loads(os.environ["FAKE_TENSORRT"])
    device = Device(**told["device"])
    made = World(told["flavour"], VERSIONS[told["flavour"]], FakeCuda(device), resolve(told["run"]))
    world.WORLD.append(made)
    sys.modules.update(modules(made))
