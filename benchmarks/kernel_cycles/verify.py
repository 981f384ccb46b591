"""Holds what the executed machine code computes against the float64 oracles."""

from __future__ import annotations

import numpy as np

from benchmarks.kernel_cycles.cases import MstbCase, Problem, ScanCase
from mimamba_edge.numerics.mstb import multi_scale_temporal_block
from mimamba_edge.numerics.scan import selective_scan

__all__ = ["mstb_error", "scan_error"]


def scan_error(case: ScanCase, problem: Problem) -> float:
    """Return the largest error of y, relative to its largest value, after all blocks were executed."""
    b, steps, d, n = case.b, case.l, case.d, case.n
    u, delta, B, C, z, A, D, bias, state, y = (t.astype(np.float64) for t in problem.arrays[:10])
    want, _ = selective_scan(
        u.reshape(b, steps, d), delta.reshape(b, steps, d), A.reshape(d, n), B.reshape(b, steps, 1, n),
        C.reshape(b, steps, 1, n), D, bias, state.reshape(b, d, n), z.reshape(b, steps, d),
        delta_softplus=True, reverse=False,
    )  # fmt: skip
    return float(np.abs(y.reshape(want.shape) - want).max() / np.abs(want).max())


def mstb_error(case: MstbCase, problem: Problem) -> float:
    """Return the same of a temporal block."""
    x, w1, b1, w2, b2, y = (t.astype(np.float64) for t in problem.arrays[:6])
    want = multi_scale_temporal_block(
        x.reshape(case.b, case.l, case.c), w1.reshape(case.f, case.c, case.k, case.k), b1,
        w2.reshape(case.c, case.f, case.k, case.k), b2,
        top_k=case.top_k, min_bin=1, max_bin=0, weighting=0, amplitude_scale=1.0,
    )  # fmt: skip
    return float(np.abs(y.reshape(want.shape) - want).max() / np.abs(want).max())
