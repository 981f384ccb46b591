"""``mimamba-edge report``: a page or a model card from the JSON report of ``evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mimamba_edge.cli.options import Json, deliver, need_paths


def report(
    evaluation: Annotated[Path, typer.Argument(help="Report that `evaluate --report` wrote.")],
    html: Annotated[Path | None, typer.Option(help="Write a web page with pictures.")] = None,
    card: Annotated[
        Path | None,
        typer.Option(help="Write a model card, as MODEL-CARD.md. One that is there is never replaced."),
    ] = None,
    bench: Annotated[
        Path | None,
        typer.Option(help="For the card: latencies that `bench --report` wrote on the device."),
    ] = None,
    json: Json = False,
) -> None:
    """Show an evaluation again, as tables, a web page or a model card for publishing."""
    from dataclasses import asdict

    from mimamba_edge.errors import ConfigError
    from mimamba_edge.optional_packages import need_export

    need_export("report")
    need_paths(evaluation, bench)
    from mimamba_edge.console import show_note
    from mimamba_edge.export.evaluation import table
    from mimamba_edge.export.evaluation.card import render_card
    from mimamba_edge.export.evaluation.page import render_page
    from mimamba_edge.export.evaluation.reading import read_bench, read_report
    from mimamba_edge.files import write_bytes
    from mimamba_edge.outputs import CARD, check_outputs, page_of, write_page

    if bench is not None and card is None:
        raise ConfigError("--bench is for the model card", do="name the card, too: --card MODEL-CARD.md")
    check_outputs(
        [(html, page_of("evaluate")), (card, CARD)], [evaluation, *([] if bench is None else [bench])]
    )
    found = read_report(evaluation)
    latencies = None if bench is None else read_bench(bench)
    if html is None and card is None:
        table.show(found)
    if html is not None:
        write_page(html, "evaluate", render_page(found))
        show_note(f"page: {html}")
    if card is not None:
        write_bytes(card, render_card(found, latencies).encode())
        show_note(f"model card: {card}; its licence is left blank for the owner of the weights")
    deliver("report", {**asdict(found), "html": html and str(html), "card": card and str(card)}, json, None)
