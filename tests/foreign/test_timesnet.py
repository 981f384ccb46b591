"""TimesNet's blocks through our op, against a TimesBlock that is written out as its paper has it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from torch import nn  # noqa: E402

from mimamba_edge.errors import ExportError  # noqa: E402
from mimamba_edge.export.capture import capture  # noqa: E402
from mimamba_edge.export.foreign.export import export_module  # noqa: E402
from mimamba_edge.export.foreign.inputs import Inputs, Shape  # noqa: E402
from mimamba_edge.runtime.ort import OrtRunner  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.ort, pytest.mark.slow]


class Inception(nn.Module):
    def __init__(self, c: int, f: int) -> None:
        super().__init__()
        self.kernels = nn.ModuleList(nn.Conv2d(c, f, 2 * i + 1, padding=i) for i in range(3))

    def forward(self, x):
        return torch.stack([kernel(x) for kernel in self.kernels], dim=-1).mean(-1)


class TimesBlock(nn.Module):
    """Periods of one batch by the mean of its amplitudes, as Time-Series-Library has it."""

    def __init__(self, length: int, c: int, top_k: int = 3) -> None:
        super().__init__()
        self.seq_len, self.pred_len, self.k = length, 0, top_k
        self.conv = nn.Sequential(Inception(c, 2 * c), nn.GELU(), Inception(2 * c, c))

    def forward(self, x):
        b, length, c = x.shape
        amplitude = torch.fft.rfft(x, dim=1).abs()
        mean = amplitude.mean((0, 2))
        mean[0] = 0
        bins = mean.topk(self.k).indices.numpy()
        weights = torch.softmax(amplitude.mean(2)[:, bins], dim=1)
        y = x
        for weight, bin_ in zip(weights.T, bins, strict=True):
            period = length // int(bin_)
            rows = -(-length // period)
            padded = torch.cat([x, x.new_zeros(b, rows * period - length, c)], dim=1)
            image = self.conv(padded.reshape(b, rows, period, c).permute(0, 3, 1, 2))
            y = y + weight[:, None, None] * image.permute(0, 2, 3, 1).reshape(b, -1, c)[:, :length]
        return y


class Classifier(nn.Module):
    def __init__(self, length: int) -> None:
        super().__init__()
        torch.manual_seed(length)
        self.embedding = nn.Linear(3, 4)
        self.blocks = nn.ModuleList(TimesBlock(length, 4) for _ in range(2))
        self.norm, self.head = nn.LayerNorm(4), nn.Linear(4 * length, 5)

    def forward(self, x):
        h = self.embedding(x)
        for block in self.blocks:
            h = self.norm(block(h))
        return self.head(h.flatten(1))


def windows(length: int, n: int = 6) -> np.ndarray:
    walks = np.random.default_rng(length).normal(size=(n, length, 3)).cumsum(1)
    return walks.astype(np.float32) / 4


@pytest.mark.parametrize("length", [33, 101, 127])
def test_captured_equals_its_own_code_sample_by_sample(length: int) -> None:
    model, x = Classifier(length).eval(), torch.from_numpy(windows(length))
    with torch.no_grad():
        own = torch.cat([model(one[None]) for one in x])
        with capture(model):
            assert "forward" in vars(model.blocks[0])
            ours = model(x)
    assert "forward" not in vars(model.blocks[0])
    torch.testing.assert_close(ours, own, rtol=1e-4, atol=1e-5)


def test_a_classifier_is_exported(tmp_path: Path) -> None:
    data = windows(77, 24)
    inputs = Inputs(Shape(1, (77, 3)), data, "random walks", "random")
    result = export_module(
        Classifier(77).eval(), tmp_path / "timesnet.onnx", inputs, name="timesnet", inline=True
    )
    assert result.parity.passed
    assert result.parity.sqnr_db > 100
    graph = onnx.load(result.files[0]).graph
    blocks = [node for node in graph.node if node.op_type == "MultiScaleTemporalBlock"]
    assert len(blocks) == 2
    for node in blocks:
        given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        assert (given["period_rule"], given["weighting"], given["top_k"]) == (1, 1, 3)
    with OrtRunner(tmp_path / "timesnet.inline.onnx") as runner:
        assert runner.kind == "onnxruntime-cpu"


def test_other_blocks_are_left_alone() -> None:
    tanh, strided = Classifier(33), Classifier(33)
    tanh.blocks[0].conv[1] = nn.Tanh()
    strided.blocks[0].conv[0].kernels[1].stride = (2, 2)
    for model in (tanh, strided):
        with capture(model):
            assert "forward" not in vars(model.blocks[0])
            assert "forward" in vars(model.blocks[1])


def test_another_length_is_refused() -> None:
    model = Classifier(33).eval()
    with capture(model), pytest.raises(ExportError, match="another length"):
        model(torch.from_numpy(windows(35)))
