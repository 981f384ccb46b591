"""Whether a plan gives the checkpoint's answers: judged before it gets its name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimamba_edge.errors import GateError

if TYPE_CHECKING:
    from mimamba_edge.runtime.reference import Reference

__all__ = ["verify_plan", "verify_plan_aloud"]


def verify_plan(plan: Path, reference: Reference, *, show: bool = False) -> dict[str, Any]:
    """Run a plan on all reference windows, at every size its profile names, and judge its answers.

    Args:
        plan: ``NAME.plan`` with its manifest.
        reference: The checkpoint's answers.
        show: Print the table whatever the verdict; else only a verdict against the plan is told.

    Returns:
        The report as plain JSON types.

    Raises:
        GateError: The answers are wrong.
        MimambaError: The plan cannot be run.
    """
    import numpy as np

    from mimamba_edge.console import progress, show_table
    from mimamba_edge.contract import LOGITS, PERIODS
    from mimamba_edge.parity import to_rows
    from mimamba_edge.parity.compare import compare_outputs
    from mimamba_edge.parity.gates import gate_for
    from mimamba_edge.runtime.base import Arrays
    from mimamba_edge.trt.plan import PlanManifest
    from mimamba_edge.trt.runner import TensorRtRunner

    manifest = PlanManifest.load(plan)
    batch, n = manifest.batch, len(reference.windows)
    sizes = sorted({batch.least, batch.best, batch.most})
    got = []
    with progress(f"verifying {plan.name}", total=len(sizes) * n) as bar, TensorRtRunner(plan) as runner:
        for size in sizes:
            for start in range(0, n, size):
                # The last batch is filled up, because an engine need not take smaller ones.
                taken = np.arange(start, start + size) % n
                answers = runner.logits(np.ascontiguousarray(reference.windows[taken]))
                got.append(answers[: n - start])
                bar.advance(len(got[-1]))
    repeated = np.tile(np.arange(n), len(sizes))
    right: Arrays = {LOGITS: reference.logits[repeated], PERIODS: reference.periods[repeated]}
    gate = gate_for("fp32", manifest.precision)
    windows = reference.windows[repeated]
    report = compare_outputs(right, {LOGITS: np.concatenate(got)}, windows, manifest.contract, gate)
    if show or not report.passed:
        title = f"{plan.name} against the checkpoint on {n} reference windows, batch {batch}"
        show_table(title, ("check", "value", "bound", "verdict"), to_rows(report), left=range(4))
    if not report.passed:
        missed = ", ".join(check.name for check in report.checks if check.passed is False)
        raise GateError(
            f"the engine's answers are wrong: {plan.name} was not written",
            got=f"missed: {missed}",
            do="build the plugin for this machine again (mimamba-edge plugin build), then the plan",
        )
    return {"windows": n, "batches": sizes, **report.to_dict()}


def verify_plan_aloud(plan: Path, reference: Reference) -> dict[str, Any]:
    """As :func:`verify_plan`, and show the table."""
    return verify_plan(plan, reference, show=True)
