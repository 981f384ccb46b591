"""Mamba-2 through the op of Mamba-1."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from mimamba_edge.errors import ExportError  # noqa: E402
from mimamba_edge.export.capture import capture  # noqa: E402
from mimamba_edge.export.capture.stubs import without_compiled_modules  # noqa: E402
from mimamba_edge.export.foreign.inputs import Shape  # noqa: E402
from mimamba_edge.export.foreign.trace import trace_module  # noqa: E402
from tests.foreign import mamba2  # noqa: E402
from tests.foreign.test_capture import Calls, check  # noqa: E402

BLOCKS = {
    "fused": {},
    "fused, gate behind the norm": {"before": True},
    "fused, gate in the scan": {"norm": False},
    "fused, D of each channel, steps limited": {"wide": True, "limit": (0.3, 0.8)},
    "unfused, norm in groups": {"fused": False, "group": 6},
    "unfused, gate behind the norm, steps limited": {"fused": False, "before": True, "limit": (0.3, 0.8)},
}


@pytest.mark.parametrize("block", BLOCKS)
def test_blocks_answer_as_their_own_loops(block: str) -> None:
    torch.manual_seed(3)
    check(mamba2.Mamba2(**BLOCKS[block]), 1)


def test_last_state_is_that_of_the_loop() -> None:
    torch.manual_seed(1)
    x, dt, A = torch.randn(2, 6, 4, 3), torch.rand(2, 6, 4), -torch.rand(4)
    B, C = torch.randn(2, 6, 2, 5), torch.randn(2, 6, 2, 5)
    right = mamba2.mamba_chunk_scan_combined(x, dt, A, B, C, 2, return_final_states=True)
    with capture(torch.nn.Identity()):
        got = mamba2.mamba_chunk_scan_combined(x, dt, A, B, C, 2, return_final_states=True)
    for ours, theirs in zip(got, right, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.ort
def test_the_file_holds_one_rate_a_row() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(2)
    model, x = mamba2.Mamba2().eval(), torch.randn(2, 9, 8)
    traced = trace_module(model, Shape(1, (9, 8)), "mamba2").model
    sizes = {tuple(tensor.dims) for tensor in traced.graph.initializer}
    assert (mamba2.INNER, 1) in sizes
    assert (mamba2.INNER, mamba2.STATES) not in sizes
    (got,) = onnxruntime.InferenceSession(traced.SerializeToString()).run(None, {"u": x.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(got), model(x), rtol=1e-4, atol=1e-5)


def test_refusals() -> None:
    x, dt, A = torch.randn(2, 6, 4, 3), torch.rand(2, 6, 4), -torch.rand(4)
    B = torch.randn(2, 6, 2, 5)
    with capture(torch.nn.Identity()), pytest.raises(ExportError, match="seq_idx"):
        mamba2.mamba_chunk_scan_combined(x, dt, A, B, B, 2, seq_idx=torch.zeros(2, 6))
    with capture(mamba2.Mamba3()) as model, pytest.raises(ExportError, match="Mamba-3, which has no op here"):
        model(x)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("fused", [True, False])
def test_mamba_ssm_itself(fused: bool, groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own reference in chunks judges, which computes another way."""
    with without_compiled_modules():
        reason = "needs mamba_ssm: MAMBA_SKIP_CUDA_BUILD=TRUE pip install --no-deps mamba-ssm einops"
        own = pytest.importorskip("mamba_ssm.modules.mamba2_simple", reason=reason)
    combined = pytest.importorskip("mamba_ssm.ops.triton.ssd_combined")
    gated = pytest.importorskip("mamba_ssm.ops.triton.layernorm_gated")
    sizes = {"d_model": 32, "d_state": 8, "headdim": 16, "ngroups": groups, "chunk_size": 4}
    model = own.Mamba2Simple(**sizes, use_mem_eff_path=False).eval()
    x = torch.randn(2, 12, 32)
    with torch.no_grad(), monkeypatch.context() as own_path:
        own_path.setattr(own, "causal_conv1d_fn", None)
        own_path.setattr(own, "mamba_chunk_scan_combined", _in_chunks(combined))
        own_path.setattr(gated, "rmsnorm_fn", gated.rms_norm_ref)
        right = model(x)
    model.use_mem_eff_path = fused
    with torch.no_grad(), capture(model), Calls() as calls:
        got = model(x)
    assert calls.count == 1
    torch.testing.assert_close(got, right, rtol=1e-4, atol=1e-5)


def _in_chunks(combined):
    def scan(x, dt, A, B, C, chunk_size, D, z, seq_idx, initial_states):
        return combined.ssd_chunk_scan_combined_ref(x, dt, A, B, C, chunk_size, D=D, z=z)

    return scan
