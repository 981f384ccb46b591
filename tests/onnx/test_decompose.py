"""A program is decomposed op by op where that can be, and gives the graph that torch's own way gives."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from mimamba_edge.export.onnx import translate
from mimamba_edge.export.onnx.decompose import decomposing_op_by_op
from mimamba_edge.runtime.ort import load_onnxruntime

pytestmark = [pytest.mark.torch, pytest.mark.ort]


class _Many(nn.Module):
    """What has translations, what must be decomposed, and what does nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose1d(6, 4, 1)
        self.norm, self.batch_norm = nn.LayerNorm(8), nn.BatchNorm1d(6)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.batch_norm(x.float()).contiguous())
        first, second = self.up(h).to(torch.float64).float().chunk(2, dim=1)
        bent = torch.nn.functional.hardswish(first.flip(1)) + torch.addcmul(second, first, second, value=0.5)
        return torch.var(bent, dim=1).reshape(-1, 2, 4).detach() * torch.tensor(3.0)


class _InPlace(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x * 2
        y[:, 0] = 1.0
        return y.relu_()


def _program(model: nn.Module) -> ExportedProgram:
    batch = {0: torch.export.Dim("batch")}
    with torch.no_grad():
        return torch.export.export(
            model.eval(), (torch.rand(2, 6, 8),), dynamic_shapes=(batch,), strict=False
        )


def _check(program: ExportedProgram, model: nn.Module) -> Counter[str]:
    """Return the graph's ops, which give the model's answers for another batch."""
    proto = translate.to_graph(program, inputs=["x"], outputs=["y"])
    x = torch.rand(3, 6, 8)
    session = load_onnxruntime().InferenceSession(proto.SerializeToString())
    (y,) = session.run(None, {"x": x.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(y, model(x).numpy(), rtol=1e-5, atol=1e-6)
    return Counter(node.op_type for node in proto.graph.node)


@contextlib.contextmanager
def _torchs_own(_: ExportedProgram) -> Iterator[None]:
    yield


def test_op_by_op_gives_the_graph_of_torchs_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model, whole = _Many(), ExportedProgram.run_decompositions
    calls: list[str] = []

    def counted(self: ExportedProgram, table: object = None) -> ExportedProgram:
        calls.append("whole")
        return whole(self, table)

    monkeypatch.setattr(ExportedProgram, "run_decompositions", counted)
    ours = _check(_program(model), model)
    assert not calls
    monkeypatch.setattr(translate, "decomposing_op_by_op", _torchs_own)
    assert ours == _check(_program(model), model)
    assert calls


def test_what_changes_tensors_in_place_is_left_to_torch() -> None:
    model = _InPlace()
    _check(_program(model), model)


def test_what_was_decomposed_in_vain_is_taken_back() -> None:
    """torch's own way comes next, and knows no ops that this one may have left (braindecode's FBCNet)."""
    model = _Many()
    program, op = _program(model), torch.ops.aten.hardswish.default
    before = [(node.op, node.target) for node in program.graph.nodes]
    with contextlib.suppress(ValueError), decomposing_op_by_op(program):
        program.run_decompositions({op: torch.export.default_decompositions()[op]})
        assert op not in [node.target for node in program.graph.nodes]
        raise ValueError("no translation")
    assert [(node.op, node.target) for node in program.graph.nodes] == before
    _check(program, model)
