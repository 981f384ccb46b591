"""llama.cpp's loop for Mamba-1, cut out of a checkout that the user names and compiled as they compile it.

``ggml_compute_forward_ssm_scan_f32`` of ``ggml-cpu/ops.cpp`` behind the includes of that file, by
``-O3 -DNDEBUG -march=native``: their Release build with GGML_NATIVE, which is their default. Their graph adds
the bias of the step sizes before this loop, and skip and gate after it, in nodes of their own: these are not
timed. Nothing of theirs is kept.
"""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.native_ops.problem import Problem
from mimamba_edge.errors import DataError

__all__ = ["FLAGS", "commit_of", "compile_loop", "loop"]

FLAGS = ("-std=c++17", "-O3", "-DNDEBUG", "-march=native")
_NAME = "ggml_compute_forward_ssm_scan_f32"
_BESIDE = r"""
extern "C" int64_t ggml_nelements(const ggml_tensor *t) { return t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3]; }
extern "C" size_t ggml_element_size(const ggml_tensor *) { return sizeof(float); }
extern "C" void ggml_abort(const char *, int, const char *, ...) { __builtin_trap(); }

static ggml_tensor tensor(void *data, int64_t a, int64_t b, int64_t c, int64_t d) {
  ggml_tensor t = {};
  const int64_t sizes[4] = {a, b, c, d};
  size_t bytes = 4; // of a float, or of an index
  for (int i = 0; i < 4; ++i) {
    t.ne[i] = sizes[i];
    t.nb[i] = bytes;
    bytes *= sizes[i];
  }
  t.data = data;
  return t;
}

// One sequence; a head for each channel, as their graph for Mamba-1 has it. y and the state lie in out.
extern "C" void mimamba_ssm_scan(float *state, float *x, float *dt, float *A, float *B, float *C, float *out,
                                 int64_t l, int64_t d, int64_t n) {
  int32_t first = 0;
  ggml_tensor sources[] = {tensor(state, n, 1, d, 1), tensor(x, 1, d, l, 1), tensor(dt, d, l, 1, 1),
                           tensor(A, n, d, 1, 1),     tensor(B, n, 1, l, 1), tensor(C, n, 1, l, 1),
                           tensor(&first, 1, 1, 1, 1)};
  ggml_tensor result = tensor(out, l * d + d * n, 1, 1, 1);
  for (int i = 0; i < 7; ++i)
    result.src[i] = &sources[i];
  result.op_params[0] = 1; // states to keep: the last one
  ggml_compute_params params = {};
  params.nth = 1;
  ggml_compute_forward_ssm_scan_f32(&params, &result);
}
"""


def _source(checkout: Path) -> Path:
    places = [checkout / at / "src" / "ggml-cpu" / "ops.cpp" for at in ("ggml", ".")]
    found = next((path for path in places if path.is_file()), None)
    if found is None or f"void {_NAME}(" not in found.read_text(encoding="utf-8"):
        raise DataError(
            f"{checkout} is no checkout of llama.cpp, or one without its loop {_NAME}",
            expected=f"{places[0]} (or, of ggml alone, {places[1]})",
            do="git clone --depth 1 https://github.com/ggml-org/llama.cpp",
        )
    return found


def cut_out(source: Path) -> str:
    """Return the function and the includes that stand before it."""
    text = source.read_text(encoding="utf-8")
    start = text.index(f"static void {_NAME}(")
    includes = [line for line in text[:start].splitlines() if line.startswith("#include")]
    return "\n".join([*includes, text[start : text.index("\n}\n", start) + 3]])


def commit_of(checkout: Path) -> str | None:
    """Return the commit that is checked out, or ``None`` where git does not say."""
    done = subprocess.run(["git", "-C", str(checkout), "rev-parse", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip() or None


def compile_loop(checkout: Path, folder: Path, compiler: str) -> Path:
    """Compile their loop and return the library.

    Raises:
        DataError: The folder holds no such loop, or it needs more of their sources than is known here.
    """
    source = _source(checkout)
    file, library = folder / "llama_cpp.cpp", folder / "llama_cpp.so"
    file.write_text(cut_out(source) + _BESIDE, encoding="utf-8")
    root = source.parents[2]
    headers = [f"-I{root / at}" for at in ("include", "src", "src/ggml-cpu")]
    done = subprocess.run(
        [compiler, *FLAGS, *headers, "-shared", "-fPIC", "-Wl,-z,defs", str(file), "-o", str(library)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        wrong = [line for line in done.stderr.splitlines() if "error" in line or "undefined" in line]
        raise DataError(
            f"the loop of {checkout} could not be compiled alone",
            got=(wrong or ["the compiler failed"])[0],
            do="name a checkout of about 2026-08, or leave --llama-cpp out",
        )
    return library


def loop(problem: Problem, library: Path) -> tuple[Callable[[], None], Callable[[], NDArray[np.float32]]]:
    """Return the call of their loop, and what gives its answer with the skip and the gate of ours."""
    t, sizes = problem.tensors, problem.sizes
    biased = t["delta"] + t["delta_bias"]
    out = np.empty(sizes.l * sizes.d + sizes.d * sizes.n, np.float32)
    arrays = (t["initial_state"], t["u"], biased, t["A"], t["B"], t["C"], out)
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in arrays]
    numbers = [ctypes.c_int64(size) for size in (sizes.l, sizes.d, sizes.n)]
    function = ctypes.CDLL(str(library)).mimamba_ssm_scan

    def call(held: tuple[NDArray[np.float32], ...] = arrays) -> None:  # addresses keep nothing alive
        function(*pointers, *numbers)

    def answer() -> NDArray[np.float32]:
        y = out[: sizes.l * sizes.d].reshape(t["u"].shape) + t["D"] * t["u"]
        return np.asarray(y * t["z"] / (1.0 + np.exp(-t["z"])), np.float32)

    return call, answer
