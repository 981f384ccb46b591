"""The yardstick of training computes the same as ours."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from benchmarks.gpu import training as gpu_training  # noqa: E402
from benchmarks.gpu.bars import tables  # noqa: E402
from benchmarks.training import compare_gradients, windows_of  # noqa: E402
from benchmarks.training.looped import looped  # noqa: E402
from mimamba_edge.export.families.msimamba.network import MSiMamba  # noqa: E402


def test_the_gpu_suite_measures_a_step_after_checking_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU, in the GPU's place."""
    small = functools.partial(MSiMamba, d_model=8, d_ff=2, n_layers=1)
    monkeypatch.setattr("mimamba_edge.export.families.msimamba.network.MSiMamba", small)
    bench = SimpleNamespace(torch=torch, device="cpu", rounds=1)
    row = gpu_training.measure_training(bench, 3, 48)
    assert row["apart_float64"] < 1e-9
    assert min(row["ours"], row["mixed"], row["looped"]) > 0
    ((title, header, cells), _) = tables({"training": [row]}, [])
    assert len(header) == len(cells[0])
    assert "Training" in title


@pytest.mark.parametrize("one_kernel", [False, True])
@pytest.mark.parametrize("noise", ["1/f", "white"])
def test_loss_and_gradients_are_those_of_the_loop(noise: str, one_kernel: bool) -> None:
    torch.manual_seed(2)
    model = MSiMamba(3, 48, 2, 48.0, d_model=16, d_ff=4, n_layers=1, min_bin=2, max_bin=20)
    other = looped(model, one_kernel=one_kernel)
    x, labels = torch.from_numpy(windows_of(3, 48, noise, 6)), torch.arange(6) % 2
    assert compare_gradients(model, other, x, labels) < 1e-10
    with torch.no_grad():
        other.mstb.msp1.convs[3].weight[0, 0, 0, 0] += 1e-3
    assert compare_gradients(model, other, x, labels) > 1e-6
