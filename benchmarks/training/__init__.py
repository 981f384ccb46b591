"""Throughput of a training step on one core, beside the network with its temporal block looped over windows.

    python -m benchmarks training

A step is forward, backward, clipping and AdamW on a batch of 32 windows with MS-iMamba's default
configuration. The yardstick is the same network with its block as one writes it from the paper: each window
folded by its own periods, one after another, six parallel convolutions, gradients by autograd. A second one
loops with our fused kernel. All else is the same code in all of them: with the native ops, which hold the
scan and are built first, and once more without.

Before anything is timed, loss and gradients agree in float64, and ours in float32 with those. Then every form
takes the same batches in turn, in one process, after a warm-up; time is the thread's own processor time, and
the ratio is of medians.
"""

from __future__ import annotations

import argparse
import copy
import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.record import write_record
from benchmarks.training.looped import looped
from mimamba_edge.console import progress, show_note, show_table
from mimamba_edge.errors import GateError
from mimamba_edge.export.families.msimamba.network import MSiMamba
from mimamba_edge.export.ops.native_scan import find_native_scan
from mimamba_edge.plugins.build_onnxruntime import build_native_ops

__all__ = ["HEADER", "compare_gradients", "notes", "run", "to_rows", "windows_of"]

BATCH = 32
CASES = ((4, 128, "1/f"), (4, 128, "white"), (5, 256, "1/f"), (5, 256, "white"), (62, 200, "1/f"))
"""Channels, samples, spectrum. White noise has many short periods, 1/f noise few long ones, as EEG does."""
WANTED = 5.0
TOLERANCE, TOLERANCE_FLOAT32 = 1e-10, 1e-4
OURS, LOOPED, ONE_KERNEL, MIXED = "ours", "looped", "looped, one kernel", "ours, bfloat16"
HEADER = (
    *("channels x samples", "noise", "native ops", "ours, windows/s", "looped, windows/s", "ratio"),
    *("looped, one kernel: ratio", "bfloat16 / float32"),
)
_BATCHES = 16


def windows_of(channels: int, samples: int, noise: str, count: int) -> NDArray[np.float32]:
    """Return noise of unit variance ``(count, channels, samples)``."""
    rng = np.random.default_rng(0)
    drawn = rng.standard_normal((count, channels, 4 * samples))
    spectrum = np.fft.rfft(drawn)
    if noise == "1/f":
        spectrum /= np.sqrt(np.maximum(1, np.arange(spectrum.shape[-1])))
    cut = np.fft.irfft(spectrum)[..., :samples]
    windows: NDArray[np.float32] = (cut / cut.std()).astype(np.float32)
    return windows


def compare_gradients(
    model: MSiMamba,
    other: MSiMamba,
    x: Tensor,
    labels: Tensor,
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float64,
) -> float:
    """Return the largest relative difference of loss and gradients of a form to another in float64.

    Each gradient's difference is relative to the gradient's largest value.

    Args:
        model: One form, computed on ``device`` in ``dtype``.
        other: The other, on the CPU in float64.
        x: Windows.
        labels: Their classes.
        device: Torch's name.
        dtype: Of the first form.
    """
    found = []
    for given, where, kind in ((model, device, dtype), (other, "cpu", torch.float64)):
        form = copy.deepcopy(given).train().to(where, kind)
        for module in form.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        loss = F.cross_entropy(form(x.to(where, kind)), labels.to(where))
        loss.backward()  # type: ignore[no-untyped-call]
        grads = [parameter.grad for parameter in form.parameters()]
        found.append([t.detach().cpu().double() for t in (loss, *grads) if t is not None])
    if len(found[0]) != len(found[1]):
        return float("inf")
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(*found, strict=True))


class _Trained:
    """One form with its optimizer."""

    def __init__(self, model: MSiMamba, precision: str) -> None:
        self.model, self.precision = model.train(), precision
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step(self, x: Tensor, labels: Tensor) -> float:
        """Take one step; return its seconds of the thread's time."""
        start = time.thread_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16"):
            loss = F.cross_entropy(self.model(x), labels)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return time.thread_time() - start


def use_native_ops(library: str | None) -> None:
    """Let the scan of what trains from now on run in a library of native ops, or in none."""
    os.environ["MIMAMBA_ORT_OPS"] = library or "none"
    find_native_scan.cache_clear()


def measure(channels: int, samples: int, noise: str, rounds: int) -> dict[str, Any]:
    """Verify one case, time it, and return its row of the record.

    Raises:
        GateError: A form computes something else.
    """
    torch.manual_seed(0)
    model = MSiMamba(channels, samples, 2, float(samples))
    models = {OURS: model, LOOPED: looped(model), ONE_KERNEL: looped(model, one_kernel=True)}
    drawn = torch.from_numpy(windows_of(channels, samples, noise, _BATCHES * BATCH))
    batches = torch.split(drawn, BATCH)
    labels = torch.arange(BATCH) % 2
    apart = {
        name: compare_gradients(model, other, batches[0][:4], labels[:4]) for name, other in models.items()
    }
    if not max(apart.values()) <= TOLERANCE:
        raise GateError("the forms do not train alike, and were not timed", got=apart, expected=TOLERANCE)
    single = compare_gradients(model, model, batches[0][:4], labels[:4], dtype=torch.float32)
    if not single <= TOLERANCE_FLOAT32:
        raise GateError("float32 is too far from float64", got=single, expected=TOLERANCE_FLOAT32)
    forms = {name: _Trained(form, "float32") for name, form in models.items()}
    forms[MIXED] = _Trained(copy.deepcopy(model), "bfloat16")
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for number in range(-2, rounds):
        for name, form in forms.items():
            took = form.step(batches[number % len(batches)], labels)
            if number >= 0:
                seconds[name].append(took)
    medians = {name: float(np.median(taken)) for name, taken in seconds.items()}
    return {
        **{"channels": channels, "samples": samples, "noise": noise},
        **{"native_ops": find_native_scan() is not None},
        **{"apart": max(apart.values()), "apart_float32": single},
        "windows_per_s": {name: BATCH / median for name, median in medians.items()},
        "ratio": {name: median / medians[OURS] for name, median in medians.items()},
    }


def to_rows(record: dict[str, Any]) -> Sequence[tuple[str, ...]]:
    """Return the rows of the table."""
    return [
        (
            f"{row['channels']} x {row['samples']}",
            row["noise"],
            "yes" if row.get("native_ops") else "no",
            *(f"{row['windows_per_s'][name]:.0f}" for name in (OURS, LOOPED)),
            *(f"{row['ratio'][name]:.1f}" for name in (LOOPED, ONE_KERNEL)),
            f"{1 / row['ratio'][MIXED]:.2f}",
        )
        for row in record["rows"]
    ]


def notes(record: dict[str, Any]) -> list[str]:
    """Return what stands below the table."""
    apart = max(row["apart"] for row in record["rows"])
    return [
        f"one thread, batch {BATCH}, {record['rounds']} steps of each form in turn",
        f"gradients of all forms within {apart:.0e} in float64",
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--rounds", type=int, default=24, help="timed steps of each form")


def run(arguments: argparse.Namespace) -> int:
    """Measure all cases; write the record. Status 1 where a ratio with native ops is below what is wanted."""
    library = str(build_native_ops().path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows = []
        with progress("training steps", 2 * len(CASES)) as bar:
            for ops in (library, None):
                use_native_ops(ops)
                for case in CASES:
                    rows.append(measure(*case, arguments.rounds))
                    bar.advance()
    finally:
        torch.set_num_threads(threads)
    figures = {"rows": rows, "rounds": arguments.rounds, "torch": torch.__version__}
    show_table("training, one thread", HEADER, to_rows(figures), left=(0, 1, 2))
    good = all(row["ratio"][LOOPED] >= WANTED for row in rows if row["native_ops"])
    path = write_record(arguments, figures, verified=True)
    words = "all" if good else "not all"
    show_note(f"with native ops {words} at least {WANTED:g} times the looped form; record: {path}")
    return 0 if good else 1
