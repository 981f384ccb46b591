"""The lines of torch that the ops' docstrings say they are equivalent to, run as they stand there."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch", reason="needs torch: pip install 'mimamba-edge[export]'")

from torch.nn import functional as F  # noqa: E402

from mimamba_edge.export.ops import multi_scale_temporal_block, selective_scan  # noqa: E402


def run_docstring(op: Callable[..., Any], **names: Any) -> dict[str, Any]:
    """Run the code after the docstring's ``::`` and return what it leaves."""
    text = inspect.getdoc(op) or ""
    (code,) = re.findall(r"^Equivalent.*::\n\n((?:    .*\n|\n)+)", text, flags=re.MULTILINE)
    names.update(torch=torch, F=F)
    assert len(code.strip().splitlines()) <= 16, "a few lines"
    exec(textwrap.dedent(code), names)
    return names


def draw(*shape: int) -> Any:
    return torch.randn(shape, generator=GENERATOR, dtype=torch.float64)


GENERATOR = torch.Generator().manual_seed(3)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("softplus", [False, True])
def test_selective_scan(reverse: bool, gated: bool, softplus: bool) -> None:
    b, length, d, groups, n = 2, 9, 6, 3, 4
    tensors = {
        "u": draw(b, length, d),
        "delta": draw(b, length, d),
        "A": -draw(d, n).exp(),
        "B": draw(b, length, groups, n),
        "C": draw(b, length, groups, n),
        "D": draw(d),
        "delta_bias": draw(d),
        "initial_state": draw(1, d, n),
        "z": draw(b, length, d) if gated else None,
    }
    options = {"delta_softplus": softplus, "reverse": reverse}
    y, last_state = selective_scan(**tensors, **options)
    plain = run_docstring(selective_scan, **tensors, **options)
    torch.testing.assert_close(plain["y"], y)
    torch.testing.assert_close(plain["last_state"], last_state)


@pytest.mark.parametrize("length", [16, 33])
@pytest.mark.parametrize("weighting", [0, 1])
@pytest.mark.parametrize(("min_bin", "max_bin", "period_rule"), [(1, 0, 0), (2, 6, 0), (2, 6, 1)])
def test_multi_scale_temporal_block(
    length: int, weighting: int, min_bin: int, max_bin: int, period_rule: int
) -> None:
    b, channels, features, size = 3, 2, 5, 5
    tensors = {
        "x": draw(b, length, channels),
        "w1": draw(features, channels, size, size),
        "b1": draw(features),
        "w2": draw(channels, features, size, size),
        "b2": draw(channels),
    }
    options = {"top_k": 3, "min_bin": min_bin, "max_bin": max_bin, "weighting": weighting}
    options["period_rule"] = period_rule
    y = multi_scale_temporal_block(**tensors, **options, amplitude_scale=0.3)
    plain = run_docstring(multi_scale_temporal_block, **tensors, **options, amplitude_scale=0.3)
    torch.testing.assert_close(plain["y"], y)
