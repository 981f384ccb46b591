"""The packages themselves, where they are installed: their scans run through our op and answer as before."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from mimamba_edge.export.capture import capture  # noqa: E402
from mimamba_edge.export.capture.stubs import without_compiled_modules  # noqa: E402
from tests.foreign.test_capture import Calls  # noqa: E402

SIZES = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "use_cache": False}


@pytest.mark.parametrize(
    ("model", "config"),
    [("Mamba", {}), ("FalconMamba", {}), ("Jamba", {"num_experts": 1, "use_mamba_kernels": False})],
)
def test_transformers(model: str, config: dict) -> None:
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


@pytest.mark.parametrize("parallel", [True, False], ids=["pscan", "sequential"])
def test_mambapy(parallel: bool) -> None:
    mamba = pytest.importorskip("mambapy.mamba", reason="needs mambapy: pip install mambapy")
    model = mamba.Mamba(mamba.MambaConfig(d_model=16, n_layers=2, pscan=parallel)).eval()
    x = torch.randn(2, 9, 16)
    with torch.no_grad():
        right = model(x)
        with capture(model), Calls() as calls:
            got = model(x)
    assert calls.count == 2
    torch.testing.assert_close(got, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("conv_bias", [False, True])
@pytest.mark.parametrize("fused", [True, False])
def test_mamba_ssm_without_its_extension(fused: bool, conv_bias: bool, bias: bool) -> None:
    """Its own reference scan judges."""
    with without_compiled_modules():
        reason = "needs mamba_ssm: MAMBA_SKIP_CUDA_BUILD=TRUE pip install --no-deps mamba-ssm einops"
        mamba = pytest.importorskip("mamba_ssm.modules.mamba_simple", reason=reason)
    interface = pytest.importorskip("mamba_ssm.ops.selective_scan_interface")
    model = mamba.Mamba(16, d_state=8, use_fast_path=False, bias=bias, conv_bias=conv_bias).eval()
    x = torch.randn(2, 12, 16)
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
