"""The whole network on the GPU: PyTorch eager and compiled, our ops in PyTorch and in a CUDA graph."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.bench import TOLERANCE, Bench, distance, require_close
from benchmarks.gpu.mstb import batches_of, launch_floor
from benchmarks.gpu.timing import summary
from mimamba_edge.contract import DEFAULT_FAMILY, LOGITS
from mimamba_edge.errors import GateError, MimambaError
from mimamba_edge.family import family_named
from mimamba_edge.parity.windows import WindowSet

__all__ = ["BATCHES", "GRAPHS", "RUNNERS", "Network", "load_network", "measure_network"]

BATCHES = (1, 8, 64, 512)
EAGER, COMPILED, REDUCED = "PyTorch eager", "torch.compile", "torch.compile reduce-overhead"
OURS, GRAPH, FUSED = "our ops", "our ops, CUDA graph", "our ops, torch.compile reduce-overhead"
RUNNERS = (EAGER, GRAPH, FUSED, OURS, REDUCED, COMPILED)
GRAPHS = (GRAPH, FUSED)
"""Ours without the host in between; the second lets PyTorch fuse what stands around our ops."""
_CHECKED = 32
_RUNS, QUICK_RUNS = 1000, 200
_WARM_S, _TIMED_S = 25.0, 4.0
"""Compiling what depends on the windows can go on for ever: no runner of one batch gets more."""

Forward = Callable[[Any], Any]


class Network:
    """A model on the device, what the oracle says of it, and the windows it is fed.

    Args:
        bench: What is at hand.
        model: On the CPU.
        windows: What it is fed.
        origin: For the record: where its weights come from.
    """

    def __init__(self, bench: Bench, model: Any, windows: WindowSet, origin: str) -> None:
        self.windows, self.origin, self.config = windows, origin, model.config.to_dict()
        family = family_named(model.family)
        # Compared are windows that have one right answer: rounding decides the others either way.
        clear = windows.data[family.tie_gaps(windows.data, self.config) > 1e-5]
        self.some = clear[np.linspace(0, len(clear) - 1, min(_CHECKED, len(clear))).astype(int)]
        state = {key: value.numpy() for key, value in model.state_dict().items()}
        self.wanted = family.oracle(self.some, state, self.config)[LOGITS]
        self.plain = model.plain().to(bench.device)
        self.frozen = model.frozen().to(bench.device)


def load_network(bench: Bench, checkpoint: Path | None, windows_of: Callable[[int], WindowSet]) -> Network:
    """Return the checkpoint's network, or the default one as it is before training.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        MimambaError: It wants other channels than the windows have.
    """
    from mimamba_edge.export.checkpoint import load_checkpoint

    if checkpoint is None:
        bench.torch.manual_seed(0)
        sizes = {"n_chans": 4, "n_times": 128, "n_outputs": 2, "sfreq": 128.0}
        model = family_named(DEFAULT_FAMILY).network(sizes)
        origin = "default configuration, untrained"
    else:
        model, origin = load_checkpoint(checkpoint).build(), checkpoint.name
    windows = windows_of(model.config.n_times)
    if windows.data.shape[1] != model.config.n_chans:
        raise MimambaError(
            "the checkpoint wants other channels than the windows have",
            got=f"{model.config.n_chans} channels",
            expected=windows.data.shape[1],
            do="name a model of the default channels, or none",
        )
    return Network(bench, model, windows, origin)


def forward_of(bench: Bench, network: Network, name: str, example: Any) -> Forward:
    """Return a runner as a function of windows ``(b, n_chans, n_times)`` on the device."""
    torch = bench.torch
    if name == EAGER:
        return network.plain  # type: ignore[no-any-return]
    if name == OURS:
        return network.frozen  # type: ignore[no-any-return]
    if name in (COMPILED, REDUCED, FUSED):
        torch._dynamo.reset()
        model = network.frozen if name == FUSED else network.plain
        compiled = torch.compile(model, mode="default" if name == COMPILED else "reduce-overhead")

        def step(x: Any) -> Any:
            torch.compiler.cudagraph_mark_step_begin()
            return compiled(x)

        return step
    held, outputs = example.clone(), []
    replay = bench.timer.capture([lambda: outputs.append(network.frozen(held))])

    def run(x: Any) -> Any:
        held.copy_(x)
        replay()
        return outputs[-1]

    return run


@contextlib.contextmanager
def _quiet(torch: Any) -> Iterator[None]:
    # torch warns of its own deprecations, and that it does not compile the Fourier transform.
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        yield


def _check(bench: Bench, network: Network, forward: Forward, batch: int) -> float:
    """Return the error of the logits, run in batches of the size that is timed."""
    count = -(-len(network.some) // batch) * batch
    padded = network.some[np.arange(count) % len(network.some)].reshape(-1, batch, *network.some.shape[1:])
    got = [forward(bench.torch.from_numpy(x).to(bench.device)).float().cpu().numpy() for x in padded]
    return distance(np.concatenate(got)[: len(network.some)], network.wanted)


def measure_network(bench: Bench, network: Network, name: str, batch: int) -> dict[str, Any]:
    """Verify one runner at one batch, time it, and return its row of the record.

    A runner that cannot run here gets a row that says why.

    Raises:
        GateError: Its logits are wrong.
    """
    row: dict[str, Any] = {"runner": name, "b": batch, "model": network.origin}
    row["windows"] = network.windows.to_dict()
    torch = bench.torch
    with _quiet(torch):
        staged = torch.from_numpy(batches_of(network.windows.data, batch)).to(bench.device)
        try:
            forward = forward_of(bench, network, name, staged[0])
            nodes = getattr(bench.timer, "nodes", None) if name == GRAPH else None
            row["warm_up"] = _warm_up(bench, forward, staged)
            row["errors"] = {"logits": _check(bench, network, forward, batch)}
        except GateError:
            raise
        except Exception as error:  # whatever torch.compile may raise: the others still run
            said = str(error).strip().splitlines()
            return {**row, "why_not": f"{type(error).__name__}: {said[0] if said else ''}"}
        require_close(f"{name}, batch {batch}", row["errors"]["logits"], TOLERANCE["float32"])
        compute, latency = _time(bench, forward, staged)
    row |= {"compute": summary(compute), "latency": summary(latency)}
    if nodes:
        row |= {"nodes": nodes, "floor": launch_floor(bench, nodes)}
    return row


def _warm_up(bench: Bench, forward: Forward, staged: Any) -> dict[str, Any]:
    """Run until every batch was seen or time is up; what compiles is then compiled, as far as it ever is."""
    started, until = time.monotonic(), min(_WARM_S, bench.deadline.left() / 2)
    runs = 0
    for x in staged:
        forward(x)
        runs += 1
        bench.timer.wait()
        if time.monotonic() - started > until:
            break
    return {"seconds": round(time.monotonic() - started, 2), "runs": runs, "all_seen": runs == len(staged)}


def _time(bench: Bench, forward: Forward, staged: Any) -> tuple[list[float], list[float]]:
    """Return the device's time of each run, and the time from the call until the result is there."""
    compute: list[float] = []
    latency: list[float] = []
    runs = QUICK_RUNS if bench.quick else _RUNS
    for taken in (compute, latency):
        started = time.monotonic()
        for index in range(runs):
            x = staged[index % len(staged)]
            if taken is compute:
                taken.append(bench.timer.seconds(partial(forward, x), 1))
            else:
                bench.timer.wait()
                begun = time.perf_counter()
                forward(x)
                bench.timer.wait()
                taken.append(time.perf_counter() - begun)
            if time.monotonic() - started > _TIMED_S:
                break
    return compute, latency
