"""A file for TensorRT evaluated on a CPU: onnx's own reference, and the two plugins in float64 NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from mimamba_edge.numerics.mstb import multi_scale_temporal_block
from mimamba_edge.numerics.scan import selective_scan


def evaluate(
    model: ModelProto, feeds: dict[str, np.ndarray], ops: Sequence[type[OpRun]] | None = None
) -> np.ndarray:
    """Return the first output of a model whose custom nodes have no bodies, with or without plugin fields.

    Args:
        model: The model.
        feeds: Its inputs.
        ops: What runs the custom nodes in place of NumPy.
    """
    newer = ModelProto()
    newer.CopyFrom(model)
    # The reference knows QuantizeLinear from opset 19 on; no other op of our files changed its meaning in it.
    next(one for one in newer.opset_import if one.domain == "").version = 19
    evaluator = ReferenceEvaluator(newer, new_ops=list(ops or (SelectiveScan, MultiScaleTemporalBlock)))
    return np.asarray(evaluator.run(None, feeds)[0])


def numbers(node: Any) -> dict[str, Any]:
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {name: value for name, value in values.items() if not name.startswith("plugin_")}


class SelectiveScan(OpRun):
    op_domain = "mimamba"

    def _run(self, u, delta, A, B, C, D, delta_bias, initial_state, z=None, **_):
        fields = numbers(self.onnx_node)
        assert (z is not None) == bool(fields["has_z"])
        batch, length, d = u.shape
        if "groups" in fields:
            g, n = fields["groups"], A.shape[1]

            def part(rows, name, width):
                begin = fields[f"{name}_offset"]
                assert rows.ndim == 3
                assert rows.shape[2] >= begin + width
                return rows[:, :, begin : begin + width]

            B, C = (
                part(rows, name, g * n).reshape(batch, length, g, n) for rows, name in ((B, "B"), (C, "C"))
            )
            z = None if z is None else part(z, "z", d)
        flags = {"delta_softplus": bool(fields["delta_softplus"]), "reverse": bool(fields["reverse"])}
        y, state = selective_scan(u, delta, A, B, C, D, delta_bias, initial_state, z, **flags)
        y = y.astype(u.dtype)
        return (y, state.astype(np.float32)) if fields["return_last_state"] else (y,)


class MultiScaleTemporalBlock(OpRun):
    op_domain = "mimamba"

    def _run(self, x, w1, b1, w2, b2, **_):
        fields = numbers(self.onnx_node)
        turned = fields.pop("channel_first", 0)
        y = multi_scale_temporal_block(x.transpose(0, 2, 1) if turned else x, w1, b1, w2, b2, **fields)
        return ((y.transpose(0, 2, 1) if turned else y).astype(w1.dtype),)
