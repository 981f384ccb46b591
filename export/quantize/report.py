"""The verdict on an artefact of lower precision, as rows, JSON and a page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from mimamba_edge.bench import environment
from mimamba_edge.bench.document import document, scroll_table, tiles
from mimamba_edge.export.quantize.evaluate import Evaluation
from mimamba_edge.export.quantize.pipeline import CALIBRATION, Request
from mimamba_edge.export.quantize.sensitivity import Cost, rank_rows, to_dicts

__all__ = ["RANKING_HEADER", "about", "render_page", "to_rows"]

RANKING_HEADER = ("INT8 at this op alone", "SQNR", "same class", "quantised for")
_VERDICT = {True: "passed", False: "missed", None: "not measured"}


def to_rows(evaluation: Evaluation) -> list[tuple[str, str, str, str]]:
    """Return the verdict as rows: check, value, bound, verdict."""
    parity, size = evaluation.parity, evaluation.size_bytes
    fp32, other = size.values()
    classes = parity.top1_agreement is not None  # else a model of tensors
    plain = [
        (f"largest error of max |{'logit' if classes else 'output'}|", _number(parity.max_rel_err), "", ""),
        *([("mean KL divergence", _number(parity.mean_kl), "", "")] if classes else []),
        ("size", f"{other / 1024:,.0f} KiB, fp32 {fp32 / 1024:,.0f} KiB", "", ""),
    ]
    return [(c.name, c.value, c.bound, _VERDICT[c.passed]) for c in evaluation.checks] + plain


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.2e}"


def about(
    request: Request, evaluation: Evaluation, files: Sequence[Path], ranking: list[Cost] | None
) -> dict[str, Any]:
    """Return the report in plain JSON types."""
    return {
        "recipe": request.recipe.name,
        "precision": request.recipe.precision,
        "runs_in": request.recipe.runs_in,
        "model": str(request.model),
        "published": [str(path) for path in files],
        "calibration": {
            "data": None if request.calib is None else str(request.calib),
            "windows": CALIBRATION if request.recipe.calibrated else 0,
            "method": request.method if request.recipe.calibrated else None,
        },
        **evaluation.to_dict(),
        "sensitivity": None if ranking is None else to_dicts(ranking),
        "environment": environment.describe(),
    }


def render_page(report: dict[str, Any], rows: Sequence[Sequence[str]], ranking: list[Cost] | None) -> str:
    """Return the report as one page that needs nothing else: no script, no font, no network."""
    env, windows = report["environment"], report["windows"]
    verdict = "written" if report["published"] else "refused: below the acceptance limits"
    version = escape(str(env["versions"]["mimamba-edge"]))
    body = f"""<p class="sub">Against the fp32 file on {windows["count"]} windows
from {escape(windows["source"])} ({escape(windows["kind"])}).</p>
{_tiles(report)}
<h2>Verdict</h2>{_table(("check", "value", "bound", "verdict"), rows)}"""
    if ranking is not None:
        body += f"\n<h2>Sensitivity</h2>{_table(RANKING_HEADER, rank_rows(ranking))}"
    return document(
        f"{report['recipe']} of {Path(report['model']).name}",
        f"{verdict} · {env['device']} · {env['time'][:10]}",
        body,
        f"""Written by mimamba-edge {version}. All figures are in the JSON
report (<code>--report</code>).""",
    )


def _tiles(report: dict[str, Any]) -> str:
    parity, speed, accuracy = report["parity"], report["speed"], report["accuracy"]
    ratio = "not finite" if parity["sqnr_db"] is None else f"{parity['sqnr_db']:.1f} dB"
    same = parity["top1_agreement"]
    figures = [(ratio, "SQNR of the outputs" if same is None else "SQNR of the logits")]
    if same is not None:
        figures.append((f"{same:.2%}", "of the windows get the same class"))
    if speed is not None:
        figures.append((f"{speed['ratio']:.2f} ×", "as fast as fp32, batch 1, one thread"))
    if accuracy is not None:
        figures.append((str(accuracy["net_loss"]), f"fewer of {accuracy['n_trials']} held-out trials right"))
    return tiles(figures)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return scroll_table(header, (("", cells) for cells in rows), "words")
