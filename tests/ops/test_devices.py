"""What trains stays on the device of its inputs: torch's meta device refuses tensors of any other."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from mimamba_edge.export.ops import mstb_gradients, scan_blocks  # noqa: E402
from mimamba_edge.export.ops.scan_inputs import ScanInputs  # noqa: E402
from mimamba_edge.export.training.augment import ft_surrogate  # noqa: E402


def elsewhere(*shape: int) -> Any:
    return torch.empty(shape, device="meta")


@pytest.mark.parametrize("reverse", [False, True])
def test_scan_and_its_gradients(reverse: bool) -> None:
    b, length, d, n = 2, 5, 64, 128
    wide, maps = elsewhere(b, length, d), elsewhere(b, length, 1, n)
    tensors = (wide, wide, elsewhere(d, n), maps, maps, elsewhere(d), elsewhere(d), elsewhere(1, d, n), wide)
    given = ScanInputs(*tensors, True, reverse)
    y, last = scan_blocks.scan(given)
    grads = scan_blocks.gradients(y, last, given)
    assert {t.device.type for t in (y, last, *grads)} == {"meta"}
    assert [g.shape for g in grads] == [t.shape for t in tensors]


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("of_x", [False, True])
def test_block_and_its_gradients(of_x: bool, kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def two_groups(periods: Any) -> Any:  # which windows have which period, no number is there to tell
        index = torch.zeros(3, dtype=torch.int64, device=periods.device)
        yield from ((16, index, index), (5, index, index))

    monkeypatch.setattr(mstb_gradients, "groups", two_groups)
    x, w1, w2 = elsewhere(4, 32, 2), elsewhere(3, 2, 5, 5), elsewhere(2, 3, 5, 5)
    held = mstb_gradients.run(x, w1, elsewhere(3), w2, elsewhere(2), (2, 1, 0, 0, 1.0, 0), kind)
    grads = [g for g in held.gradients(held.y, 0, 1.0, of_x=of_x) if g is not None]
    assert {t.device.type for t in (held.y, *grads)} == {"meta"}
    assert {t.dtype for t in (held.y, *grads)} == {torch.float32}


def test_surrogates() -> None:
    generator = torch.Generator().manual_seed(0)
    assert ft_surrogate(elsewhere(3, 2, 32), 0.5, generator).device.type == "meta"
