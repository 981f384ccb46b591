"""Pictures of a report: rows of marks on one axis, confusion, reliability, shares. Markup only, no script.

Methods differ in shape, so that no colour carries a meaning alone; lengths are in per cent of the width, so
that a page of any width has the same picture and text of the same size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape

from mimamba_edge.console import printable

__all__ = ["Axis", "Line", "Mark", "curves", "key", "plain", "rows", "shares", "square"]

_SHAPES = (
    '<circle cx="6" cy="6" r="5" class="full"/>',
    '<rect x="1.5" y="1.5" width="9" height="9"/>',
    '<path d="M6 1L11 10.5H1Z"/>',
    '<path d="M6 .5L11.5 6L6 11.5L.5 6Z"/>',
    '<path d="M6 1V11M1 6H11"/>',
    '<path d="M2 2L10 10M10 2L2 10"/>',
    '<path d="M1 1.5H11L6 11Z"/>',
    '<circle cx="6" cy="6" r="4.5"/>',
    '<path d="M2 1.5H10V6L6 11L2 6Z"/>',
)
_LABELS_APART = 11.0
"""Per cent of the width between the labels of an axis."""


def plain(value: object, limit: int = 2000) -> str:
    """Return a text from outside for a page: in one line, without control characters, escaped."""
    return escape(printable(value, limit))


@dataclass(frozen=True)
class Axis:
    """A linear axis.

    Attributes:
        low: Value at the left edge.
        high: At the right edge.
        step: Between gridlines.
        unit: What stands below it.
    """

    low: float
    high: float
    step: float
    unit: str

    @classmethod
    def around(cls, values: Iterable[float], unit: str) -> Axis:
        """Return an axis that holds some values and 0."""
        held = [0.0, *values]
        low, high = min(held), max(held)
        rough = max(high - low, 0.02) / 6
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
        return cls(math.floor(low / step - 0.3) * step, math.ceil(high / step + 0.3) * step, step, unit)

    def at(self, value: float) -> float:
        """Return where a value stands, in per cent of the width; values outside stand on the edge."""
        return min(100.0, max(0.0, 100 * (value - self.low) / (self.high - self.low)))

    def ticks(self) -> list[float]:
        """Return the values of the gridlines."""
        first = math.ceil(self.low / self.step - 1e-9)
        count = math.floor(self.high / self.step + 1e-9) - first + 1
        return [round((first + i) * self.step, 10) for i in range(count)]


@dataclass(frozen=True)
class Mark:
    """A point of a row.

    Attributes:
        value: Where.
        shape: Number of the method.
        told: What the pointer is told.
        interval: Of the value, or ``None``.
        ours: Set off from the others by colour.
    """

    value: float
    shape: int
    told: str
    interval: Sequence[float] | None = None
    ours: bool = False


@dataclass(frozen=True)
class Line:
    """A row of a picture.

    Attributes:
        name: What stands on its left.
        told: What stands below that.
        marks: Its points.
        beam: Join the first point to this value.
    """

    name: str
    told: str
    marks: Sequence[Mark]
    beam: float | None = None


def rows(lines: Sequence[Line], axis: Axis, *, marked: Sequence[float] = (), thin: bool = False) -> str:
    """Return a picture of rows on one axis.

    Args:
        lines: One a row.
        axis: Of all of them.
        marked: Values with a line of their own: chance, zero.
        thin: Many rows, without a second line of text.
    """
    grid = "".join(f'<path class="gridline" d="M{axis.at(t) * 10:.2f} 0V100"/>' for t in axis.ticks())
    grid += "".join(f'<path class="floor" d="M{axis.at(v) * 10:.2f} 0V100"/>' for v in marked)
    body = "".join(_row(line, axis, grid, "plot thin" if thin else "plot low") for line in lines)
    labels = _apart(axis)
    digits = max(0, -math.floor(math.log10(axis.step) + 1e-9))
    ticks = "".join(f'<span style="left:{axis.at(t):.2f}%">{t:.{digits}f}</span>' for t in labels)
    unit = f'<span class="at-start" style="left:0;top:1.3rem">{escape(axis.unit)}</span>'
    return f'{body}<div class="row"><div class="axis-pad"></div><div class="axis">{ticks}{unit}</div></div>'


def _apart(axis: Axis) -> list[float]:
    """Return the ticks whose labels do not run into each other."""
    ticks = axis.ticks()
    labels = ticks[:: max(1, math.ceil(_LABELS_APART / (axis.at(ticks[1]) - axis.at(ticks[0]))))]
    return [t for t in labels if axis.at(t) < 99]


def _row(line: Line, axis: Axis, grid: str, css: str) -> str:
    drawn, points = grid, ""
    if line.beam is not None and line.marks:
        one = line.marks[0]
        ends = f"M{axis.at(line.beam) * 10:.2f} 50H{axis.at(one.value) * 10:.2f}"
        drawn += f'<path class="beam {_kind(one)}" d="{ends}"/>'
    # The first method is drawn last: it stands on top.
    for mark in reversed(line.marks):
        if mark.interval is not None:
            low, high = (axis.at(v) * 10 for v in mark.interval)
            drawn += f'<path class="interval {_kind(mark)}" d="M{low:.2f} 50H{high:.2f}"/>'
        points += (
            f'<svg class="mark {_kind(mark)}" style="left:{axis.at(mark.value):.2f}%" viewBox="0 0 12 12">'
            f"<title>{plain(mark.told)}</title>{_SHAPES[mark.shape % len(_SHAPES)]}</svg>"
        )
    told = f"<span>{plain(line.told)}</span>" if line.told else ""
    said = "; ".join(mark.told for mark in line.marks)
    return (
        f'<div class="row"><div class="name"><b>{plain(line.name)}</b>{told}</div><div class="{css}" '
        f'role="img" aria-label="{plain(f"{line.name}: {said}")}">'
        f'<svg viewBox="0 0 1000 100" preserveAspectRatio="none">{drawn}</svg>{points}</div></div>'
    )


def _kind(mark: Mark) -> str:
    return "ours" if mark.ours else "other"


def key(names: Sequence[tuple[str, bool]], *more: str) -> str:
    """Return what the shapes mean.

    Args:
        names: Of the methods in order, and whether their colour is the one that is set off.
        more: What else has to be said.
    """
    shown = "".join(
        f'<li class="{"ours" if ours else "other"}"><svg class="mark" viewBox="0 0 12 12">'
        f"{_SHAPES[i % len(_SHAPES)]}</svg>{plain(name)}</li>"
        for i, (name, ours) in enumerate(names)
    )
    return f'<ul class="key">{shown}{"".join(f"<li>{escape(one)}</li>" for one in more)}</ul>'


def shares(header: Sequence[str], lines: Iterable[tuple[str, Sequence[tuple[int, int]], str, str]]) -> str:
    """Return a table of shares, each as a bar and in numbers.

    Args:
        header: Names of the columns.
        lines: Name, counts (how many of how many), a last text and its class, of each row.
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = ""
    for name, counts, text, css in lines:
        bars = "".join(
            f'<td><div class="bar"><i style="width:{100 * n / max(of, 1):.1f}%"></i></div>{n} of {of}</td>'
            for n, of in counts
        )
        body += f'<tr><td>{plain(name)}</td>{bars}<td class="{css}">{escape(text)}</td></tr>'
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="card scroll shares">{table}</div>'


def square(sets: Sequence[tuple[Sequence[tuple[float, float, str]], bool]], across: str, up: str) -> str:
    """Return points in the unit square with its diagonal.

    Args:
        sets: Points, each with what the pointer is told, joined by a line; and whether the set is set off.
        across: Name of the axis across.
        up: Of the axis upwards.
    """
    ticks = [i / 5 for i in range(6)]
    drawn = "".join(
        f'<path class="gridline" d="M{40 + 250 * t:.0f} 10V260M40 {260 - 250 * t:.0f}H290"/>'
        f'<text x="{40 + 250 * t:.0f}" y="276" text-anchor="middle">{t:g}</text>'
        f'<text x="34" y="{264 - 250 * t:.0f}" text-anchor="end">{t:g}</text>'
        for t in ticks
    )
    drawn += '<path class="floor" d="M40 260L290 10"/>'
    for points, ours in sets:
        kind = "ours" if ours else "other"
        places = [(40 + 250 * x, 260 - 250 * y, told) for x, y, told in points]
        joined = "L".join(f"{x:.1f} {y:.1f}" for x, y, _ in places)
        drawn += f'<path class="joined {kind}" d="M{joined}"/>' if places else ""
        drawn += "".join(
            f'<circle class="point {kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{plain(told)}</title>'
            "</circle>"
            for x, y, told in places
        )
    names = (
        f'<text x="165" y="296" text-anchor="middle">{escape(across)}</text>'
        f'<text transform="translate(10 135) rotate(-90)" text-anchor="middle">{escape(up)}</text>'
    )
    title = f"<title>{escape(up)} against {escape(across)}</title>"
    return f'<svg class="square" role="img" viewBox="0 0 300 302">{title}{drawn}{names}</svg>'


def curves(
    series: Sequence[Sequence[tuple[float, float, Sequence[float], str]]],
    across: str,
    up: str,
    *,
    marked: float,
) -> str:
    """Return curves of values from 0 to 1, each point with its interval.

    Args:
        series: Points of each curve: place, value, interval and what the pointer is told.
        across: Name of the axis across, which starts at 0.
        up: Of the axis upwards.
        marked: A value with a line of its own.
    """
    axis = replace(Axis.around([x for points in series for x, *_ in points], across), low=0.0)

    def place(x: float, y: float) -> tuple[float, float]:
        return 58 + 3.5 * axis.at(x), 260 - 250 * min(1.0, max(0.0, y))

    drawn = "".join(
        f'<path class="gridline" d="M40 {260 - 50 * i}H410"/>'
        f'<text x="34" y="{264 - 50 * i}" text-anchor="end">{i / 5:g}</text>'
        for i in range(6)
    )
    drawn += "".join(
        f'<path class="gridline" d="M{place(t, 0)[0]:.1f} 10V260"/>'
        f'<text x="{place(t, 0)[0]:.1f}" y="276" text-anchor="middle">{t:g}</text>'
        for t in axis.ticks()
    )
    drawn += f'<path class="floor" d="M40 {place(0, marked)[1]:.1f}H410"/>'
    for number, points in enumerate(series):
        # Side by side, so that intervals at the same place are told apart.
        aside = 5 * (number - (len(series) - 1) / 2)
        places = [(*place(x, y), interval, told) for x, y, interval, told in points]
        joined = "L".join(f"{x + aside:.1f} {y:.1f}" for x, y, *_ in places)
        drawn += f'<path class="joined" d="M{joined}"/>' if places else ""
        for x, y, (low, high), told in places:
            drawn += (
                f'<path class="joined" d="M{x + aside:.1f} {place(0, low)[1]:.1f}V{place(0, high)[1]:.1f}"/>'
                f'<g class="sign" transform="translate({x + aside - 6:.1f} {y - 6:.1f})">'
                f"<title>{plain(told)}</title>{_SHAPES[number % len(_SHAPES)]}</g>"
            )
    names = (
        f'<text x="225" y="296" text-anchor="middle">{escape(across)}</text>'
        f'<text transform="translate(10 135) rotate(-90)" text-anchor="middle">{escape(up)}</text>'
    )
    title = f"<title>{escape(up)} against {escape(across)}</title>"
    return f'<svg class="square wide other" role="img" viewBox="0 0 420 302">{title}{drawn}{names}</svg>'
