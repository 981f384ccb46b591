"""The benchmark of native ops: its yardstick computes a scan, its clock takes turns."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks import native_ops
from mimamba_edge.numerics.scan import selective_scan


def test_the_plain_loop_computes_the_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("g++") is None:
        pytest.skip("needs a C++ compiler: apt install g++")
    for name, size in (("LENGTH", 9), ("WIDTH", 7), ("STATES", 3)):
        monkeypatch.setattr(native_ops, name, size)
    t = native_ops.scan_tensors()
    call, y = native_ops.plain_loop(t, tmp_path)
    call()
    wanted, _ = selective_scan(**t, delta_softplus=True)
    np.testing.assert_allclose(y, wanted, atol=1e-5 * np.abs(wanted).max())


def test_calls_take_turns_and_first_ones_do_not_count() -> None:
    order: list[str] = []
    found = native_ops.in_turn({name: lambda name=name: order.append(name) for name in "ab"}, 2)
    assert "".join(order) == "ab" * 5
    assert set(found) == {"a", "b"}
    assert all(one["clock_ms"] >= 0 <= one["cpu_ms"] for one in found.values())
