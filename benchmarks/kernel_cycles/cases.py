"""The problems whose cycles are wanted, and the launches they come to."""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.gpu.mamba_ssm import MambaSsmScan
from benchmarks.kernel_cycles.launches import Library
from benchmarks.kernel_cycles.machine import Device as Product
from mimamba_edge.errors import MimambaError
from mimamba_edge.plugins.ctypes_api import TYPES, Device, Mstb, Scan

__all__ = ["MstbCase", "Problem", "ScanCase", "mamba_problem", "mstb_problem", "scan_problem"]

Array = npt.NDArray[Any]
_MOST_DRAWN = 4_000_000


@dataclass(frozen=True)
class ScanCase:
    """A selective scan of one window with gate, softplus and last state, one group."""

    d: int
    l: int  # noqa: E741
    dtype: str
    n: int = 16
    b: int = 1
    chunks: int = 0

    @property
    def bytes(self) -> int:
        """Of u, delta, z, B, C and y together, each moved once."""
        size, rows = np.dtype(self.dtype).itemsize, self.b * self.l
        return size * rows * (4 * self.d + 2 * self.n)


@dataclass(frozen=True)
class MstbCase:
    """The temporal block at the default network's shape."""

    dtype: str = "float32"
    l: int = 128  # noqa: E741
    c: int = 4
    f: int = 32
    k: int = 11
    top_k: int = 3
    b: int = 1


@dataclass
class Problem:
    """Arrays in place of device memory, and the call that launches the kernels on them."""

    arrays: list[Array]
    launch: Any
    held: Any = None


def _aligned(count: int, dtype: str = "float32") -> Array:
    """Return zeros that begin at a multiple of 256 bytes, as cudaMalloc's memory does."""
    raw = np.zeros(count * np.dtype(dtype).itemsize + 256, np.uint8)
    start = -raw.ctypes.data % 256
    return raw[start : start + count * np.dtype(dtype).itemsize].view(dtype)


def _kept(array: Array) -> Array:
    out = _aligned(array.size, str(array.dtype))
    out[:] = array.reshape(-1)
    return out


def _drawn(rng: np.random.Generator, dtype: str, *shape: int) -> Array:
    """Return normal numbers; zeros where they would fill the memory: pages never written take none."""
    count = math.prod(shape)
    if count > _MOST_DRAWN:
        return _aligned(count, dtype)
    return _kept(rng.standard_normal(count, dtype=np.float32).astype(dtype))


@dataclass(frozen=True)
class _Tensors:
    u: Array
    delta: Array
    B: Array
    C: Array
    z: Array
    A: Array
    D: Array
    delta_bias: Array


def _tensors(case: ScanCase) -> _Tensors:
    rng, (b, steps, d, n) = np.random.default_rng(0), (case.b, case.l, case.d, case.n)
    wide = [_drawn(rng, case.dtype, b * steps * d) for _ in range(3)]
    maps = [_drawn(rng, case.dtype, b * steps * n) for _ in range(2)]
    rates, skip, bias = _drawn(rng, "float32", d * n), _drawn(rng, "float32", d), _drawn(rng, "float32", d)
    rates[:] = -np.abs(rates)
    return _Tensors(wide[0], wide[1], maps[0], maps[1], wide[2], rates, skip, bias)


def scan_problem(case: ScanCase, library: Library, product: Product) -> Problem:
    """Return our launcher's call for a scan; tensors in our layout, (b, l, d)."""
    t, (b, steps, d, n) = _tensors(case), (case.b, case.l, case.d, case.n)
    state, y, last = _aligned(b * d * n), _aligned(b * steps * d, case.dtype), _aligned(b * d * n)
    arrays = [t.u, t.delta, t.B, t.C, t.z, t.A, t.D, t.delta_bias, state, y, last]
    problem = Scan(
        *(a.ctypes.data for a in arrays), b, steps, d, 1, n, b,
        type=TYPES[case.dtype], delta_softplus=True, reverse=False, chunks=case.chunks,
    )  # fmt: skip
    return _ours("scan", problem, arrays, library, product)


def mamba_problem(case: ScanCase, library: Library) -> Problem:
    """Return the call of mamba_ssm's launcher for the same scan; tensors in its layout, (b, d, l)."""
    t, (b, steps, d, n) = _tensors(case), (case.b, case.l, case.d, case.n)
    out, gated = _aligned(b * steps * d, case.dtype), _aligned(b * steps * d, case.dtype)
    states = _aligned(b * d * -(-steps // 2048) * 2 * n)
    arrays = [t.u, t.delta, t.A, t.B, t.C, t.D, t.delta_bias, t.z, out, gated, states]
    scan, message = (
        MambaSsmScan(*(a.ctypes.data for a in arrays), b, steps, d, 1, n),
        ctypes.create_string_buffer(500),
    )

    def launch() -> None:
        run = getattr(library.functions, f"mamba_ssm_{case.dtype}")
        if run(ctypes.byref(scan), None, message, ctypes.c_int64(len(message))):
            raise MimambaError("mamba_ssm's launcher refused", got=message.value.decode(errors="replace"))

    return Problem(arrays, launch, scan)


def mstb_problem(case: MstbCase, library: Library, product: Product) -> Problem:
    """Return our launcher's call for a temporal block; the window is 1/f noise, as EEG nearly is."""
    rng = np.random.default_rng(3)
    white = np.fft.rfft(rng.standard_normal((case.b, case.l, case.c)), axis=1)
    white /= np.maximum(np.arange(white.shape[1]), 1)[:, None]
    x = _kept(np.fft.irfft(white, case.l, axis=1).astype(np.float32))
    w1, w2 = (_drawn(rng, case.dtype, case.f * case.c * case.k * case.k) for _ in range(2))
    b1, b2 = _drawn(rng, "float32", case.f), _drawn(rng, "float32", case.c)
    arrays = [x, w1, b1, w2, b2, _aligned(case.b * case.l * case.c, case.dtype)]
    problem = Mstb(
        *(a.ctypes.data for a in arrays), case.b, case.l, case.c, case.f, case.k,
        type=TYPES[case.dtype], top_k=case.top_k, min_bin=1, max_bin=0, weighting=0, amplitude_scale=1.0,
    )  # fmt: skip
    return _ours("mstb", problem, arrays, library, product)


def _ours(op: str, problem: Scan | Mstb, arrays: list[Array], library: Library, product: Product) -> Problem:
    functions = library.functions
    device = Device(
        multiprocessors=product.multiprocessors, shared_bytes=product.shared_bytes, max_blocks=2**30
    )
    size, message = ctypes.c_int64(), ctypes.c_char_p()
    given = ctypes.byref(problem), ctypes.byref(device)

    def check(code: int) -> None:
        if code:
            raise MimambaError("a launcher refused", got=(message.value or b"").decode())

    check(getattr(functions, f"mimamba_{op}_workspace")(*given, ctypes.byref(size), ctypes.byref(message)))
    workspace = _aligned(max(1, size.value // 4))
    start = ctypes.c_void_p(workspace.ctypes.data)

    def launch() -> None:
        run = getattr(functions, f"mimamba_launch_{op}")
        check(run(*given, start, ctypes.c_int64(size.value), None, ctypes.byref(message)))

    return Problem([*arrays, workspace], launch, (problem, device))
