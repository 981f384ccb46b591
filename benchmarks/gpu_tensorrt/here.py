"""TensorRT 10.3 or newer as installed: the way of a user, then trtexec on the same plan."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

from benchmarks.gpu_tensorrt.tools import SUFFIX, run
from mimamba_edge.artifact import sha256_file
from mimamba_edge.bench.run import Entry, Expected, run_bench
from mimamba_edge.errors import EngineError
from mimamba_edge.parity.windows import find_windows
from mimamba_edge.runtime.reference import Reference, reference_path
from mimamba_edge.trt.library import autoreg_path, find_plugin
from mimamba_edge.trt.runner import TensorRtRunner

_TRTEXEC = Path("/usr/src/tensorrt/bin/trtexec")  # where JetPack and Debian's libnvinfer-bin put it
_LINE = re.compile(r"\] (Latency|GPU Compute Time|Enqueue Time): (.*)")
_VALUE = re.compile(r"(median|percentile\(99%\)) = ([0-9.]+) ms")


def build(model: Path, work: Path) -> Path:
    """Build plugin and plan with the command line; return the plan.

    Raises:
        EngineError: One of them failed; its words are in the message.
    """
    mimamba = [sys.executable, "-m", "mimamba_edge"]
    run([*mimamba, "plugin", "build"], "mimamba-edge plugin build")
    plan = work / model.name.replace(SUFFIX, ".plan")
    run([*mimamba, "build", model, "-o", plan], f"mimamba-edge build {model.name}")
    return plan


def entries(model: Path, plan: Path) -> list[Entry]:
    """Return what is timed side by side: the plan with a CUDA graph and without."""
    reference = Reference.load(reference_path(model))

    def expected() -> Expected:
        return Expected(reference.windows, reference.outputs, reference_path(model).name, "fp32")

    runners = [TensorRtRunner(plan, graph=graph) for graph in (True, False)]
    return [Entry(runner, expected, runner.kind, plan.name) for runner in runners]


def measure(models: list[Path], work: Path) -> dict[str, Any]:
    """Build and time all artefacts in one run; return the benchmark's record with what trtexec says.

    An artefact that TensorRT refuses gets a line under ``refused``.

    Raises:
        EngineError: All were refused.
    """
    every, refused, traced = [], {}, {}
    for model in models:
        try:
            plan = build(model, work)
            every += entries(model, plan)
            traced[plan.name] = trtexec(plan)
        except EngineError as error:
            refused[model.name] = str(error)
    if not every:
        raise EngineError("no engine could be built", got="\n".join(refused.values()))
    windows = find_windows(Reference.load(reference_path(models[0])).contract, artifact=models[0])
    record = run_bench(every, windows)
    hashes = {model.name: sha256_file(model) for model in models}
    return {**record, "refused": refused, "trtexec": traced, "sha256": hashes}


def trtexec(plan: Path) -> dict[str, Any] | None:
    """Return what trtexec measures in milliseconds, with a CUDA graph; ``None`` where it is not found."""
    found = shutil.which("trtexec") or (str(_TRTEXEC) if _TRTEXEC.is_file() else None)
    if found is None:
        return None
    plugin = autoreg_path(find_plugin().path)
    options = ["--useCudaGraph", "--warmUp=500", "--duration=3", "--iterations=1000"]
    said = run([found, f"--loadEngine={plan}", f"--staticPlugins={plugin}", *options], "trtexec")
    return parse(said)


def parse(said: str) -> dict[str, dict[str, float]]:
    """Read trtexec's summary (printEpilog in samples/common/sampleReporting.cpp of NVIDIA/TensorRT)."""
    names = {"median": "p50", "percentile(99%)": "p99"}
    return {
        kind.lower().replace(" ", "_") + "_ms": {names[n]: float(v) for n, v in _VALUE.findall(line)}
        for kind, line in _LINE.findall(said)
    }
