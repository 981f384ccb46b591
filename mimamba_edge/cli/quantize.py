"""``mimamba-edge quantize``: fp16 and INT8 files, published only if they are worth having."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mimamba_edge.cli.options import Json, Report, deliver, need_paths
from mimamba_edge.errors import GateError


def quantize(
    model: Annotated[
        Path, typer.Argument(help="Model to quantise: the portable fp32 NAME.onnx that `export` wrote.")
    ],
    to: Annotated[str, typer.Option(help="Precision to make: fp16 or int8.")],
    target: Annotated[
        str | None, typer.Option(help="Where an int8 model will run: cpu (default) or tensorrt.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Recording, or folder of recordings, for INT8 calibration and for the checks."),
    ] = None,
    method: Annotated[
        str, typer.Option(help="How INT8 ranges are chosen: mse, percentile or minmax.")
    ] = "mse",
    folds: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the fold checkpoints that `train` wrote; default: looked for near the model."
        ),
    ] = None,
    sensitivity: Annotated[
        bool,
        typer.Option("--sensitivity", help="Also rank the ops by the error that INT8 causes at each."),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File to write; default: NAME.fp16.onnx, NAME.int8-cpu.onnx or NAME.int8.onnx.",
        ),
    ] = None,
    json: Json = False,
    report: Report = None,
    html: Annotated[Path | None, typer.Option(help="Write the result as a web page.")] = None,
) -> None:
    """Make a model of lower precision and verify it.

    If it is not accurate enough or not faster, no file is written and the exit code is 1.
    """
    from mimamba_edge.console import progress, show_note, show_table
    from mimamba_edge.optional_packages import need_export
    from mimamba_edge.outputs import ARTEFACT, check_outputs, page_of, report_of, write_page
    from mimamba_edge.parity import MIN_WINDOWS, missed

    need_export("quantize")
    need_paths(model, data, folds)
    with progress("loading", total=None) as bar:
        from mimamba_edge.export.onnx.export import files_of
        from mimamba_edge.export.quantize.pipeline import Request, load, output_for, rank_ops
        from mimamba_edge.export.quantize.pipeline import quantize as make
        from mimamba_edge.export.quantize.recipes import recipe_for
        from mimamba_edge.export.quantize.report import RANKING_HEADER, about, render_page, to_rows
        from mimamba_edge.export.quantize.sensitivity import rank_rows
        from mimamba_edge.export.quantize.verdict import forget, keep, standing
        from mimamba_edge.runtime.reference import reference_path

        recipe = recipe_for(to, target)
        # That it is one that can be quantised comes before where its files would go.
        sha256 = load(model)[1].sha256
        out = output_for(model, recipe, output)
        files_made = files_of(out)
        read = [model, *(path for path in (data, folds) if path is not None)]
        shared = reference_path(out).resolve() == reference_path(model).resolve()
        outputs = [(path, ARTEFACT) for path in files_made[: 2 if shared else 3]]
        asked = [(report, report_of("quantize")), (html, page_of("quantize"))]
        check_outputs([*outputs, *asked], read)
        request = Request(model, out, recipe, data, method, folds)
        if not (sensitivity or json or report or html) and (refused := standing(request, sha256)):
            raise GateError(
                f"{out} was refused before, and neither model, recordings, versions nor machine have changed",
                got=refused[1].reasons,
                do=f"{recipe.advice}; to judge it again, remove {refused[0]}",
            )
        ranking = rank_ops(request, bar) if sensitivity else None
        evaluation, files = make(request, bar)
    result = about(request, evaluation, files, ranking)
    if ranking is not None:
        show_table("", RANKING_HEADER, rank_rows(ranking), left=(0, 3))
    title, rows = f"{recipe.name} of {model} against fp32", to_rows(evaluation)
    show_table(title, ("check", "value", "bound", "verdict"), rows, left=range(4))
    show_note(f"{evaluation.windows}")
    signal = evaluation.parity.top1_agreement is not None
    if signal and (evaluation.windows.kind != "recordings" or len(evaluation.windows.data) < MIN_WINDOWS):
        show_note(f"to quote these figures use --data with recordings of at least {MIN_WINDOWS} windows")
    for path in files:
        show_note(f"wrote {path}")
        forget(request)
    deliver("quantize", result, json, report)
    if html is not None:
        write_page(html, "quantize", render_page(result, rows, ranking))
        show_note(f"page: {html}")
    if not files:
        if kept := keep(request, sha256, evaluation):
            show_note(f"verdict: {kept}")
        reasons = missed(evaluation.checks, values=True)
        raise GateError(
            f"{out} was not written: it is below the acceptance limits", got=reasons, do=recipe.advice
        )
