"""From runners to a verdict: windows run in batches that a runner takes, and the answers judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.parity.compare import Parity, check_contracts, compare_outputs
from mimamba_edge.parity.gates import gate_for
from mimamba_edge.parity.windows import WindowSet
from mimamba_edge.runtime.base import Arrays, Runner
from mimamba_edge.signal.scaling import ScaledWindows

__all__ = ["compare", "figures", "run_all", "verify"]

OnStep = Callable[[int], None]
"""Called with the number of windows done since the last call."""
_BATCH = 64


def figures(windows: WindowSet, parity: Parity) -> dict[str, Any]:
    """Return what a manifest says of an artefact's verification, JSON-ready."""
    return {"windows": windows.to_dict(), "checks": [vars(check) for check in parity.checks]}


def run_all(
    runner: Runner,
    windows: NDArray[np.float32] | ScaledWindows,
    *,
    batch: int = _BATCH,
    fill: bool = False,
    on_step: OnStep = lambda _: None,
) -> Arrays:
    """Run all windows ``(n, c, l)`` in batches that the runner takes and return the joined outputs.

    A last batch that is too small for the runner is filled with the first windows; their second answers are
    left out.

    Args:
        runner: An active one.
        windows: At least one.
        batch: Windows at a time, as far as the runner takes that many.
        fill: Fill every batch, so that no smaller one is run.
        on_step: See :data:`OnStep`.
    """
    parts: list[Arrays] = []
    n = len(windows)
    batch = max(min(batch, runner.most_batch or batch), runner.least_batch)
    for start in range(0, n, batch):
        new = min(batch, n - start)
        size = batch if fill else max(new, runner.least_batch)
        taken = windows[start : start + size]
        if len(taken) < size:
            taken = np.ascontiguousarray(windows[np.arange(start, start + size) % n])
        part = runner.infer({runner.signature.input.name: taken})
        parts.append({name: value[:new] for name, value in part.items()})
        on_step(new)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def verify(
    runner: Runner,
    expected: Arrays,
    windows: NDArray[np.float32],
    *,
    precision: str = "fp32",
    batches: Sequence[int] | None = None,
    on_step: OnStep = lambda _: None,
) -> Parity:
    """Run an active runner on windows and judge its answers by the right ones.

    Args:
        runner: Whose answers are judged.
        expected: The right ones by name, ``(n, ...)`` each.
        windows: ``(n, n_chans, n_times)`` float32, scaled.
        precision: What the right ones were computed in.
        batches: Batch sizes to judge it at, all windows at each, in full batches; by default one that suits
            the runner.
        on_step: See :data:`OnStep`.

    Raises:
        RunnerError: The runner failed.
        DataError: Nothing is left to compare.
    """
    fill = batches is not None
    runs = [run_all(runner, windows, batch=size, fill=fill, on_step=on_step) for size in batches or (_BATCH,)]
    got = {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}
    repeated = np.tile(np.arange(len(windows)), len(runs))
    right = {name: value[repeated] for name, value in expected.items()}
    gate = gate_for(precision, runner.precision)
    return compare_outputs(right, got, windows[repeated], runner.promise, gate)


def compare(
    reference: Runner,
    candidate: Runner,
    windows: NDArray[np.float32],
    *,
    batch: int = _BATCH,
    on_step: OnStep = lambda _: None,
) -> Parity:
    """Run both (already activated) runners on the windows and judge the candidate.

    Args:
        reference: Whose answers count as right.
        candidate: The other one.
        windows: ``(n, n_chans, n_times)`` float32, scaled.
        batch: Windows at a time.
        on_step: See :data:`OnStep`.

    Raises:
        ContractError: The two do not fit each other.
        RunnerError: One of them failed.
    """
    check_contracts(reference, candidate)
    right = run_all(reference, windows, batch=batch, on_step=on_step)
    got = run_all(candidate, windows, batch=batch, on_step=on_step)
    return compare_outputs(
        right, got, windows, reference.promise, gate_for(reference.precision, candidate.precision)
    )
