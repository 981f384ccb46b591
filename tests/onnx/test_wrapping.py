"""Circular padding without ``Pad``'s mode ``wrap``, against torch, in the reference evaluator."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn

from mimamba_edge.export.onnx.translate import to_graph

pytestmark = pytest.mark.torch


class _Rings(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        around = nn.functional.pad(x, (2, 1), mode="circular")
        image = nn.functional.pad(around.unsqueeze(1), (0, 3, 4, 0), mode="circular")
        return image.squeeze(1)


def test_circular_padding_is_slices() -> None:
    model, batch = _Rings(), {0: torch.export.Dim("batch")}
    program = torch.export.export(model, (torch.rand(2, 5, 7),), dynamic_shapes=(batch,), strict=False)
    proto = to_graph(program, inputs=["x"], outputs=["y"])
    assert "Pad" not in {node.op_type for node in proto.graph.node}
    x = torch.rand(3, 5, 7)
    (y,) = ReferenceEvaluator(proto).run(None, {"x": x.numpy()})
    np.testing.assert_array_equal(y, model(x).numpy())
