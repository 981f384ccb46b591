"""``mimamba-edge build``: from a model's file for TensorRT to a verified engine for this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mimamba_edge.cli.options import Json, Report, deliver


def build(
    model: Annotated[
        Path, typer.Argument(help="Model to build from: the NAME.trt.onnx that `export` wrote.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Engine to write, PATH.plan; default: NAME.plan beside the model.",
        ),
    ] = None,
    batch: Annotated[
        str, typer.Option(help="Batch size: one number, or LEAST,BEST,MOST such as 1,8,64.")
    ] = "1",
    rebuild_if_stale: Annotated[
        bool,
        typer.Option(
            "--rebuild-if-stale",
            help="Build only if the engine does not fit this machine; it stays until a new one is verified.",
        ),
    ] = False,
    json: Json = False,
    report: Report = None,
) -> None:
    """Build a TensorRT engine for this machine and verify it.

    If its answers are wrong, no file is written and the exit code is 1.
    """
    from mimamba_edge.console import show_note
    from mimamba_edge.outputs import ARTEFACT, check_outputs, report_of
    from mimamba_edge.trt.batch import Batch
    from mimamba_edge.trt.build import build_plan, plan_path

    sizes = Batch.parse(batch)
    target = plan_path(model) if output is None else output
    check_outputs([(target, ARTEFACT), (report, report_of("build"))], [model])
    engine = build_plan(
        model, target, batch=sizes, only_if_stale=rebuild_if_stale, show=True, on_note=show_note
    )
    held = engine.manifest.engine
    where = (
        f"{held['device']} (sm_{held['sm']}, {held['sm_count']} multiprocessors), TensorRT {held['tensorrt']}"
    )
    if engine.built:
        size = engine.plan.stat().st_size / 1024
        show_note(f"{engine.plan}: {size:,.0f} KiB, batch {sizes}, for {where}")
        show_note(f"built and verified in {engine.seconds:.1f} s")
    else:
        show_note(f"{engine.plan} fits {where}: nothing to do")
    result = {
        "plan": str(engine.plan),
        "built": engine.built,
        "seconds": engine.seconds,
        "engine": held,
        "sha256": engine.manifest.sha256,
        "verification": engine.manifest.verification,
    }
    deliver("build", result, json, report)
