"""Whether a plan gives the checkpoint's answers: judged before it gets its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mimamba_edge.console import progress, show_table
from mimamba_edge.errors import GateError
from mimamba_edge.parity.compare import missed, to_rows
from mimamba_edge.parity.verify import verify
from mimamba_edge.runtime.reference import Reference
from mimamba_edge.trt.plan import PlanManifest
from mimamba_edge.trt.runner import TensorRtRunner

__all__ = ["verify_plan"]


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
    batch, n = PlanManifest.load(plan).batch, len(reference.windows)
    sizes = sorted({batch.least, batch.best, batch.most})
    with progress(f"verifying {plan.name}", total=len(sizes) * n) as bar, TensorRtRunner(plan) as runner:
        report = verify(runner, reference.outputs, reference.windows, batches=sizes, on_step=bar.advance)
    if show or not report.passed:
        title = f"{plan.name} against the checkpoint on {n} reference windows, batch {batch}"
        show_table(title, ("check", "value", "bound", "verdict"), to_rows(report), left=range(4))
    if not report.passed:
        raise GateError(
            f"the engine's answers are wrong: {plan.name} was not written",
            got=f"missed: {missed(report.checks)}",
            do="build the plugin for this machine again (mimamba-edge plugin build), then the plan",
        )
    return {"windows": n, "batches": sizes, **report.to_dict()}
