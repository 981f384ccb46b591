"""Scans of other packages run through our op, and everything is put back."""

from __future__ import annotations

import sys

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from torch import nn  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from mimamba_edge.errors import ConfigError, ExportError  # noqa: E402
from mimamba_edge.export.capture import as_selective_scan, capture  # noqa: E402
from mimamba_edge.export.capture.stubs import without_compiled_modules  # noqa: E402
from mimamba_edge.export.capture.unrolled import check_scans  # noqa: E402
from tests.foreign import old_mixer, standins  # noqa: E402
from tests.foreign.old_mixer import OldMixer  # noqa: E402

SCAN = torch.ops.mimamba.selective_scan.default


class Calls(TorchDispatchMode):
    """Counts calls of our op."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is SCAN
        return func(*args, **(kwargs or {}))


def check(model: nn.Module, count: int, **more: object) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 9, standins.D)
    names = [*model.state_dict()]
    with torch.no_grad():
        right = model(x)
        with capture(model, **more), Calls() as calls:
            got = model(x)
        again = model(x)
    assert calls.count == count
    torch.testing.assert_close(got, right, rtol=1e-5, atol=1e-6)
    assert torch.equal(again, right)
    assert [*model.state_dict()] == names


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("conv_bias", [False, True])
@pytest.mark.parametrize(("path", "scans"), [("inner", 1), ("both ways", 2), ("unfused", 1)])
def test_paths_of_mamba_ssm_and_vim(path: str, scans: int, bias: bool, conv_bias: bool) -> None:
    check(standins.Mixer(path, bias=bias, conv_bias=conv_bias), scans)


def test_method_over_channel_last() -> None:
    check(standins.ChannelLast(), 1)


def test_method_whose_scan_is_inlined_as_in_transformers_4() -> None:
    check(OldMixer(), 1)
    assert old_mixer.selective_scan_fn is None


def test_grouped_scan_with_the_arguments_of_vmamba() -> None:
    """Another order of arguments, and B and C in groups."""

    def selective_scan_fn(u, delta, A, B, C, D=None, delta_bias=None, delta_softplus=True, oflex=True):
        return standins.selective_scan_fn(u, delta, A, B, C, D, None, delta_bias, delta_softplus)

    class Cross(nn.Module):
        def __init__(self):
            super().__init__()
            self.scan = selective_scan_fn
            self.A, self.bias = nn.Parameter(-torch.rand(8, 4)), nn.Parameter(torch.rand(8))

        def forward(self, x):
            u = x.transpose(1, 2)
            B = torch.stack([u[:, :4], u[:, 4:]], 1)
            return self.scan(u, u.abs(), self.A, B, B.flip(1), self.bias, self.bias)

    check(Cross(), 1)


def test_functions_are_put_back_after_an_error() -> None:
    before = standins.selective_scan_fn, standins.ChannelLast.selective_scan

    def fails() -> None:
        with capture(standins.ChannelLast()):
            assert standins.selective_scan_fn is not before[0]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert (standins.selective_scan_fn, standins.ChannelLast.selective_scan) == before


def test_scan_by_name_and_by_mark() -> None:
    class Own(nn.Module):
        def run(self, x, dt, As, Bs, Cs):
            return standins.ChannelLast.selective_scan(self, x, dt, As, Bs, Cs, torch.zeros(8))

        marked = as_selective_scan("channel-last")(run)

        def __init__(self, method):
            super().__init__()
            self.method, self.A = method, nn.Parameter(-torch.rand(8, 4))

        def forward(self, x):
            return getattr(self, self.method)(x, x.abs(), self.A, x[..., :4], x[..., 4:])

    standins.Own = Own  # type: ignore[attr-defined]
    try:
        check(Own("run"), 1, scans={"tests.foreign.standins:Own.run": "channel-last"})
    finally:
        del standins.Own
    check(Own("marked"), 1)
    with pytest.raises(ConfigError, match="channel-first or channel-last"):
        as_selective_scan("rows")
    with (
        pytest.raises(ConfigError, match=r"no scan tests\.foreign.standins:none"),
        capture(nn.Identity(), {"tests.foreign.standins:none": "channel-last"}),
    ):
        pass


@pytest.mark.parametrize("length", [4, 9])
def test_an_unknown_scan_is_found_in_the_graph(length: int) -> None:
    model = standins.unknown()
    program = torch.export.export(model, (torch.randn(2, length, 8),), strict=False)
    with pytest.raises(ExportError, match=r"module encoder\.1 holds a scan that is not known(.|\n)*standins"):
        check_scans(program)


@pytest.mark.parametrize("length", [8, 32])
@pytest.mark.parametrize("form", ["doubling", "tree"])
def test_an_unknown_parallel_scan_is_found(form: str, length: int) -> None:
    part, x = standins.Parallel(form), torch.randn(2, length, standins.D)
    decay, right = torch.sigmoid(part.gate(x)), [x[:, 0]]
    for t in range(1, length):
        right.append(decay[:, t] * right[-1] + x[:, t])
    torch.testing.assert_close(part(x), torch.stack(right, 1), msg="the stand-in is no scan")
    program = torch.export.export(standins.Whole(part), (x,), strict=False)
    with pytest.raises(ExportError, match=r"module encoder\.1 holds a scan(.|\n)*standins"):
        check_scans(program)


def test_a_bare_parallel_scan_of_mambapy_is_found() -> None:
    pscan = pytest.importorskip("mambapy.pscan", reason="needs mambapy: pip install mambapy").pscan

    class Bare(nn.Module):
        def forward(self, x):
            return pscan(torch.sigmoid(x), x)

    program = torch.export.export(Bare(), (torch.randn(1, 8, 4, 2),), strict=False)
    with pytest.raises(ExportError, match=r"holds a scan that is not known"):
        check_scans(program)


def test_polynomials_are_no_scans() -> None:
    class Polynomial(nn.Module):
        def forward(self, x):
            return (((x * 0.1 + 0.2) * x + 0.3) * x + 0.4) * x + 0.5

    check_scans(torch.export.export(Polynomial(), (torch.randn(2, 8),), strict=False))


def test_deep_residual_networks_are_no_scans() -> None:
    class Deep(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = nn.ModuleList(nn.Linear(8, 8) for _ in range(6))
            self.scale = nn.Parameter(torch.ones(8))

        def forward(self, x):
            for part in self.parts:
                x = x + part(x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.scale)
            return x

    check_scans(torch.export.export(Deep(), (torch.randn(2, 8),), strict=False))


def test_compiled_modules_are_stubs_while_a_model_is_made(tmp_path, monkeypatch) -> None:
    if "triton" in sys.modules:
        pytest.skip("needs an environment without triton")
    (tmp_path / "kernels_of_mine.py").write_text(
        "import selective_scan_cuda, triton\nimport triton.language as tl\n"
        "from causal_conv1d import causal_conv1d_fn\n"
        "@triton.autotune(configs=[triton.Config({'B': 1}, num_warps=2)], key=['n'])\n@triton.jit\n"
        "def kernel(x, n: tl.constexpr): pass\n"
        "def run(x): return kernel[(1,)](x, 3)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with without_compiled_modules():
        import kernels_of_mine  # type: ignore[import-not-found]
    assert not {"triton", "triton.language", "selective_scan_cuda", "causal_conv1d"} & set(sys.modules)
    with pytest.raises(ImportError):
        import selective_scan_cuda  # noqa: F401
    with pytest.raises(ExportError, match=r"kernels_of_mine\.kernel, which is compiled and not installed"):
        kernels_of_mine.run(torch.zeros(3))
    x, weight = torch.randn(1, 8, 5), torch.randn(8, 3)
    with capture(nn.Identity()):
        got = kernels_of_mine.causal_conv1d_fn(x, weight, activation="silu")
    torch.testing.assert_close(got, standins.causal_conv1d_fn(x, weight, activation="silu"))
