r"""TensorRT 8.6 from its wheel: the one full TensorRT on the Python package index, where there is no other.

No supported target runs 8.6. What it proves is the file, the parser, the kernels and all of the plugin but
its adapter: a real builder parses NAME.trt.onnx, asks the plugin for shapes, types and formats, and runs it.

``TENSORRT86_ROOT`` is a folder with three libraries of the wheel ``tensorrt==8.6.0`` (cp310, Linux, x86-64;
819 MB, only unpacked, so no Python 3.10 is needed) and the headers of exactly that version: 8.6.1 moved
functions within the interfaces, and calls by its headers end in the wrong ones::

    pip download tensorrt==8.6.0 --no-deps --python-version 310 --only-binary :all: \
        --platform manylinux_2_17_x86_64
    unzip -j tensorrt-8.6.0-*.whl tensorrt/libnvinfer.so.8 tensorrt/libnvonnxparser.so.8 \
        tensorrt/libnvinfer_builder_resource.so.8.6.0 -d DIR
    DIR/include/                of NVIDIA/TensorRT, tag v8.6.0
    DIR/include/NvOnnxParser.h  of onnx/onnx-tensorrt, tag release/8.6-EA

Where a copy is limited in size, split the wheel, which is smaller than what is in it (the builder resource
has 1 GB): ``split -b 60M -d -a 2 WHEEL part-`` gives 14 parts; there ``cat part-* > WHEEL`` and unzip, after
``sha256sum WHEEL`` has said the same here and there.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu_tensorrt.tools import run
from mimamba_edge.artifact import Manifest
from mimamba_edge.contract import LOGITS
from mimamba_edge.errors import DependencyError
from mimamba_edge.parity.compare import compare_outputs
from mimamba_edge.parity.gates import gate_for
from mimamba_edge.runtime.reference import Reference, reference_path

SOURCES = Path(__file__).with_name("tensorrt86")
NEEDED = (
    "libnvinfer.so.8",
    "libnvonnxparser.so.8",
    "libnvinfer_builder_resource.so.8.6.0",
    "include/NvInfer.h",
    "include/NvOnnxParser.h",
)


def root() -> Path:
    """Return the folder that TENSORRT86_ROOT names.

    Raises:
        DependencyError: It is not set, or lacks a file.
    """
    named = os.environ.get("TENSORRT86_ROOT")
    missing = [name for name in NEEDED if not (Path(named or "/nowhere") / name).exists()]
    if missing:
        raise DependencyError(
            "there is no TensorRT here: neither the Python package (10.3 or newer) nor the wheel of 8.6",
            got=f"TENSORRT86_ROOT={named or ''}, without {', '.join(missing)}",
            do="on a Jetson use a venv with --system-site-packages; elsewhere unpack the wheel of 8.6 as "
            "benchmarks/gpu_tensorrt/wheel86.py says and set TENSORRT86_ROOT",
        )
    return Path(str(named)).resolve()


def compile_all(tensorrt: Path, work: Path, sm: int) -> tuple[Path, Path]:
    """Build the program and the plugin library (IPluginV2) for one architecture; return their paths.

    Raises:
        EngineError: CMake or a compiler failed; its words are in the message.
    """
    build = work / "build"
    settings = {"TENSORRT86_ROOT": tensorrt, "CMAKE_CUDA_ARCHITECTURES": sm, "CMAKE_BUILD_TYPE": "Release"}
    run(["cmake", "-S", SOURCES, "-B", build, *(f"-D{k}={v}" for k, v in settings.items())], "cmake")
    command: list[str | Path] = ["cmake", "--build", build, "--parallel", str(len(os.sched_getaffinity(0)))]
    command += ["--target", "mimamba_trt86", "mimamba_plugin_v2"]
    run(command, "compiling mimamba_trt86 and its plugin")
    return build / "mimamba_trt86", build / "libmimamba_plugin_v2.so"


def measure(program: Path, plugin: Path, model: Path, work: Path) -> dict[str, Any]:
    """Build, run, compare and time one artefact; return its row.

    Raises:
        ArtifactError: The file or its reference windows are missing or damaged.
        EngineError: TensorRT refused; its words are in the message.
    """
    manifest, reference = Manifest.load(model), Reference.load(reference_path(model))
    windows, logits = work / "windows.f32", work / "logits.f32"
    reference.windows.astype("<f4").tofile(windows)
    reference.logits.astype("<f4").tofile(logits)
    said = run([program, plugin, model, manifest.precision, windows, logits], f"TensorRT 8.6 on {model.name}")
    return row(json.loads(said.splitlines()[-1]), manifest, reference)


def row(said: dict[str, Any], manifest: Manifest, reference: Reference) -> dict[str, Any]:
    """Judge what the program printed."""
    outputs = {way: _logits(said[way].pop("logits"), reference) for way in ("no_graph", "graph")}
    gate = gate_for(manifest.precision)
    verification = {
        way: compare_outputs(
            reference.outputs, {LOGITS: values}, reference.windows, reference.contract, gate
        ).to_dict()
        for way, values in outputs.items()
    }
    return {
        "artifact": manifest.file,
        "sha256": manifest.sha256,
        "verified": all(report["passed"] for report in verification.values()),
        "verification": verification,
        "graph_identical": bool(np.array_equal(outputs["no_graph"], outputs["graph"])),
        **said,
    }


def _logits(values: list[float | None], reference: Reference) -> NDArray[np.float32]:
    held = np.array([np.nan if value is None else value for value in values], dtype=np.float32)
    return held.reshape(reference.logits.shape)
