"""What a page shows of a record of the kernels' cycles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["LOOPS", "TIMES", "loops", "times"]

_DEVICES, _ARCHS = ("H200", "Orin Nano"), (87, 90, 110)
_WHOSE = (("before", "before_us"), ("now", "ours_us"), ("mamba_ssm", "mamba_ssm_us"))
TIMES = ("us, by the model", *(f"{device}: {word}" for device in _DEVICES for word, _ in _WHOSE))
LOOPS = (
    "hot loop, by the model: issue slots, cycles of one warp",
    "for each",
    *(f"sm_{sm}" for sm in _ARCHS),
)


def times(record: dict[str, Any]) -> Sequence[tuple[str, ...]]:
    """Return microseconds of each problem: earlier kernels' and mamba_ssm's beside ours."""
    of = {(row["device"], row["problem"]): row for row in record["rows"]}
    rows = []
    for problem in dict.fromkeys(row["problem"] for row in record["rows"]):
        values = [of[device, problem][key] for device in _DEVICES for _, key in _WHOSE]
        rows.append(
            (
                problem,
                *(
                    "" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
                    for value in values
                ),
            )
        )
    return rows


def loops(record: dict[str, Any]) -> Sequence[tuple[str, ...]]:
    """Return what the hot loops take for a unit of work, loops of the same kernel in order of their work."""
    found: dict[tuple[str, str], dict[int, list[str]]] = {}
    for loop in record["loops"]:
        key = (f"`{loop['kernel']}`, {loop['problem']}", str(loop["unit"]))
        cell = f"{loop['instructions'] / loop['units']:.2f}, {loop['cycles'] / loop['units']:.2f}"
        found.setdefault(key, {sm: [] for sm in _ARCHS})[loop["sm"]].append(cell)
    return [
        (*key, *("; ".join(cells[sm][nth : nth + 1]) for sm in _ARCHS))
        for key, cells in found.items()
        for nth in range(max(len(each) for each in cells.values()))
    ]
