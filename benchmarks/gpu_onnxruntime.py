"""ONNX Runtime's CUDA provider with our ops and by function bodies, beside the TensorRT engine.

    python -m benchmarks gpu-onnxruntime [NAME.onnx]

Takes NAME.onnx and the NAME.fp16.onnx beside it; without a name the built-in model. Needs onnxruntime-gpu and
nvcc; where TensorRT is installed its engine of the same file is timed in the same run. Builds the ops for the
GPU of this machine, verifies every row against NAME.ref.npz by the gates of ``mimamba-edge parity``, times
it, reads from ONNX Runtime's own profile which provider ran the custom ops, and tries a CUDA graph.

Exit 0: all is verified, and the ops ran on CUDA; 1: something is not; 2: nothing could run here.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.record import renamed, write_record
from mimamba_edge.artifact import sha256_file
from mimamba_edge.bench.entries import Variant, entries_of
from mimamba_edge.bench.run import run_bench, unverified
from mimamba_edge.bench.table import columns_of, notes, to_rows
from mimamba_edge.console import show_note, show_table
from mimamba_edge.contract import LOGITS, OPS, WINDOWS
from mimamba_edge.errors import ArtifactError, DependencyError, MimambaError
from mimamba_edge.load import builtin_copy
from mimamba_edge.parity.windows import find_windows
from mimamba_edge.plugins.build import architectures, build_plugin
from mimamba_edge.plugins.build_onnxruntime import build_native_ops
from mimamba_edge.runtime.native_ops import NativeOps, register
from mimamba_edge.runtime.ort import PROVIDERS, load_onnxruntime
from mimamba_edge.runtime.reference import Reference

_BATCHES = (1, 8)
_GRAPH_RUNS = 200


def models_of(named: Path | None) -> list[Path]:
    """Return the files to measure: the one named and its fp16 sibling, or the built-in model.

    Raises:
        ArtifactError: The file is not there or is not a portable one.
    """
    if named is None:
        return [builtin_copy()]
    if not named.is_file() or not named.name.endswith(".onnx") or named.name.endswith(".trt.onnx"):
        raise ArtifactError(f"{named} is no portable file", expected="NAME.onnx", do="mimamba-edge export")
    half = named.with_name(f"{named.name.removesuffix('.onnx')}.fp16.onnx")
    return [named, *([half] if half.is_file() else [])]


def _session(model: Path, ops: NativeOps, options: Any, **cuda: str) -> Any:
    register(options, ops)
    options.log_severity_level = 4
    return load_onnxruntime().InferenceSession(
        str(model), options, providers=[(PROVIDERS["cuda"], cuda), PROVIDERS["cpu"]]
    )


def placed(events: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return which providers ran each custom op, from the events of ONNX Runtime's profile."""
    found: dict[str, set[str]] = {op: set() for op in OPS}
    for event in events:
        about = event.get("args", {})
        if event.get("cat") == "Node" and about.get("op_name") in found:
            found[about["op_name"]].add(about.get("provider", "unknown"))
    return {op: sorted(providers) for op, providers in found.items()}


def profile(model: Path, ops: NativeOps, windows: Any, folder: Path) -> dict[str, list[str]]:
    """Run one batch and return :func:`placed` of it."""
    options = load_onnxruntime().SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    session = _session(model, ops, options)
    session.run([LOGITS], {WINDOWS: windows})
    return placed(json.loads(Path(session.end_profiling()).read_text(encoding="utf-8")))


def graph(model: Path, ops: NativeOps, windows: Any, wanted: Any) -> dict[str, Any]:
    """Replay a session captured in a CUDA graph: its error and its time, or why there is none."""
    ort = load_onnxruntime()
    try:
        session = _session(model, ops, ort.SessionOptions(), enable_cuda_graph="1")
        given = ort.OrtValue.ortvalue_from_numpy(np.zeros_like(windows), "cuda", 0)
        answer = ort.OrtValue.ortvalue_from_numpy(np.zeros_like(wanted), "cuda", 0)
        binding = session.io_binding()
        binding.bind_ortvalue_input(WINDOWS, given)
        binding.bind_ortvalue_output(LOGITS, answer)
        for _ in range(3):  # runs, captures, replays
            session.run_with_iobinding(binding)
        given.update_inplace(windows)
        taken = []
        for _ in range(_GRAPH_RUNS):
            begun = time.perf_counter()
            session.run_with_iobinding(binding)
            taken.append(time.perf_counter() - begun)
        error = float(np.abs(answer.numpy() - wanted).max() / np.abs(wanted).max())
    except Exception as error:  # of several classes, by version
        return {"why_not": str(error).splitlines()[0]}
    return {"error": error, "p50_ms": statistics.median(taken) * 1e3}


def variants(models: list[Path]) -> tuple[list[Variant], str | None]:
    """Return what is timed for each file, and why TensorRT is not among it."""
    cuda = [Variant(str(model), "cuda") for model in models]
    if importlib.util.find_spec("tensorrt") is None:
        return cuda, "TensorRT is not installed"
    try:
        build_plugin(architectures())
    except MimambaError as error:
        return cuda, str(error)
    return [*cuda, *(Variant(str(model), "tensorrt") for model in models)], None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", nargs="?", type=Path, help="NAME.onnx, NAME.ref.npz beside it")


def run(arguments: argparse.Namespace) -> int:
    """Run the level; see above for the exit status.

    Raises:
        MimambaError: Nothing could be measured.
    """
    if PROVIDERS["cuda"] not in load_onnxruntime().get_available_providers():
        raise DependencyError(
            "this onnxruntime has no CUDA provider",
            got=", ".join(load_onnxruntime().get_available_providers()),
            do="install onnxruntime-gpu in place of onnxruntime (never both)",
        )
    models = models_of(arguments.model)
    ops = build_native_ops(archs=architectures())
    wanted, why_not = variants(models)
    reference = Reference.beside(models[0])
    windows = find_windows(reference.contract, artifact=models[0])
    record = run_bench(entries_of(wanted, windows, batches=_BATCHES), windows, batches=_BATCHES)
    one = reference.windows[:1], reference.outputs[LOGITS][:1]
    with tempfile.TemporaryDirectory() as folder:
        ran = {model.name: profile(model, ops, one[0], Path(folder)) for model in models}
    graphs = {model.name: graph(model, ops, *one) for model in models}
    on_cuda = all(
        providers in ([], [PROVIDERS["cuda"]]) and any(each.values())
        for each in ran.values()
        for providers in each.values()
    )
    columns = columns_of(record)
    show_table("", columns, to_rows(record, columns), left=range(columns.index("batch")))
    for line in notes(record):
        show_note(line)
    for name in ran:
        show_note(f"{name}: custom ops ran on {ran[name]}; CUDA graph: {graphs[name]}")
    if why_not:
        show_note(f"TensorRT beside it: not run: {why_not}")
    gpus, board = arguments.environment["gpus"], arguments.environment["board"]
    device = board["module"] if board else gpus[0]["name"] if gpus else None
    figures = {
        **record,
        "ops": ran,
        "cuda_graphs": graphs,
        "architectures": list(ops.architectures),
        "tensorrt_not_run": why_not,
        "sha256": {model.name: sha256_file(model) for model in models},
    }
    figures.pop("environment", None)
    passed = on_cuda and not unverified(record)
    places = {f"{model.parent}/": "" for model in models}
    path = write_record(arguments, renamed(figures, places), verified=passed, device=device)
    if not on_cuda:
        show_note("the custom ops did not all run on CUDA")
    show_note(f"record: {path}")
    return 0 if passed else 1
