"""30 Mamba blocks (onnxruntime's issue 27796) beside a Loop and all steps, and a mixer beside OpenVINO.

    python -m benchmarks stress-30 [--rounds 5] [--unrolled-blocks 4]

A network of that description (``network.py``), one core, 0.1 s of audio: our portable file with function
bodies and with native ops, and the same weights with each scan an ONNX Loop, in turn in one run, each held
to PyTorch's answers. All steps unrolled take minutes to load, so that form has fewer blocks and stands beside
ours of as many. Then one mixer of 64 steps, captured, with bodies, native ops, and inlined in OpenVINO where
that is installed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.native_ops.timing import in_turn
from benchmarks.record import write_record
from benchmarks.stress_30 import tables
from mimamba_edge.console import show_note, show_table
from mimamba_edge.errors import DependencyError, RunnerError
from mimamba_edge.plugins.build_onnxruntime import build_native_ops

_LEAST_DB = 90.0
_LOADS = 3
_MIXER_ROUNDS = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--rounds", type=int, default=5, help="runs of each that count")
    parser.add_argument("--unrolled-blocks", type=int, default=4, help="blocks of the unrolled form")


def run(arguments: argparse.Namespace) -> int:
    """Export, load and run all forms, write the record; return 1 if an answer is wrong."""
    ops = build_native_ops()
    if ops.problem:
        raise ops.problem
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures: dict[str, Any] = {
            "whole": _network(folder, None, arguments.rounds),
            "short": _network(folder, arguments.unrolled_blocks, arguments.rounds),
            "mixer": _mixer(folder),
            "instruction_set": ops.target,
        }
    rows = [row for part in ("whole", "short", "mixer") for row in figures[part]["rows"]]
    right = all(row["sqnr_db"] >= _LEAST_DB for row in rows if "sqnr_db" in row)
    path = write_record(arguments, figures, verified=right)
    show_table("30 blocks and fewer", tables.FORMS, tables.forms(figures), left=range(2))
    show_table("a mixer of 64 steps", tables.MIXER, tables.mixer(figures), left=range(1))
    for line in tables.notes(figures):
        show_note(line)
    show_note(f"record: {path}" + ("" if right else f"\nan answer is below {_LEAST_DB:g} dB"))
    return int(not right)


def _sqnr_db(found: NDArray[Any], right: NDArray[Any]) -> float:
    noise = float(np.square(np.subtract(found, right, dtype=np.float64)).sum())
    return float(10 * np.log10(float(np.square(right, dtype=np.float64).sum()) / noise)) if noise else 200.0


def _exported(module: Any, shape: str, out: Path, *, inline: bool = False) -> tuple[Any, dict[str, Any]]:
    from mimamba_edge.export.foreign.export import export_module
    from mimamba_edge.export.foreign.inputs import find_inputs, parse_shape

    start, begun = time.process_time(), time.perf_counter()
    made = export_module(
        module, out, find_inputs(parse_shape(shape), None, module), name="enhancer", inline=inline
    )
    took = {"export_cpu_s": time.process_time() - start, "export_s": time.perf_counter() - begun}
    return made, {**took, "parity_db": made.parity.sqnr_db, "own_code": made.own_code}


def _runners(path: Path) -> dict[str, Callable[[], Any]]:
    from mimamba_edge.runtime.ort import OrtRunner

    return {
        "function bodies": lambda: OrtRunner(path, threads=1),
        "native ops": lambda: OrtRunner(path, threads=1, native_ops=True),
    }


def _call(runner: Any, window: NDArray[Any]) -> Callable[[], Any]:
    feeds = {runner.signature.input.name: window}
    return lambda: next(iter(runner.infer(feeds).values()))


def _plain(path: Path) -> Any:
    """Return a session of a file of others, set up as ours are."""
    from mimamba_edge.runtime.ort import load_onnxruntime

    ort = load_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _network(folder: Path, blocks: int | None, rounds: int) -> dict[str, Any]:
    """Return the figures of all blocks beside Loops, or of some beside all their steps."""
    import torch

    from benchmarks.stress_30.network import BANDS, BLOCKS, FRAMES, SECONDS, Enhancer
    from benchmarks.stress_30.others import export_loops, export_unrolled
    from mimamba_edge.export.foreign.factory import frozen

    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = frozen(Enhancer(blocks or BLOCKS), "enhancer")
    made, about = _exported(model, f"1x2x{FRAMES}x{BANDS}", folder / f"ours-{blocks}.onnx")
    window = made.windows.data[:1]
    theirs, name = folder / f"theirs-{blocks}.onnx", "Loop over time" if blocks is None else "all steps"
    start = time.process_time()
    with torch.no_grad():
        right = model(torch.from_numpy(window)).numpy()
        (export_loops if blocks is None else export_unrolled)(model, theirs, torch.from_numpy(window))
    others_s = time.process_time() - start

    opened: dict[str, Any] = {}
    loads: dict[str, list[float]] = {}
    openers: dict[str, Callable[[], Any]] = {
        **_runners(made.files[0]),
        name: lambda: _plain(theirs),
    }
    for _ in range(_LOADS):
        for key, opener in openers.items():
            start = time.process_time()
            opened[key] = opener()
            if key != name:
                opened[key].activate()
            loads.setdefault(key, []).append(time.process_time() - start)
    calls = {key: _call(opened[key], window) for key in openers if key != name}
    theirs_name = opened[name].get_inputs()[0].name
    calls[name] = lambda: opened[name].run(None, {theirs_name: window})[0]
    answers = {key: _sqnr_db(call(), right) for key, call in calls.items()}
    taken = in_turn(calls, rounds, warm=0, near_s=0.0)
    rows = []
    for key in calls:
        path = theirs if key == name else made.files[0]
        rows.append(
            {
                "form": key,
                "bytes": path.stat().st_size,
                "load_s": sorted(loads[key])[_LOADS // 2],
                "real_time_factor": taken[key]["cpu_ms"] / 1e3 / SECONDS,
                "against": taken[name]["cpu_ms"] / taken[key]["cpu_ms"],
                "sqnr_db": answers[key],
                **taken[key],
            }
        )
    parameters = sum(p.numel() for p in model.parameters())
    return {
        **about,
        "blocks": blocks or BLOCKS,
        "scans": made.scans,
        "parameters": parameters,
        "others_export_cpu_s": others_s,
        "rows": rows,
    }


def _mixer(folder: Path) -> dict[str, Any]:
    """Return the figures of one mixer of 64 steps, d_model 128."""
    import torch

    from benchmarks.stress_30.network import Mamba
    from mimamba_edge.export.foreign.factory import frozen
    from mimamba_edge.runtime.openvino import OpenVinoRunner

    torch.manual_seed(0)
    model = frozen(Mamba(), "mixer")
    made, about = _exported(model, "1x64x128", folder / "mixer.onnx", inline=True)
    inlined, rows = made.files[-1], list[dict[str, Any]]()
    openers = _runners(made.files[0])
    promise = openers["native ops"]().promise
    openers["OpenVINO, inlined"] = lambda: OpenVinoRunner(
        inlined.read_bytes, promise, artifact=str(inlined), threads=1
    )
    window = made.windows.data[:1]
    with torch.no_grad():
        right = model(torch.from_numpy(window)).numpy()
    opened: dict[str, Any] = {}
    for name, opener in openers.items():
        try:
            opened[name] = opener()
            opened[name].activate()
        except (DependencyError, RunnerError) as error:
            rows.append({"form": name, "why_not": error.what})
            del opened[name]
    calls = {name: _call(one, window) for name, one in opened.items()}
    answers = {name: _sqnr_db(call(), right) for name, call in calls.items()}
    taken = in_turn(calls, _MIXER_ROUNDS)
    rows[:0] = [{"form": name, "sqnr_db": answers[name], **taken[name]} for name in calls]
    return {**about, "rows": rows}
