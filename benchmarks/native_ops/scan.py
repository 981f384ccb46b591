"""One scan by everything that computes it on a CPU, each checked against float64 before it is timed."""

from __future__ import annotations

import ctypes
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.native_ops import llama_cpp, roofs
from benchmarks.native_ops.problem import Problem, Sizes
from benchmarks.native_ops.timing import in_turn
from mimamba_edge.console import show_note
from mimamba_edge.errors import MimambaError
from mimamba_edge.runtime.native_ops import NativeOps
from mimamba_edge.runtime.ort import open_session

__all__ = ["Libraries", "measure_scan", "measure_threads"]

NATIVE, BODY, LLAMA = "native", "function body", "llama.cpp's loop"
PLAIN, FAST = "plain C++ -O3", "plain C++ -Ofast -march=native"
LINEAR, EAGER, LOOP, COMPILED = (
    "ONNX Runtime's LinearAttention",
    "PyTorch eager",
    "PyTorch eager, loop of transformers",
    "torch.compile",
)
FLAGS = {"has_z": 1, "delta_softplus": 1, "reverse": 0, "return_last_state": 1}
COMPILED_MOST = 64
"""Steps of the longest scan that torch.compile is given: it unrolls them, and 256 take it minutes."""
_Answer = Callable[[], NDArray[np.generic]]


@dataclass(frozen=True)
class Libraries:
    """What was compiled for the comparison.

    Attributes:
        ops: The native ops.
        plain: ``plain_scan.cpp``, by name of the row.
        roof: ``roofs.cpp``.
        llama: llama.cpp's loop; ``None`` where no checkout was named.
    """

    ops: NativeOps
    plain: Mapping[str, Path]
    roof: Path
    llama: Path | None

    @classmethod
    def compiled(cls, ops: NativeOps, folder: Path, compiler: str, checkout: Path | None) -> Libraries:
        """Compile what is ours, and llama.cpp's loop where a checkout is named.

        Raises:
            DataError: The checkout holds no such loop.
        """
        return cls(
            ops,
            {name: compile_plain(folder, compiler, name) for name in (PLAIN, FAST)},
            roofs.compile_roof(folder, compiler, ops.target or "baseline"),
            None if checkout is None else llama_cpp.compile_loop(checkout, folder, compiler),
        )


def compile_plain(folder: Path, compiler: str, name: str) -> Path:
    """Compile the plain loop with the options in a row's name and return its library.

    ``-Ofast`` may use a vector exponential and sum in any order: wrong where a rate is infinite or a number
    is none, and here for what a compiler can make of the formulas.
    """
    options = name.removeprefix("plain C++ ").split()
    source, compiled = Path(__file__).with_name("plain_scan.cpp"), folder / f"plain{len(options)}.o"
    subprocess.run([compiler, *options, "-c", "-fPIC", str(source), "-o", str(compiled)], check=True)
    # Linked with -Ofast, a library would let this whole process round its smallest numbers to 0.
    library = compiled.with_suffix(".so")
    subprocess.run([compiler, "-shared", str(compiled), "-o", str(library)], check=True)
    return library


def plain(problem: Problem, library: Path) -> tuple[Callable[[], None], _Answer]:
    """Return the call of ``plain_scan.cpp`` and what gives its answer."""
    t, sizes = problem.tensors, problem.sizes
    y, state = np.empty_like(t["u"]), np.empty((sizes.d, sizes.n), np.float32)
    arrays = (*t.values(), y, state)
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in arrays]
    numbers = [ctypes.c_long(size) for size in (sizes.l, sizes.d, sizes.n)]
    function = ctypes.CDLL(str(library)).plain_scan

    def call(held: tuple[NDArray[Any], ...] = arrays) -> None:  # addresses keep nothing alive
        function(*pointers, *numbers)

    return call, lambda: y


def session_call(
    model: bytes, problem: Problem, *, ops: NativeOps | None = None, threads: int = 1
) -> tuple[Callable[[], Any], _Answer]:
    """Return a session's run into memory that stays, as the loops have it, and what gives its answer."""
    from onnxruntime import OrtValue

    session = open_session(model, name="a scan", threads=threads, native_ops=ops)
    y, binding = np.empty_like(problem.tensors["u"]), session.io_binding()
    for one in session.get_inputs():
        binding.bind_cpu_input(one.name, problem.tensors[one.name])
    binding.bind_ortvalue_output("y", OrtValue.ortvalue_from_numpy(y))
    return lambda: session.run_with_iobinding(binding), lambda: y


def torch_call(problem: Problem, way: str) -> tuple[Callable[[], Any], _Answer]:
    """Return PyTorch's call on one thread, eager or compiled, and what gives its answer."""
    import torch

    from mimamba_edge.export.ops.scan import selective_scan_ref

    torch.set_num_threads(1)
    tensors = {name: torch.from_numpy(value) for name, value in problem.tensors.items()}

    def reference(**given: Any) -> Any:
        return selective_scan_ref(**given, delta_softplus=True)[0]

    function: Any = _loop_of_transformers if way == LOOP else reference
    if way == COMPILED:
        function = torch.compile(function)

    def call() -> Any:
        with torch.inference_mode():
            return function(**tensors)

    return call, lambda: call().numpy()


def _loop_of_transformers(u: Any, delta: Any, A: Any, B: Any, C: Any, D: Any, **more: Any) -> Any:
    """Scan as transformers' Mamba does without CUDA: all decays at once, then a Python loop over steps."""
    import torch
    from torch.nn import functional as F

    dt = F.softplus(delta + more["delta_bias"]).unsqueeze(-1)
    decay, drive = torch.exp(dt * A), dt * u.unsqueeze(-1) * B
    state, rows = more["initial_state"], []
    for t in range(u.shape[1]):
        state = decay[:, t] * state + drive[:, t]
        rows.append(torch.matmul(state, C[:, t, 0].unsqueeze(-1))[..., 0])
    return (torch.stack(rows, dim=1) + u * D) * F.silu(more["z"])


def scan_model(problem: Problem, form: str | None = None) -> bytes:
    """Return the bytes of a model of one scan, in a form of its body."""
    from mimamba_edge.export.onnx.functions import one_node_model
    from mimamba_edge.export.onnx.scan_body import STANDARD
    from mimamba_edge.export.onnx.schema import SCAN

    shapes = {name: value.shape for name, value in problem.tensors.items()}
    model: bytes = one_node_model(SCAN, shapes, FLAGS, form=form or STANDARD).SerializeToString()
    return model


def _made(name: str, problem: Problem, libraries: Libraries) -> tuple[Callable[[], Any], _Answer]:
    if name == NATIVE:
        return session_call(scan_model(problem), problem, ops=libraries.ops)
    if name == BODY:
        return session_call(scan_model(problem), problem)
    if name in libraries.plain:
        return plain(problem, libraries.plain[name])
    if name == LLAMA:
        assert libraries.llama is not None
        return llama_cpp.loop(problem, libraries.llama)
    if name == LINEAR:
        from mimamba_edge.export.onnx.scan_body import LINEAR_ATTENTION

        return session_call(scan_model(problem, LINEAR_ATTENTION), problem)
    return torch_call(problem, name)


def _why_not(name: str, sizes: Sizes, libraries: Libraries, *, torch: bool) -> str | None:
    """Return why something is not asked to run."""
    if name == LLAMA and libraries.llama is None:
        return "no checkout of llama.cpp was named: --llama-cpp FOLDER"
    if name == COMPILED and sizes.l > COMPILED_MOST:
        return f"compiled up to l {COMPILED_MOST} only: PyTorch unrolls the loop, which takes minutes"
    if name in (EAGER, LOOP, COMPILED) and not torch:
        return "timed at the first sizes only"
    return None


def measure_scan(
    sizes: Sizes, libraries: Libraries, rounds: int, *, torch: bool
) -> tuple[dict[str, dict[str, Any]], bool]:
    """Return a row for each way to compute a scan, and the roofs', and whether all answers are right.

    A row holds the figures of :func:`in_turn`, ``error`` (the largest, as a share of the largest value) and
    ``against_native``, or ``why_not``.

    Args:
        sizes: Of the scan.
        libraries: What was compiled.
        rounds: That count.
        torch: Also time PyTorch.
    """
    problem, rows, calls, right = Problem(sizes), {}, {}, True
    for name in (NATIVE, BODY, PLAIN, FAST, LLAMA, LINEAR, COMPILED, EAGER, LOOP):
        row: dict[str, Any] = {}
        rows[name] = row
        why = _why_not(name, sizes, libraries, torch=torch)
        if why is None:
            start = time.perf_counter()
            try:
                call, answer = _made(name, problem, libraries)
                call()
                row["error"] = float(f"{problem.error(answer()):.2g}")
                if problem.right(answer()):
                    calls[name] = call
                else:
                    why, right = f"wrong: off by {row['error']} of the largest value", False
            except (MimambaError, RuntimeError) as error:
                why, right = str(error).splitlines()[0], right and name not in (NATIVE, BODY)
            if time.perf_counter() - start > 5:
                show_note(f"{name}: {time.perf_counter() - start:.0f} s to the first answer")
        if why is not None:
            row["why_not"] = why
    limits = roofs.roofs(sizes, libraries.roof)
    figures = in_turn({**calls, **limits}, rounds)
    native = figures.get(NATIVE, {}).get("cpu_ms")
    for name, found in figures.items():
        row = rows.setdefault(name, {})
        row.update(found)
        if native is not None:
            row["against_native"] = round(found["cpu_ms"] / native, 4)
    return rows, right


def _two_at_once(sizes: Sizes, library: Path, rounds: int) -> float:
    """Return how many times as fast two threads compute exponentials in registers as one, by the clock."""
    function = ctypes.CDLL(str(library)).exponentials
    function.argtypes, function.restype = [ctypes.c_int64], ctypes.c_float
    count = 8 * sizes.exponentials  # long beside the start of a thread
    taken: tuple[list[float], list[float]] = ([], [])
    with ThreadPoolExecutor(2) as pool:
        for _ in range(max(1, rounds // 8)):
            for threads, times in enumerate(taken, 1):
                start = time.perf_counter()
                list(pool.map(function, [count // threads] * threads))
                times.append(time.perf_counter() - start)
    return round(statistics.median(taken[0]) / statistics.median(taken[1]), 3)


def measure_threads(sizes: Sizes, libraries: Libraries, rounds: int) -> dict[str, Any]:
    """Return the clock's milliseconds of the native scan on one and on two threads, in turn.

    What another program takes of the second core stands in these, and what two threads take from each other:
    ``roof_faster`` is what two threads gain on exponentials in registers, where nothing is shared but the
    core. ``busy`` says how much longer one thread took by the clock than by its own CPU time: 1.0 on a quiet
    machine. ``faster_at_best`` sets the shortest runs beside each other, which nobody disturbed.
    """
    cores = len(os.sched_getaffinity(0))
    if cores < 2:
        return {"why_not": f"this process may use {cores} core"}
    problem = Problem(sizes)
    model = scan_model(problem)
    made = {str(n): session_call(model, problem, ops=libraries.ops, threads=n)[0] for n in (1, 2)}
    found = in_turn(made, rounds)
    one, two = found["1"], found["2"]
    return {
        "one_ms": one["clock_ms"],
        "two_ms": two["clock_ms"],
        "faster": round(one["clock_ms"] / two["clock_ms"], 3),
        "faster_at_best": round(one["least_clock_ms"] / two["least_clock_ms"], 3),
        "roof_faster": _two_at_once(sizes, libraries.roof, rounds),
        "busy": round(one["clock_ms"] / one["cpu_ms"], 3),
        "load_average": os.getloadavg()[0],
    }
