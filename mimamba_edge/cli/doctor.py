"""``mimamba-edge doctor``: whether this machine can do what it is meant to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mimamba_edge.cli.options import Json


def doctor(
    model: Annotated[
        Path | None, typer.Argument(help="Also look at the files of a model: the portable NAME.onnx.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            help="Write what was found and the machine as JSON for an issue tracker, without serial numbers, "
            "names, addresses and folders of this user."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Check this installation and this machine, and the files of a model.

    Exit code 1 if something is wrong.
    """
    from mimamba_edge import __version__
    from mimamba_edge.bench.environment import describe
    from mimamba_edge.console import print_json, show_table
    from mimamba_edge.doctor.checks import examine
    from mimamba_edge.machine.redact import personal_texts, redacted
    from mimamba_edge.outputs import check_outputs, report_of, write_report

    check_outputs([(report, report_of("doctor"))], [] if model is None else [model])
    found = examine(model)
    wrong = any(finding.state == "wrong" for finding in found)
    result = {"mimamba_edge": __version__, "ok": not wrong, "checks": [vars(f) for f in found]}
    if report is not None:
        write_report(report, "doctor", redacted({**result, "environment": describe()}, personal_texts()))
    if json:
        print_json(result)
    rows = [(f.name, f.state, f.value, f.remedy) for f in found]
    show_table(f"mimamba-edge {__version__}", ("", "state", "found", "do this"), rows, left=range(4))
    if wrong:
        raise typer.Exit(1)
