"""What INT8 costs at each op alone: which ones are worth it, and why the recipes leave the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto

from mimamba_edge.console import Progress
from mimamba_edge.contract import LOGITS, WINDOWS
from mimamba_edge.export.onnx.carried import family_in
from mimamba_edge.export.quantize.activations import ranges_of
from mimamba_edge.export.quantize.int8_tensorrt import add_pairs, int8_modules
from mimamba_edge.numerics.metrics import sqnr_db
from mimamba_edge.runtime.ort import open_session

__all__ = ["Cost", "rank", "rank_rows"]

_LAYERS = ("MatMul", "Gemm", "Conv")


@dataclass(frozen=True)
class Cost:
    """What INT8 costs at one op.

    Attributes:
        node: Its name.
        op: Its type.
        sqnr_db: Of the logits, everything else in fp32.
        top1_agreement: Share of windows with the same class.
        used_by: Recipes that quantise it.
    """

    node: str
    op: str
    sqnr_db: float
    top1_agreement: float
    used_by: str


def rank(
    model: ModelProto, windows: NDArray[np.float32], bar: Progress, *, method: str = "mse"
) -> list[Cost]:
    """Quantise one op at a time and return the costs, dearest first.

    Candidates are the layers that the family quantises for the CPU and every layer with constant weights.

    Args:
        model: Portable, fp32.
        windows: To calibrate and judge on, ``(n, c, l)`` scaled.
        bar: Told what is being done.
        method: Of calibration.

    Raises:
        MimambaError: The windows or the model cannot be used.
    """
    plain = _logits(model, windows)
    found = []
    for node, used_by, changed in _candidates(model, windows, method):
        bar.describe(f"INT8 at {node.name}")
        got = _logits(changed, windows)
        same = float((got.argmax(axis=1) == plain.argmax(axis=1)).mean())
        found.append(Cost(node.name, node.op_type, sqnr_db(plain, got), same, used_by))
    return sorted(found, key=lambda cost: cost.sqnr_db)


def rank_rows(costs: list[Cost]) -> list[tuple[str, str, str, str]]:
    """Return rows of a table: op, ratio, agreement, which recipes quantise it."""
    return [
        (c.node, f"{c.sqnr_db:.1f} dB", f"{c.top1_agreement:.2%}", c.used_by or "none: stays float")
        for c in costs
    ]


def to_dicts(costs: list[Cost]) -> list[dict[str, Any]]:
    """Return plain JSON types."""
    return [vars(cost) for cost in costs]


def _logits(model: ModelProto, windows: NDArray[np.float32]) -> NDArray[np.float32]:
    session = open_session(model.SerializeToString(), name="a model with one op in INT8")
    logits: NDArray[np.float32] = session.run([LOGITS], {WINDOWS: windows})[0]
    return logits


def _candidates(
    model: ModelProto, windows: NDArray[np.float32], method: str
) -> Iterator[tuple[NodeProto, str, ModelProto]]:
    family, modules = family_in(model), int8_modules(model)
    if family is not None:
        for name, changed in family.int8_cpu_layers(model, windows, method=method):
            yield NodeProto(name=name, op_type="Conv"), "cpu", changed
    weights = {t.name for t in model.graph.initializer}
    layers = [n for n in model.graph.node if n.op_type in _LAYERS and n.input[1] in weights]
    spans = ranges_of(model, windows, sorted({n.input[0] for n in layers}), method=method)
    for layer in layers:
        changed = ModelProto()
        changed.CopyFrom(model)
        node = next(n for n in changed.graph.node if n.name == layer.name)
        add_pairs(changed, node, spans[layer.input[0]])
        chosen = layer.op_type == "MatMul" and layer.name.split("/")[0].endswith(modules)
        yield layer, "tensorrt" if chosen else "", changed
