"""Writes names-VERSION.json: the names and parameters of NVIDIA's real Python bindings.

    pip download --no-deps tensorrt-cu12-bindings==10.3.0 (or tensorrt-cu13-bindings==11.4.0.106)
    unzip it into DIR, then, with the Python version of the wheel:
    python tests/fakes/snapshot.py DIR > tests/fakes/names-10.3.json

The wheel holds the bindings alone. Libraries that define the ten C functions it wants, and do nothing, are
enough to import it and to look at its classes; nothing of TensorRT can be called then.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

KEPT = """Builder BuilderFlag DataType Dims EngineCapability ErrorCode ExecutionContextAllocationStrategy
HardwareCompatibilityLevel IBuilderConfig ICudaEngine IExecutionContext IHostMemory ILayer ILogger
ILogger.Severity INetworkDefinition IOptimizationProfile IPluginCreatorV3One IPluginRegistry IProgressMonitor
ITensor ITimingCache Logger MemoryPoolType NetworkDefinitionCreationFlag OnnxParser OnnxParserFlag ParserError
PluginField PluginFieldCollection PluginFieldType PreviewFeature ProfilingVerbosity Runtime TensorIOMode
TensorLocation TensorRTPhase"""
"""Classes whose members are kept; of the others the names alone."""


def stub_libraries(binding: Path, folder: Path) -> None:
    """Make the libraries that the binding needs, each defining every function that it wants."""
    dynamic = subprocess.run(["readelf", "-d", binding], capture_output=True, text=True, check=True).stdout
    symbols = subprocess.run(["nm", "-D", "-u", binding], capture_output=True, text=True, check=True).stdout
    wanted = re.findall(r"^\s+U (\w*(?:INTERNAL|PluginRegistry|ParserVersion|InferPlugins))$", symbols, re.M)
    source = folder / "stub.c"
    source.write_text("".join(f"void* {name}(void) {{ return 0; }}\n" for name in sorted(set(wanted))))
    for name in re.findall(r"\[(libnv\S+)\]", dynamic):
        command = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{name}", str(source), "-o", str(folder / name)]
        subprocess.run(command, check=True)


def parameters(function: Any) -> list[list[str]]:
    """Return the parameter names of each overload, as pybind11's docstring has them, without self."""
    found = []
    for line in (function.__doc__ or "").splitlines():
        match = re.match(rf"\s*(?:\d+\. )?{function.__name__}\((.*)\)(?: -> .*)?$", line)
        if match:
            names = re.findall(r"(?:^|, )(\w+)(?=: )", match[1])
            found.append([name for name in names if name != "self"])
    return found


def describe(cls: type) -> dict[str, Any]:
    """Return an enum's members, or a class's methods and properties."""
    if hasattr(cls, "__members__"):
        return {"members": {name: int(value) for name, value in cls.__members__.items()}}
    methods, properties = {}, []
    for name in dir(cls):
        value = inspect.getattr_static(cls, name)
        if name.startswith("_") and name != "__init__":
            continue
        if isinstance(value, property) or not (callable(value) or isinstance(value, staticmethod)):
            properties.append(name)
        elif not isinstance(value, type):
            methods[name] = parameters(getattr(cls, name))
    return {"methods": methods, "properties": properties}


def snapshot() -> dict[str, Any]:
    """Return what is kept of the bindings that can be imported here."""
    import tensorrt_bindings as trt

    names = [name for name in dir(trt) if not name.startswith("_")]
    classes = {}
    for name in KEPT.split():
        held: Any = trt
        for part in name.split("."):
            held = getattr(held, part, None)
        if held is not None:
            classes[name] = describe(held)
    return {"made": "see snapshot.py", "version": trt.__version__, "names": names, "classes": classes}


if __name__ == "__main__":
    if "STUBBED" not in os.environ:
        unpacked = Path(sys.argv[1])
        with tempfile.TemporaryDirectory() as folder:
            stub_libraries(next(unpacked.glob("*/tensorrt.so")), Path(folder))
            paths = {"LD_LIBRARY_PATH": folder, "PYTHONPATH": str(unpacked), "STUBBED": "1"}
            sys.exit(subprocess.run([sys.executable, __file__], env={**os.environ, **paths}).returncode)
    print(json.dumps(snapshot(), sort_keys=True))
