"""The verdict on an artefact of lower precision, as rows, JSON and a page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from mimamba_edge.bench import environment
from mimamba_edge.bench.style import STYLE
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
    plain = [
        ("largest error of max |logit|", _number(parity.max_rel_err), "", ""),
        ("mean KL divergence", _number(parity.mean_kl), "", ""),
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
    env = report["environment"]
    title = f"{report['recipe']} of {Path(report['model']).name}"
    verdict = "written" if report["published"] else "refused: not worth having"
    sub = f"{verdict} · {env['device']} · {env['time'][:10]}"
    windows = report["windows"]
    more = ""
    if ranking is not None:
        more = (
            f'<h2>Sensitivity</h2><div class="card scroll">{_table(RANKING_HEADER, rank_rows(ranking))}</div>'
        )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{STYLE}{_MORE_STYLE}</style></head><body><main>
<h1>{escape(title)}</h1><p class="sub">{escape(sub)}</p>
<p class="sub">Against the fp32 file on {windows["count"]} windows from {escape(windows["source"])}
({escape(windows["kind"])}).</p>
{_tiles(report)}
<h2>Verdict</h2><div class="card scroll">{_table(("check", "value", "bound", "verdict"), rows)}</div>
{more}
<footer>Written by mimamba-edge {escape(str(env["versions"]["mimamba-edge"]))}. All figures are in the JSON
report (<code>--json</code>).</footer></main></body></html>
"""


_MORE_STYLE = """
td:nth-child(n), th:nth-child(n) { text-align: left; white-space: normal; }
td.passed { color: var(--good); } td.missed { color: var(--bad); font-weight: 600; }
"""


def _tiles(report: dict[str, Any]) -> str:
    parity, speed, accuracy = report["parity"], report["speed"], report["accuracy"]
    tiles = [
        ("not finite" if parity["sqnr_db"] is None else f"{parity['sqnr_db']:.1f} dB", "SQNR of the logits")
    ]
    tiles.append((f"{parity['top1_agreement']:.2%}", "of the windows get the same class"))
    if speed is not None:
        tiles.append((f"{speed['ratio']:.2f} ×", "as fast as fp32, batch 1, one thread"))
    if accuracy is not None:
        tiles.append((str(accuracy["net_loss"]), f"of {accuracy['n_trials']} trials lost, net, out of fold"))
    cells = "".join(f'<div class="tile"><b>{escape(a)}</b><span>{escape(b)}</span></div>' for a, b in tiles)
    return f'<div class="tiles">{cells}</div>'


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="{cell if cell in ("passed", "missed") else ""}">{escape(cell)}</td>' for cell in row
        )
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
