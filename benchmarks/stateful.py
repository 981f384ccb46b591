"""What an endless stream through a stateful model costs: memory over a million steps, time by chunk length.

    python -m benchmarks stateful

Exports two Mamba layers of random weights (d_model 64, d_inner 128, 16 states; 4 channels in) and runs them
chunk by chunk. Memory is flat where it grows by less than 1 MiB from a hundredth of the steps to the last.
The last answers are held against the model in PyTorch on the last 8,192 steps. Times are the thread's own
processor time; a window of 128 steps is what a model without states computes for each new step.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.footprint import memory_bytes
from benchmarks.record import write_record
from mimamba_edge.console import progress, show_note, show_table
from mimamba_edge.export.api import export_module
from mimamba_edge.export.capture import as_selective_scan
from mimamba_edge.runtime.stateful import StatefulRunner

_STEPS = 1_000_000
_CHUNKS = (1, 7, 64)
_GROWTH_BYTES = 1 << 20
_WINDOW = 128
_HELD = 8192
"""Steps before the last ones that the judge is shown: what is older has left the states long ago."""
_ERROR = 1e-5
_TIMED = 200


@as_selective_scan("channel-last")
def _scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    state, out = torch.zeros(len(u), *A.shape), []
    decays, terms = torch.exp(delta.unsqueeze(-1) * A), (delta * u).unsqueeze(-1) * B.unsqueeze(2)
    for t in range(u.shape[1]):
        state = decays[:, t] * state + terms[:, t]
        out.append((state * C[:, t].unsqueeze(1)).sum(-1))
    return torch.stack(out, 1) + D * u


class _Block(nn.Module):
    def __init__(self, d_model: int, d_inner: int, d_state: int, dt_rank: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d_model)
        self.in_proj = nn.Linear(d_model, 2 * d_inner, bias=False)
        self.conv1d = nn.Conv1d(d_inner, d_inner, 4, groups=d_inner, padding=3)
        self.x_proj = nn.Linear(d_inner, dt_rank + 2 * d_state, bias=False)
        self.dt_proj = nn.Linear(dt_rank, d_inner)
        self.A_log = nn.Parameter(torch.log(torch.arange(1.0, d_state + 1)).repeat(d_inner, 1))
        self.D = nn.Parameter(torch.ones(d_inner))
        self.out_proj = nn.Linear(d_inner, d_model, bias=False)
        self.sizes = dt_rank, d_state, d_state

    def forward(self, x: Tensor) -> Tensor:
        u, z = self.in_proj(self.norm(x)).chunk(2, dim=-1)
        u = F.silu(self.conv1d(u.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2))
        dt, B, C = self.x_proj(u).split(self.sizes, dim=-1)
        y = _scan(u, F.softplus(self.dt_proj(dt)), -torch.exp(self.A_log), B, C, self.D)
        out: Tensor = self.out_proj(y * F.silu(z))
        return x + out


def network() -> nn.Module:
    """Return the model: ``(b, l, 4)`` to ``(b, l, 2)``."""
    torch.manual_seed(0)
    blocks = [_Block(64, 128, 16, 4) for _ in range(2)]
    return nn.Sequential(nn.Linear(4, 64), *blocks, nn.LayerNorm(64), nn.Linear(64, 2))


def _signal(begin: int, end: int) -> NDArray[np.float32]:
    """Return any stretch of an endless signal, ``(1, end - begin, 4)``."""
    t = np.arange(begin, end)[:, None] / 128
    hz = np.array([[0.7, 3.3, 10.1, 21.7]])
    return np.sin(2 * np.pi * hz * t + np.sin(t / 7))[None].astype(np.float32)


def run_long(runner: StatefulRunner, steps: int, chunk: int) -> tuple[list[int], NDArray[np.generic]]:
    """Run many steps.

    Returns:
        Resident memory in bytes after each hundredth of them, and the answers to the last chunk.
    """
    runner.reset()
    every, done = max(1, steps // 100), 0
    memory: list[int] = []
    with progress(f"{steps:,} steps", total=100) as bar:
        while done < steps:
            answers = runner.step(_signal(done, done + chunk))["output"]
            done += chunk
            while len(memory) < done // every and len(memory) < 100:
                memory.append(memory_bytes(os.getpid())["resident_bytes"])
                bar.advance()
    return memory, answers


def _time(runner: StatefulRunner, length: int) -> float:
    """Return the median milliseconds of a chunk."""
    x, took = _signal(0, length), []
    for _ in range(_TIMED):
        start = time.thread_time()
        runner.step(x)
        took.append(time.thread_time() - start)
    return float(np.median(took)) * 1e3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--steps", type=int, default=_STEPS, help="steps of the long run")
    parser.add_argument("--chunk", type=int, default=1, help="steps of its chunks")


def run(given: argparse.Namespace) -> int:
    """Measure; return the status."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stream.onnx"
        model = network().eval()
        export_module(model, path, shape="1x64x4", stateful=True)
        figures: dict[str, Any] = {"steps": given.steps, "chunk": given.chunk, "window": _WINDOW}
        with StatefulRunner(path, threads=1) as runner:
            figures["kind"] = runner.kind
            figures["state_bytes"] = sum(value.nbytes for value in runner.states.values())
            memory, answers = run_long(runner, given.steps, given.chunk)
            end = -(-given.steps // given.chunk) * given.chunk
            with torch.no_grad():
                right = model(torch.from_numpy(_signal(max(0, end - _HELD), end))).numpy()[:, -given.chunk :]
            figures["error"] = float(np.abs(answers - right).max() / np.abs(right).max())
            figures["resident_bytes"] = {"first": memory[0], "last": memory[-1], "most": max(memory)}
            figures["ms"] = {str(length): _time(runner, length) for length in (*_CHUNKS, _WINDOW)}
    grown = memory[-1] - memory[0]
    good = grown < _GROWTH_BYTES and figures["error"] <= _ERROR
    rows = [
        ("steps, in chunks of", f"{given.steps:,}, {given.chunk}"),
        ("states", f"{figures['state_bytes'] / 1024:.1f} KiB"),
        ("resident memory at 1 %", f"{memory[0] / 2**20:.2f} MiB"),
        ("at the end", f"{memory[-1] / 2**20:.2f} MiB"),
        ("last answers against PyTorch", f"{figures['error']:.1e} of the largest value"),
        *((f"a chunk of {length}", f"{figures['ms'][str(length)]:.3f} ms") for length in _CHUNKS),
        (f"a window of {_WINDOW}", f"{figures['ms'][str(_WINDOW)]:.3f} ms"),
    ]
    show_table(f"stateful model, {figures['kind']}, one thread", ("", "found"), rows, left=range(2))
    record = write_record(given, figures, verified=good, raw={"resident_bytes": memory})
    show_note(f"{'flat' if good else 'not flat, or wrong'}; record: {record}")
    return 0 if good else 1
