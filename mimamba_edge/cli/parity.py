"""``mimamba-edge parity``: whether two models give the same answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mimamba_edge.cli.options import Json, Report, count, deliver, need_paths
from mimamba_edge.errors import GateError


def parity(
    reference: Annotated[
        str, typer.Argument(help="Reference model: .pt, .onnx, .plan or oracle:FILE.pt (float64 NumPy).")
    ],
    candidate: Annotated[str, typer.Argument(help="Model to compare with the reference.")],
    data: Annotated[
        Path | None, typer.Option(help="Recording, or folder of recordings, to take the windows from.")
    ] = None,
    hop: Annotated[
        int | None, count("Samples from the start of one window to the next in --data.", most=10**9)
    ] = None,
    limit: Annotated[int | None, count("Compare at most this many windows.", most=10**9)] = None,
    provider: Annotated[
        str, typer.Option(help="What runs .onnx files: cpu, cuda or tensorrt (builds an engine first).")
    ] = "cpu",
    bisect: Annotated[
        bool,
        typer.Option(
            "--bisect", help="Name the first ONNX node whose values differ by more than its tolerance."
        ),
    ] = False,
    json: Json = False,
    report: Report = None,
) -> None:
    """Compare two models on the same windows.

    Exit code 1 if they differ by more than the acceptance limits.
    """
    from mimamba_edge.bench.environment import versions
    from mimamba_edge.console import progress, show_note, show_table
    from mimamba_edge.contract import Contract
    from mimamba_edge.export.diagnose.command import find_first, show
    from mimamba_edge.load import EXPORTED, load_model
    from mimamba_edge.outputs import check_outputs, report_of
    from mimamba_edge.parity import MIN_WINDOWS, check_contracts, compare, find_windows, missed, to_rows

    inputs = [spec.removeprefix("oracle:") for spec in (reference, candidate)]
    need_paths(*inputs, data)
    check_outputs([(report, report_of("parity"))], [*inputs, *([] if data is None else [data])])
    a, b = (load_model(spec, provider=provider, auxiliary=True) for spec in (reference, candidate))
    differing = check_contracts(a, b)
    exported = next((Path(spec) for spec in (candidate, reference) if spec.endswith(EXPORTED)), None)
    windows = find_windows(a.promise, data=data, hop=hop, limit=limit, artifact=exported)
    with progress(f"parity on {len(windows.data)} windows", total=2 * len(windows.data)) as bar, a, b:
        compared = compare(a, b, windows.data, on_step=bar.advance)
    title = f"{b.artifact} ({b.kind}) against {a.artifact} ({a.kind})"
    show_table(title, ("check", "value", "bound", "verdict"), to_rows(compared), left=range(4))
    show_note(f"{windows}")
    signal = isinstance(a.promise, Contract)
    if signal and (windows.kind != "recordings" or len(windows.data) < MIN_WINDOWS):
        show_note(f"to quote these figures use --data and at least {MIN_WINDOWS} windows (--hop)")
    for flip in compared.class_flips:
        show_note("class differs: " + ", ".join(f"{key} {value}" for key, value in flip.items()))
    if differing:
        show_note(f"the contracts also differ in {', '.join(differing)}: a stream would show it")
    found, named = None, ""
    if bisect:
        with progress("bisect") as bar:
            flips = [flip["window"] for flip in compared.class_flips]
            found = find_first(reference, candidate, windows, flips, bar)
        named = show(found)
    runners = [{"artifact": r.artifact, "kind": r.kind, "precision": r.precision} for r in (a, b)]
    about = {"data": windows.to_dict(), "hop": windows.hop, "runners": runners, "versions": versions()}
    more = {"contract_differences": differing, "bisect": found}
    deliver("parity", {**compared.to_dict(), **about, **more}, json, report)
    if not compared.passed:
        got = f"missed: {missed(compared.checks)}"
        raise GateError(f"{candidate} does not agree with {reference}", got=got, do=_where(named))
    if named:
        raise GateError(f"a node of {candidate} is not that of {reference}", got=named)


def _where(named: str) -> str | None:
    return f"look at {named}" if named else None
