"""A training step on the GPU: ours in float32 and mixed precision, beside the block looped over windows."""

from __future__ import annotations

import statistics
import time
from typing import Any

from benchmarks.gpu.bench import Bench, require_close
from benchmarks.training import BATCH, compare_gradients, windows_of
from benchmarks.training.looped import looped
from mimamba_edge.export.ops.fused_scan import find_fused_scan

__all__ = ["CASES", "measure_training"]

CASES = ((4, 128), (62, 200))
_TOLERANCE = {"float64": 1e-9, "float32": 1e-3}
"""Of gradients against the loop in float64 on the CPU; float32 takes mamba_ssm's scan, where it is there."""


def measure_training(bench: Bench, channels: int, samples: int) -> dict[str, Any]:
    """Verify gradients in float64 against the loop on the CPU, time steps, and return the row.

    Raises:
        GateError: A gradient is wrong.
    """
    from mimamba_edge.export.families.msimamba.network import MSiMamba

    torch = bench.torch
    torch.manual_seed(0)
    model = MSiMamba(channels, samples, 2, float(samples))
    x = torch.from_numpy(windows_of(channels, samples, "1/f", BATCH))
    labels = torch.arange(BATCH) % 2
    row: dict[str, Any] = {"channels": channels, "samples": samples, "b": BATCH}
    for dtype, tolerance in _TOLERANCE.items():
        given = {"device": bench.device, "dtype": getattr(torch, dtype)}
        apart = compare_gradients(model, looped(model), x[:8], labels[:8], **given)
        row[f"apart_{dtype}"] = require_close(f"gradients, {channels} x {samples}", apart, tolerance)
    row["fused_scan"] = bench.device == "cuda" and find_fused_scan() is not None
    x, labels = x.to(bench.device), labels.to(bench.device)
    forms = {"ours": (model, False), "mixed": (model, True), "looped": (looped(model), False)}
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    held = {name: form.to(bench.device).train() for name, (form, _) in forms.items()}
    for number in range(-2, bench.rounds):
        for name, (_, mixed) in forms.items():
            began = time.perf_counter()
            with torch.autocast(bench.device, torch.bfloat16, enabled=mixed):
                loss = torch.nn.functional.cross_entropy(held[name](x), labels)
            held[name].zero_grad()
            loss.backward()
            loss.item()  # waits for the device
            if bench.device == "cuda":
                torch.cuda.synchronize()
            if number >= 0:
                seconds[name].append(time.perf_counter() - began)
    return row | {name: BATCH / statistics.median(taken) for name, taken in seconds.items()}
