"""Native ops for ONNX Runtime beside the function bodies and a plain loop: one thread, in turn, one process.

    python -m benchmarks native-ops [--data FOLDER_OF_RECORDINGS]

A scan of l 256, d 1536, n 16, and the reference model at batch 1. What counts is the CPU time of the thread:
other programs on the machine take turns with it and do not stand in the figures, though they take its caches.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.record import renamed, write_record
from mimamba_edge.console import show_note, show_table
from mimamba_edge.contract import WINDOWS
from mimamba_edge.load import builtin_model, load_model
from mimamba_edge.parity import find_windows
from mimamba_edge.plugins.build_onnxruntime import build_native_ops
from mimamba_edge.plugins.cmake import find_tool
from mimamba_edge.runtime.native_ops import NativeOps
from mimamba_edge.runtime.ort import open_session

LENGTH, WIDTH, STATES = 256, 1536, 16
FLAGS = {"has_z": 1, "delta_softplus": 1, "reverse": 0, "return_last_state": 1}
_Calls = dict[str, Callable[[], Any]]


def in_turn(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, dict[str, float]]:
    """Return the median milliseconds of each call, of the thread and by the clock, over interleaved runs."""
    thread: dict[str, list[float]] = {name: [] for name in calls}
    clock: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 3):
        for name, call in calls.items():
            start, begun = time.perf_counter(), time.thread_time()
            call()
            if turn >= 3:
                thread[name].append((time.thread_time() - begun) * 1e3)
                clock[name].append((time.perf_counter() - start) * 1e3)
    return {
        name: {"cpu_ms": statistics.median(thread[name]), "clock_ms": statistics.median(clock[name])}
        for name in calls
    }


def scan_tensors() -> dict[str, NDArray[np.float32]]:
    """Return the tensors of one window."""
    rng = np.random.default_rng(0)
    sizes = {"u": (1, LENGTH, WIDTH), "delta": (1, LENGTH, WIDTH), "A": (WIDTH, STATES)}
    sizes |= {"B": (1, LENGTH, 1, STATES), "C": (1, LENGTH, 1, STATES), "D": (WIDTH,)}
    sizes |= {"delta_bias": (WIDTH,), "initial_state": (1, WIDTH, STATES), "z": (1, LENGTH, WIDTH)}
    drawn = {name: rng.normal(size=size) for name, size in sizes.items()}
    drawn["A"] = -np.exp(drawn["A"])
    return {name: value.astype(np.float32) for name, value in drawn.items()}


def plain_loop(t: Mapping[str, NDArray[np.float32]], folder: Path) -> tuple[Callable[[], Any], NDArray[Any]]:
    """Return the call of ``plain_scan.cpp`` at -O3, and where it puts y."""
    library = folder / "plain_scan.so"
    source = Path(__file__).with_name("plain_scan.cpp")
    compiler = find_tool(os.environ.get("CXX", "g++"))
    subprocess.run([compiler, "-O3", "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    y, state = np.empty_like(t["u"]), np.empty((WIDTH, STATES), np.float32)
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (*t.values(), y, state)]
    sizes = [ctypes.c_long(size) for size in (LENGTH, WIDTH, STATES)]
    function = ctypes.CDLL(str(library)).plain_scan

    def call(
        held: tuple[NDArray[Any], ...] = (*t.values(), y, state),
    ) -> None:  # addresses keep nothing alive
        function(*pointers, *sizes)

    return call, y


def bound(session: Any, t: Mapping[str, NDArray[np.float32]]) -> tuple[Callable[[], Any], NDArray[Any]]:
    """Return a session's run into memory that stays, as the loop has it, and where it puts y."""
    from onnxruntime import OrtValue

    y, binding = np.empty_like(t["u"]), session.io_binding()
    for name, value in t.items():
        binding.bind_cpu_input(name, value)
    binding.bind_ortvalue_output("y", OrtValue.ortvalue_from_numpy(y))
    return lambda: session.run_with_iobinding(binding), y


def measure_scan(ops: NativeOps, folder: Path) -> tuple[dict[str, Any], bool]:
    """Return the figures of the scan, and whether all three agree."""
    from mimamba_edge.export.onnx.functions import one_node_model
    from mimamba_edge.export.onnx.schema import SCAN

    t = scan_tensors()
    model = one_node_model(SCAN, {name: value.shape for name, value in t.items()}, FLAGS).SerializeToString()
    made = {
        "native": bound(open_session(model, name="a scan", threads=1, native_ops=ops), t),
        "function body": bound(open_session(model, name="a scan", threads=1), t),
        "plain C++ -O3": plain_loop(t, folder),
    }
    for call, _ in made.values():
        call()
    wanted = made["plain C++ -O3"][1]
    largest = float(np.abs(wanted).max())
    agree = all(float(np.abs(y - wanted).max()) <= 1e-5 * largest for _, y in made.values())
    calls: _Calls = {name: call for name, (call, _) in made.items()}
    return in_turn(calls, 40), agree


def measure_model(data: Path | None) -> tuple[dict[str, Any], str, bool]:
    """Return the figures of the reference model, the windows in words, and whether both runners agree."""
    with ExitStack() as stack:
        native = stack.enter_context(load_model(builtin_model(), threads=1))
        bodies = stack.enter_context(load_model(builtin_model(), threads=1, native_ops=False))
        windows = find_windows(native.contract, data=data)
        many = windows.data[:512]
        wanted = bodies.logits(many)
        agree = native.kind != bodies.kind
        agree &= float(np.abs(native.logits(many) - wanted).max()) <= 1e-4 * float(np.abs(wanted).max())
        turn = {"native": 0, "function body": 0}

        def call(name: str, runner: Any) -> Callable[[], Any]:
            def run() -> None:
                turn[name] += 1
                at = turn[name] % len(many)
                runner.infer({WINDOWS: many[at : at + 1]})

            return run

        calls: _Calls = {"native": call("native", native), "function body": call("function body", bodies)}
        return in_turn(calls, 1500), str(windows), bool(agree)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--data", type=Path, help="recordings to take the model's windows from")


def run(arguments: argparse.Namespace) -> int:
    """Build the ops, measure, write the record; return 1 if answers differ."""
    ops = build_native_ops()
    if ops.problem:
        raise ops.problem
    os.environ["MIMAMBA_ORT_OPS"] = str(ops.path)
    with tempfile.TemporaryDirectory() as folder:
        scan, scan_agrees = measure_scan(ops, Path(folder))
    model, windows, model_agrees = measure_model(arguments.data)
    agree = scan_agrees and model_agrees
    figures = {
        "instruction_set": ops.target,
        "scan": {"l": LENGTH, "d": WIDTH, "n": STATES, "runs": scan},
        "model": {"windows": windows, "runs": model},
        "load_average": os.getloadavg()[0],
    }
    names = {} if arguments.data is None else {str(arguments.data): arguments.data.name}
    path = write_record(arguments, renamed(figures, names), verified=agree)
    rows = [
        [
            what,
            name,
            f"{one['cpu_ms']:.3f}",
            f"{one['clock_ms']:.3f}",
            f"{one['cpu_ms'] / of['native']['cpu_ms']:.2f}",
        ]
        for what, of in (("scan", scan), ("reference model", model))
        for name, one in of.items()
    ]
    title = f"{ops.target}, one thread, load {figures['load_average']:.1f}"
    show_table(title, ("what", "by", "CPU ms", "clock ms", "x native"), rows, left=range(2))
    show_note(f"{windows}\nrecord: {path}" + ("" if agree else "\nanswers differ"))
    return int(not agree)
