"""Spectra of models of others: as torch has them, in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
pytestmark = [pytest.mark.torch, pytest.mark.ort]

from mimamba_edge.export.onnx.translate import to_graph  # noqa: E402


class Spectrum(torch.nn.Module):
    def __init__(self, **how: object) -> None:
        super().__init__()
        self.how = how

    def forward(self, x):
        found = torch.fft.rfft(x, **self.how)
        return torch.abs(found), torch.angle(found), torch.view_as_real(found)


@pytest.mark.parametrize(
    ("sizes", "how", "dft"),
    [
        ((3, 40), {}, 0),
        ((3, 25), {"norm": "ortho"}, 0),
        ((30, 3), {"dim": 1, "n": 24, "norm": "forward"}, 0),
        ((3, 520), {}, 1),
    ],
    ids=["even", "odd", "first axis, cut", "long"],
)
def test_spectra(sizes: tuple[int, ...], how: dict, dft: int, tmp_path: Path) -> None:
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((20, *sizes), dtype=np.float32))
    x[0] = 0  # no phase, which torch calls 0
    model, batch = Spectrum(**how), {0: torch.export.Dim("batch")}
    program = torch.export.export(model, (x,), dynamic_shapes=(batch,), strict=False)
    graph = to_graph(program, inputs=["x"], outputs=["size", "phase", "parts"])
    assert sum(node.op_type == "DFT" for node in graph.graph.node) == dft
    onnx.save(graph, tmp_path / "s.onnx")
    got = ort.InferenceSession(tmp_path / "s.onnx").run(None, {"x": x[:7].numpy()})
    for name, ours, theirs in zip(("size", "phase", "parts"), got, model(x[:7]), strict=True):
        if name != "phase" or not dft:  # ONNX's DFT knows no exact 0
            right, near = theirs.numpy(), 1e-3 if dft else 1e-5
            np.testing.assert_allclose(ours, right, rtol=0, atol=near * np.abs(right).max(), err_msg=name)
