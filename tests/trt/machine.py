"""A machine with the fakes, a plugin library and plans on it, for tests of what runs and builds engines."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from mimamba_edge.artifact import manifest_path, sha256_file, write_manifest
from mimamba_edge.contract import OPS, Contract
from mimamba_edge.trt.api import load_tensorrt
from mimamba_edge.trt.batch import Batch
from mimamba_edge.trt.build_environment import read_build_environment
from mimamba_edge.trt.cuda import load_cuda
from mimamba_edge.trt.plan import KIND, PlanManifest, engine_facts
from tests.fakes.tensorrt import Device, install, library_bytes, plan_bytes, plan_head
from tests.fakes.world import World
from tests.modelfiles import SOURCE, answers, tiny_contract

ORIN = Device()
H200 = Device("NVIDIA H200", 9, 0, 132, integrated=False, memory_bytes=139 << 30)


def tiny_answers(windows: np.ndarray) -> np.ndarray:
    """What the model of all plans here says."""
    return answers(tiny_contract(), windows)


def write_plugin(path: Path, data: bytes | None = None, **changes: Any) -> Path:
    """Write a plugin library that the fake registry loads, and its manifest."""
    path.write_bytes(library_bytes() if data is None else data)
    info = {
        "format": 1,
        "file": path.name,
        "sha256": sha256_file(path),
        "autoreg_sha256": None,
        "mimamba_edge": "0.1.0",
        "ops": OPS,
        "tensorrt_headers": "10.3.0",
        "cuda": "12.6",
        "architectures": [87, 90],
        "host_kernels": False,
        "compiler": "c++",
        **changes,
    }
    manifest_path(path).write_text(json.dumps(info))
    return path


def make_machine(
    monkeypatch: Any, folder: Path, flavour: str = "10.3", device: Device = ORIN, **more: Any
) -> World:
    """Install the fakes and a plugin library."""
    world = install(monkeypatch, flavour, device=device, **{"run": tiny_answers, **more})
    monkeypatch.setenv("MIMAMBA_PLUGIN", str(write_plugin(folder / "libmimamba_plugin.so")))
    monkeypatch.setenv("MIMAMBA_CACHE", str(folder / "cache"))
    return world


def write_plan(
    folder: Path,
    world: World,
    batch: str = "1",
    *,
    head: dict[str, Any] | None = None,
    engine: dict[str, Any] | None = None,
    contract: Contract | None = None,
    data: bytes | None = None,
    name: str = "tiny.plan",
) -> Path:
    """Write a plan as this machine would build it, and its manifest.

    Args:
        folder: Where.
        world: The machine.
        batch: Batch sizes as on the command line.
        head: What the plan itself says otherwise.
        engine: What the manifest says otherwise of the engine.
        contract: The model's.
        data: Bytes in place of the plan's.
        name: Of the file.
    """
    path, sizes = folder / name, Batch.parse(batch)
    contract = contract or tiny_contract()
    inside = plan_head(
        world.version,
        world.cuda.device,
        batch=(sizes.least, sizes.best, sizes.most),
        window=(contract.n_chans, contract.n_times),
        n_outputs=contract.n_outputs,
    )
    path.write_bytes(plan_bytes({**inside, **(head or {})}) if data is None else data)
    environment = engine_facts(
        read_build_environment(load_tensorrt(), load_cuda()),
        onnx=Path("tiny.trt.onnx"),
        onnx_sha256=hashlib.sha256(b"onnx").hexdigest(),
        plugin_sha256=sha256_file(folder / "libmimamba_plugin.so"),
        batch=sizes,
    )
    manifest = PlanManifest(
        file=path.name,
        kind=KIND,
        precision="fp32",
        sha256=sha256_file(path),
        source_sha256=SOURCE,
        contract=contract,
        source={"commit": None, "dirty": None},
        engine={**environment, **(engine or {})},
    )
    write_manifest(path, manifest)
    return path
