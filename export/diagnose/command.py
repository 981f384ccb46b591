"""``parity --bisect``: which node the two models part at, from what the user named."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimamba_edge.errors import ConfigError

if TYPE_CHECKING:
    from onnx import ModelProto

    from mimamba_edge.console import Progress
    from mimamba_edge.export.diagnose.bisect import Bisection
    from mimamba_edge.parity.windows import WindowSet

__all__ = ["find_first", "show"]

_WINDOWS = 128
_FEW = 3
"""Windows for onnx's reference evaluator, which is slow."""


def find_first(
    reference: str, candidate: str, windows: WindowSet, worst: list[int], bar: Progress
) -> dict[str, Any]:
    """Return what was found, in plain JSON types.

    Args:
        reference: The ``.onnx`` or checkpoint that counts as right. A checkpoint is exported again in memory.
        candidate: The ``.onnx`` to search.
        windows: Those that parity ran on; at most 128 of them are looked at.
        worst: Indices that must be among them: where the answers differ.
        bar: Told what is being done.

    Raises:
        MimambaError: A model is of a kind that cannot be searched, or cannot be loaded.
    """
    import numpy as np

    from mimamba_edge.optional_packages import need_export

    need_export("parity --bisect")
    from mimamba_edge.artifact import Manifest
    from mimamba_edge.export.diagnose.bisect import bisect, half_bound
    from mimamba_edge.export.diagnose.values import only_batch
    from mimamba_edge.export.onnx.schema import register

    register()
    precision = Manifest.load(_portable(candidate)).precision
    spread = np.linspace(0, len(windows.data) - 1, min(len(windows.data), _WINDOWS)).round().astype(int)
    chosen = np.unique(np.concatenate([worst[:_WINDOWS], spread]).astype(int))
    bar.describe("loading both models")
    one, two = _load(reference), _load(candidate)
    if size := only_batch(two):  # whole batches, of which references hold some
        chosen = np.arange(min(len(windows.data), max(_WINDOWS // size, 1) * size))
    some = windows.data[chosen]
    bar.describe("comparing every value")
    found = bisect(one, two, some, precision, on_step=bar.advance)
    report = _numbered(found, chosen)
    if precision == "fp16":
        bar.describe("fp16 as onnx's reference evaluator computes it")
        bound = half_bound(one, two, some[:_FEW])
        report["pessimistic_bound"] = None if bound is None else {**bound.to_dict(), "windows": _FEW}
    return {"precision": precision, **report}


def _numbered(found: Bisection, chosen: Any) -> dict[str, Any]:
    """Return the report with the data set's numbers of windows."""
    report = found.to_dict()
    for step in (report["first"], *report["before"]):
        if step is not None:
            step["window"] = int(chosen[step["window"]])
    return report


def _portable(spec: str) -> Path:
    path = Path(spec)
    if not spec.endswith(".onnx") or spec.endswith(".trt.onnx"):
        raise ConfigError(
            f"{spec} cannot be compared node by node", expected="the portable NAME.onnx of export or quantize"
        )
    return path


def _load(spec: str) -> ModelProto:
    from mimamba_edge.load import is_checkpoint

    if is_checkpoint(spec.removeprefix("oracle:")):
        from mimamba_edge.export.checkpoint import load_checkpoint
        from mimamba_edge.export.onnx.export import to_onnx

        held = load_checkpoint(Path(spec.removeprefix("oracle:")))
        return to_onnx(held.build(), held.contract)
    from mimamba_edge.runtime.expansion import read_model

    model: ModelProto = read_model(_portable(spec))
    return model


def show(report: dict[str, Any]) -> str:
    """Print the way to the node that was found; return one line that names it, or an empty one."""
    from mimamba_edge.console import show_note, show_table

    first = report["first"]
    steps = [*report["before"], *([] if first is None else [first])]
    rows = [
        (
            s["node"],
            s["op"],
            s["value"],
            _error(s),
            f"{s['tolerance']:g} ({s['precision']})",
            _state(s),
        )
        for s in steps
    ]
    show_table("", ("node", "op", "value", "error", "tolerance", ""), rows, left=(0, 1, 2, 5))
    if bound := report.get("pessimistic_bound"):
        show_note(
            f"worst case: with fp16 sums (onnx's reference evaluator, {bound['windows']} windows) "
            f"the worst value is {bound['value']}, error {_error(bound)}"
        )
    _coverage(report)
    if first is None and report["compared"]:
        show_note(
            f"all nodes are within their tolerance: {report['compared']} values on "
            f"{report['windows']} windows"
        )
    if first is None:
        return ""
    inside = f", inside it {first['inside']}" if first["inside"] else ""
    for line in report["differences"]:
        show_note(f"{first['node']}: {line}")
    module = first["module"] or "none of a module"
    other = "" if first["twin"] in ("", first["node"]) else f", in the reference {first['twin']},"
    name = f"{first['node']} ({first['op']}{inside}){other} of module {module}"
    if _state(first) == "ok":
        return f"{name}, which is another node though its values are within their tolerance"
    return f"{name}, worst in window {first['window']}"


def _coverage(report: dict[str, Any]) -> None:
    """Say which nodes were matched by structure or not at all."""
    from mimamba_edge.console import show_note

    alone, structure = report["alone"], report["by_structure"]
    if not report["compared"]:
        show_note(
            f"nothing could be compared: none of the candidate's {len(alone)} nodes matches one of the "
            "reference by name, or by op and shape in order; compare files made from one model"
        )
        return
    if structure:
        show_note(f"{structure} nodes have other names than in the reference: matched by op, order and shape")
    if alone:
        more = ", ..." * (len(alone) > _FEW)
        show_note(f"{len(alone)} nodes have no counterpart in the reference: {', '.join(alone[:_FEW])}{more}")


def _error(step: dict[str, Any]) -> str:
    return "infinite" if step["error"] is None else f"{step['error']:.2e}"


def _state(step: dict[str, Any]) -> str:
    return "missed" if step["error"] is None or step["error"] > step["tolerance"] else "ok"
