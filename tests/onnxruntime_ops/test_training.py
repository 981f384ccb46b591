"""The native scan of training: against float64 autograd through the plain scan, and in a network."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from mimamba_edge.export.families.msimamba.network import MSiMamba  # noqa: E402
from mimamba_edge.export.ops.native_scan import find_native_scan, native_scan  # noqa: E402
from mimamba_edge.export.ops.scan import selective_scan_ref  # noqa: E402
from mimamba_edge.export.ops.scan_inputs import ScanInputs  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]


def _given(b: int, length: int, d: int, g: int, n: int) -> list[Any]:
    generator = torch.Generator().manual_seed(0)
    wide, maps = (b, length, d), (b, length, g, n)
    drawn = [
        torch.randn(shape, generator=generator)
        for shape in (wide, wide, (d, n), maps, maps, (d,), (d,), wide)
    ]
    drawn[2] = -drawn[2].exp()
    return [t.requires_grad_() for t in drawn]


def _inputs(given: list[Any], reverse: bool = False) -> ScanInputs:
    *before, z = given
    return ScanInputs(*before, torch.zeros(1, *given[2].shape), z, delta_softplus=True, reverse=reverse)


def _grads(y: Any, given: list[Any]) -> list[Any]:
    weight = torch.linspace(-1, 1, y.numel()).reshape(y.shape).to(y.dtype)
    return [y, *torch.autograd.grad((y * weight).sum(), given)]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [1, 2, 7, 129])
@pytest.mark.parametrize(("b", "d", "g", "n"), [(1, 1, 1, 1), (19, 33, 1, 5), (3, 99, 3, 16), (1, 70, 2, 64)])
def test_gradients_are_those_of_autograd(
    native: Path, b: int, d: int, g: int, n: int, length: int, reverse: bool
) -> None:
    given = _given(b, length, d, g, n)
    wide = [t.detach().double().requires_grad_() for t in given]
    state = torch.zeros(1, d, n, dtype=torch.float64)
    y, _ = selective_scan_ref(*wide[:7], state, wide[7], delta_softplus=True, reverse=reverse)
    got = native_scan(ctypes.CDLL(str(native)), _inputs(given, reverse))
    for name, ours, wanted in zip(
        ["y", "u", "delta", "A", "B", "C", "D", "bias", "z"], _grads(got, given), _grads(y, wide), strict=True
    ):
        assert (ours - wanted).abs().max() <= 2e-5 * wanted.abs().max(), name


def test_the_number_of_threads_changes_no_bit(native: Path) -> None:
    library, given, threads = ctypes.CDLL(str(native)), _given(19, 40, 64, 2, 16), torch.get_num_threads()
    results = []
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            results.append(_grads(native_scan(library, _inputs(given)), given))
    finally:
        torch.set_num_threads(threads)
    assert all(map(torch.equal, *results))


def test_step_sizes_and_gates_far_from_zero(native: Path) -> None:
    given = _given(1, 6, 40, 1, 2)
    with torch.no_grad():
        given[1].copy_(torch.tensor([-100.0, -20.0, 0.0, 19.9, 20.1, 500.0])[None, :, None])
        given[7].copy_(torch.tensor([-500.0, -90.0, 0.0, 1.0, 90.0, 500.0])[None, :, None])
    wide = [t.detach().double().requires_grad_() for t in given]
    y, _ = selective_scan_ref(*wide[:7], torch.zeros(1, 40, 2).double(), wide[7], delta_softplus=True)
    got = native_scan(ctypes.CDLL(str(native)), _inputs(given))
    for ours, wanted in zip(_grads(got, given), _grads(y, wide), strict=True):
        assert (ours - wanted).abs().max() <= 1e-4 * wanted.abs().max()


@pytest.fixture
def chosen(native: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MIMAMBA_ORT_OPS", str(native))
    find_native_scan.cache_clear()
    yield
    find_native_scan.cache_clear()


def _step(model: Any, x: Any) -> list[Any]:
    model.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(x), torch.arange(len(x)) % 2)
    loss.backward()
    return [loss.detach(), *(p.grad.clone() for p in model.parameters())]


@pytest.mark.parametrize("mixed", [False, True])
def test_a_network_trains_by_it_as_without(
    chosen: None, mixed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = MSiMamba(3, 48, 2, 48.0, d_model=8, d_ff=2, n_layers=2, bidirectional=True, dropout=0.0)
    x, results = torch.randn(6, 3, 48), []
    for ops in (None, "none"):
        if ops:
            monkeypatch.setenv("MIMAMBA_ORT_OPS", ops)
            find_native_scan.cache_clear()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            results.append(_step(model, x))
    assert not all(map(torch.equal, *results)), "the same code twice"
    for ours, torchs in zip(*results, strict=True):
        assert (ours - torchs).abs().max() <= (3e-2 if mixed else 1e-4) * torchs.abs().max()


def test_only_training_runs_it(chosen: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What native ops are compared with must not be they themselves."""
    model, x = MSiMamba(3, 48, 2, 48.0, d_model=8, d_ff=2, n_layers=1).eval(), torch.randn(2, 3, 48)
    first = model(x)
    monkeypatch.setenv("MIMAMBA_ORT_OPS", "none")
    find_native_scan.cache_clear()
    assert torch.equal(first, model(x))
    wide = model.double().train()
    monkeypatch.undo()
    find_native_scan.cache_clear()
    assert wide(x.double()).dtype == torch.float64


def test_a_library_that_cannot_be_used_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    library = tmp_path / "libmimamba_ort.so"
    library.write_bytes(b"no library")
    monkeypatch.setenv("MIMAMBA_ORT_OPS", str(library))
    find_native_scan.cache_clear()
    try:
        assert find_native_scan() is None
    finally:
        find_native_scan.cache_clear()
    said = capsys.readouterr().err
    assert "torch operations" in said
    assert "plugin build --host onnxruntime" in said
