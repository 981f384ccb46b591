"""Latency distributions as inline SVG: one histogram a row, all on one logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from mimamba_edge.bench.table import milliseconds

__all__ = ["LEGEND", "chart", "is_ours"]

_BINS = 96

LEGEND = """<ul class="key ours">
<li><svg viewBox="0 0 18 12"><path class="area" d="M1 11 L5 3 L9 6 L17 11 Z"/></svg>share of runs</li>
<li><svg viewBox="0 0 18 12"><path class="p50" d="M9 0V12"/></svg>p50</li>
<li><svg viewBox="0 0 18 12"><path class="p99" d="M9 0V12"/></svg>p99</li>
<li><svg viewBox="0 0 18 12"><circle cx="9" cy="6" r="4" fill="none" stroke="var(--mark)" stroke-width="2"/>
</svg>max</li>
<li><svg viewBox="0 0 18 12"><path class="floor" d="M9 0V12"/></svg>sgemm, as many multiply-adds</li>
</ul>"""


def is_ours(row: dict[str, Any]) -> bool:
    """Return whether a row is one of an exported file, which the page sets off from the PyTorch ones."""
    return not str(row["runner"]).startswith("torch")


class _Axis:
    """A logarithmic axis from ``low`` to ``high`` milliseconds, in per cent of the width."""

    def __init__(self, low: float, high: float) -> None:
        pad = (high / low) ** 0.03 if high > low else 1.1
        self.low, self.high = low / pad, high * pad

    def at(self, ms: float) -> float:
        return 100 * math.log(ms / self.low) / math.log(self.high / self.low)

    def ticks(self) -> list[float]:
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        decades = range(first, last + 1)
        steps: tuple[int, ...] = (1, 2, 5) if self.high / self.low < 300 else (1,)
        every = [m * 10.0**d for d in decades for m in steps]
        return [t for t in every if self.low <= t <= self.high]


def chart(rows: Sequence[dict[str, Any]], floor_ms: float | None) -> str:
    """Return the distributions of the rows of one batch size as HTML.

    Args:
        rows: Rows of a record; those without times are listed with their reason.
        floor_ms: Floor of one run, or ``None``.
    """
    timed = [row for row in rows if row["p50_ms"] is not None]
    if not timed:
        return "".join(_without(row) for row in rows)
    low = min(row["min_ms"] for row in timed)
    if floor_ms is not None:
        low = min(low, floor_ms)
    axis = _Axis(low, max(row["max_ms"] for row in timed))
    lines = "".join(f'<path class="gridline" d="M{axis.at(t) * 10:.2f} 0V100"/>' for t in axis.ticks())
    if floor_ms is not None:
        lines += f'<path class="floor" d="M{axis.at(floor_ms) * 10:.2f} 0V100"/>'
    body = "".join(_with(row, axis, lines) if row["p50_ms"] is not None else _without(row) for row in rows)
    ticks = "".join(f'<span style="left:{axis.at(t):.2f}%">{t:g}</span>' for t in _apart(axis))
    unit = '<span class="at-start" style="left:0;top:1.3rem">ms a run, logarithmic</span>'
    return f'{body}<div class="row"><div class="axis-pad"></div><div class="axis">{ticks}{unit}</div></div>'


def _apart(axis: _Axis) -> list[float]:
    """Return the ticks whose labels do not run into each other or over the edge."""
    out: list[float] = []
    for tick in axis.ticks():
        if 2 < axis.at(tick) < 97 and (not out or axis.at(tick) - axis.at(out[-1]) > 7):
            out.append(tick)
    return out


def _name(row: dict[str, Any], text: str) -> str:
    model = escape(Path(row["artifact"]).name)
    return f'<div class="name"><b>{escape(row["runner"])}</b> <i>{model}</i><span>{text}</span></div>'


def _without(row: dict[str, Any]) -> str:
    why = escape(row["why_not"] or "not timed")
    return f'<div class="row">{_name(row, "")}<div class="none">{why}</div></div>'


def _with(row: dict[str, Any], axis: _Axis, lines: str) -> str:
    ms = np.array(row["latencies_ms"])
    edges = np.geomspace(axis.low, axis.high, _BINS + 1)
    counts = np.histogram(ms, edges)[0]
    first, last = np.flatnonzero(counts)[[0, -1]]
    height = 92 * counts / counts.max()
    step = 1000 / _BINS
    points = [f"M{first * step:.1f} 100"]
    points += [f"V{100 - height[i]:.1f}H{(i + 1) * step:.1f}" for i in range(first, last + 1)]
    area = "".join(points) + "V100Z"
    p50, p99, top = (row[key] for key in ("p50_ms", "p99_ms", "max_ms"))
    figures = f"p50 {milliseconds(p50)} · p99 {milliseconds(p99)} · max {milliseconds(top)} ms"
    title = f"{row['runner']}: {figures}, {row['n_runs']} runs, {row['outliers']} outliers kept"
    return (
        f'<div class="row {"ours" if is_ours(row) else "other"}">{_name(row, figures)}'
        f'<div class="plot"><svg viewBox="0 0 1000 100" preserveAspectRatio="none" role="img">'
        f"<title>{escape(title)}</title>{lines}"
        f'<path class="area" d="{area}"/>'
        f'<path class="p50" d="M{axis.at(p50) * 10:.2f} 0V100"/>'
        f'<path class="p99" d="M{axis.at(p99) * 10:.2f} 30V100"/></svg>'
        f'<i class="max" style="left:{axis.at(top):.2f}%"></i></div></div>'
    )
