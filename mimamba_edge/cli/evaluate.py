"""``mimamba-edge evaluate``: accuracy on trials that a model never saw, beside baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mimamba_edge.cli.options import Json, Report, count, deliver, minutes, need_paths


def evaluate(
    model: Annotated[Path, typer.Argument(help="Model: CKPT.pt, NAME.onnx of any precision, or NAME.plan.")],
    data: Annotated[str, typer.Argument(help="Data set: that of the training, or one of other recordings.")],
    protocol: Annotated[
        str | None,
        typer.Option(
            help="How trials are held out: within-session, leave-one-run-out, cross-session or "
            "cross-subject, each also with +cross-stimulus; or leaky-window. Default: as in the training."
        ),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="Train this network under the same folds and seeds: eegnet, shallow, timesnet, "
            "itransformer, dlinear, or package.module:factory, whose Python code is run. "
            "May be given several times."
        ),
    ] = None,
    factory: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="For a checkpoint of `train --model`: its package.module:factory, whose Python code is run.",
        ),
    ] = None,
    calibration_minutes: Annotated[
        str | None,
        typer.Option(
            metavar="MINUTES",
            help="Also show accuracy against minutes of personal calibration, as 1,2,4: what each held-out "
            "subject, session or run gains where its first minutes adapt the model. Fits many models.",
        ),
    ] = None,
    jobs: Annotated[
        int | None, count("Number of trainings at a time; default: one on each core.", most=10_000)
    ] = None,
    engine: Annotated[str, typer.Option(help="Where they run: local or ray, as for `train`.")] = "local",
    json: Json = False,
    report: Report = None,
    html: Annotated[Path | None, typer.Option(help="Write the result as a web page with pictures.")] = None,
) -> None:
    """Score a model on trials that it never saw, beside simple baselines on the same trials.

    On the data set of its training, each trial is scored by the fold model that held it out, made into the
    same kind of file: what a lower precision costs is measured on held-out trials.
    """
    from mimamba_edge.optional_packages import need_export

    need_export("evaluate")
    import shlex
    import sys
    from dataclasses import asdict, replace

    from mimamba_edge.console import progress, show_note
    from mimamba_edge.data.dataset import open_dataset
    from mimamba_edge.outputs import check_outputs, page_of, report_of, write_page

    need_paths(model)
    asked = [] if calibration_minutes is None else minutes(calibration_minutes, "--calibration-minutes")
    dataset = open_dataset(data)
    from mimamba_edge.export.jobs.run import Engine

    where = Engine(engine, jobs)
    where.check()
    outputs = [(report, report_of("evaluate")), (html, page_of("evaluate"))]
    check_outputs(outputs, [model, data])
    with progress("loading", total=None) as bar:
        from mimamba_edge.export.evaluation import table
        from mimamba_edge.export.evaluation.page import render_page
        from mimamba_edge.export.evaluation.pipeline import evaluate as run

        found = run(
            model,
            dataset,
            protocol,
            bar,
            against=against or (),
            factory=factory,
            calibration_minutes=asked,
            engine=where,
        )
    found = replace(found, command=shlex.join(["mimamba-edge", *sys.argv[1:]]))
    table.show(found)
    deliver("evaluate", asdict(found), json, report)
    if html is not None:
        write_page(html, "evaluate", render_page(found))
        show_note(f"page: {html}")
