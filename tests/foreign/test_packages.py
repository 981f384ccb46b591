"""The packages themselves, where they are installed: their scans run through our op and answer as before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.torch, pytest.mark.ort]

from mimamba_edge import StatefulRunner, export_module  # noqa: E402
from mimamba_edge.export.capture import capture  # noqa: E402
from mimamba_edge.export.capture.stubs import without_compiled_modules  # noqa: E402
from tests.foreign.test_capture import Calls  # noqa: E402

SIZES = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "use_cache": False}


class Hidden(torch.nn.Module):
    """A model of transformers with one output."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.inner(tokens).last_hidden_state


def check_chunks(model: torch.nn.Module, x: torch.Tensor, right: torch.Tensor, out: Path) -> None:
    """Export a stateful file, and hold chunks of it against what the model's own code gives for the whole."""
    kind = "" if x.is_floating_point() else ":int64"
    export_module(model, out, shape="x".join(map(str, x.shape)) + kind, stateful=True)
    with StatefulRunner(out) as runner:
        for pattern in ([1] * 70, [7] * 10, [64, 6], [2, 1, 40, 13, 14]):
            runner.reset()
            done = [runner.step(chunk.numpy())["output"] for chunk in x.split(pattern, dim=1)]
            error = np.abs(np.concatenate(done, axis=1) - right.numpy()).max()
            assert error <= 1e-5 * right.abs().max(), pattern


@pytest.mark.parametrize(
    ("model", "config"),
    [("Mamba", {}), ("FalconMamba", {}), ("Jamba", {"num_experts": 1, "use_mamba_kernels": False})],
)
def test_transformers(model: str, config: dict, tmp_path: Path) -> None:
    reason = "needs transformers 4.57 or later: pip install transformers"
    transformers = pytest.importorskip("transformers", minversion="4.57", reason=reason)
    made = getattr(transformers, f"{model}Model")(getattr(transformers, f"{model}Config")(**SIZES, **config))
    tokens = torch.arange(14).reshape(2, 7)
    with torch.no_grad():
        right = made.eval()(tokens).last_hidden_state
        with capture(made), Calls() as calls:
            got = made(tokens).last_hidden_state
    assert calls.count == 2
    torch.testing.assert_close(got, right, rtol=1e-4, atol=1e-5)
    tokens = torch.randint(50, (1, 70), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        check_chunks(Hidden(made), tokens, made(tokens).last_hidden_state, tmp_path / "m.onnx")


@pytest.mark.parametrize("parallel", [True, False], ids=["pscan", "sequential"])
def test_mambapy(parallel: bool, tmp_path: Path) -> None:
    mamba = pytest.importorskip("mambapy.mamba", reason="needs mambapy: pip install mambapy")
    model = mamba.Mamba(mamba.MambaConfig(d_model=16, n_layers=2, pscan=parallel)).eval()
    x = torch.randn(2, 9, 16)
    with torch.no_grad():
        right = model(x)
        with capture(model), Calls() as calls:
            got = model(x)
    assert calls.count == 2
    torch.testing.assert_close(got, right, rtol=1e-4, atol=1e-5)
    if parallel:
        x = torch.randn(1, 70, 16)
        with torch.no_grad():
            check_chunks(model, x, model(x), tmp_path / "m.onnx")


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("conv_bias", [False, True])
@pytest.mark.parametrize("fused", [True, False])
def test_mamba_ssm_without_its_extension(fused: bool, conv_bias: bool, bias: bool, tmp_path: Path) -> None:
    """Its own reference scan judges."""
    with without_compiled_modules():
        reason = "needs mamba_ssm: MAMBA_SKIP_CUDA_BUILD=TRUE pip install --no-deps mamba-ssm einops"
        mamba = pytest.importorskip("mamba_ssm.modules.mamba_simple", reason=reason)
    interface = pytest.importorskip("mamba_ssm.ops.selective_scan_interface")
    model = mamba.Mamba(16, d_state=8, use_fast_path=False, bias=bias, conv_bias=conv_bias).eval()
    x = torch.randn(1, 70, 16)
    held = mamba.selective_scan_fn, mamba.causal_conv1d_fn
    mamba.selective_scan_fn, mamba.causal_conv1d_fn = interface.selective_scan_ref, None
    try:
        with torch.no_grad():
            right = model(x)
    finally:
        mamba.selective_scan_fn, mamba.causal_conv1d_fn = held
    model.use_fast_path = fused
    with torch.no_grad(), capture(model), Calls() as calls:
        got = model(x)
    assert calls.count == 1
    torch.testing.assert_close(got, right, rtol=1e-4, atol=1e-5)
    if bias == conv_bias:
        check_chunks(model, x, right, tmp_path / "m.onnx")
