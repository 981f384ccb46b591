"""The multi-scale temporal block alone, at the default network's shape."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from benchmarks.gpu.bench import TOLERANCE, Bench, distance, poisoned, require_close
from benchmarks.gpu.timing import Call, per_launch, summary
from mimamba_edge.numerics.mstb import multi_scale_temporal_block, period_gap, spectrum
from mimamba_edge.parity.windows import WindowSet

__all__ = ["BATCHES", "LENGTHS", "launch_floor", "measure_mstb"]

LENGTHS = (128, 256)
BATCHES = (1, 8, 64, 512)
FEATURES, KERNEL, TOP_K = 32, 11, 3
_LAUNCHES = 3
"""Kernels of the block."""
_CHECKED = 32
_NEAR_TIE = {"float32": 1e-5, "float16": 1e-5}
"""Windows whose periods rounding decides are not compared: the spectrum is float32 whatever the type."""
FEWEST, _MOST = 16, 1024


def weights(bench: Bench, chans: int, dtype: str) -> list[Any]:
    """Return random fused kernels and biases: ``w1, b1, w2, b2``."""
    torch = bench.torch
    shapes = ((FEATURES, chans, KERNEL, KERNEL), (FEATURES,), (chans, FEATURES, KERNEL, KERNEL), (chans,))
    drawn = [0.1 * torch.randn(*shape, device=bench.device) for shape in shapes]
    kind = getattr(torch, dtype)
    return [t.to(kind) if t.ndim == 4 else t for t in drawn]


def batches_of(windows: np.ndarray[Any, Any], batch: int) -> np.ndarray[Any, Any]:
    """Return different batches ``(m, batch, ...)`` that together hold every window, as often as need be."""
    count = min(_MOST, max(FEWEST, -(-len(windows) // batch)))
    chosen = np.arange(count * batch) % len(windows)
    return windows[chosen].reshape(count, batch, *windows.shape[1:])


def measure_mstb(bench: Bench, windows: WindowSet, batch: int, dtype: str) -> dict[str, Any]:
    """Verify the block, time it over different windows, and return its row of the record.

    Raises:
        GateError: Its output is wrong.
    """
    torch = bench.torch
    data = np.ascontiguousarray(windows.data.transpose(0, 2, 1))
    _, length, chans = data.shape
    given = weights(bench, chans, dtype)

    def run(x: Any) -> Any:
        return bench.kernels.multi_scale_temporal_block(x, *given, TOP_K, 1, 0, 0, 1.0, 0)

    amplitude = spectrum(data)
    clear = data[period_gap(amplitude, TOP_K) > _NEAR_TIE[dtype]]
    some = clear[np.linspace(0, len(clear) - 1, min(_CHECKED, len(clear))).astype(int)]
    with poisoned(torch):
        y = run(torch.from_numpy(some).to(bench.device))
    wide = (t.double().cpu().numpy() for t in given)
    wanted = multi_scale_temporal_block(some, *wide, top_k=TOP_K, min_bin=1, max_bin=0, weighting=0,
                                        amplitude_scale=1.0)  # fmt: skip
    error = distance(y.double().cpu().numpy(), wanted)
    require_close(f"our block (l {length}, {dtype})", error, TOLERANCE[dtype])

    rotated = torch.from_numpy(batches_of(data, batch)).to(bench.device)
    calls: list[Call] = [functools.partial(run, x) for x in rotated]
    captured = bench.timer.capture(calls)
    samples = per_launch(bench.timer, {"ours": captured}, {"ours": len(calls)}, bench.rounds)["ours"]
    return {
        "b": batch, "l": length, "c": chans, "f": FEATURES, "k": KERNEL, "top_k": TOP_K, "dtype": dtype,
        "windows": windows.to_dict(), "batches": len(calls),
        "errors": {"ours": error}, "compared": len(some),
        "ours": summary(samples), "floor": launch_floor(bench, _LAUNCHES),
    }  # fmt: skip


def launch_floor(bench: Bench, kernels: int) -> dict[str, Any]:
    """Return the time of a chain of ``kernels`` empty kernels inside a CUDA graph."""
    chains = 32
    run = bench.timer.capture([bench.roofs.empty] * (kernels * chains))
    return summary(per_launch(bench.timer, {"empty": run}, {"empty": chains}, bench.rounds)["empty"])
