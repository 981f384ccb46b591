"""What one window costs: the multiply-accumulates of its dense arithmetic."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.contract import Contract
from mimamba_edge.numerics import mstb

__all__ = ["dense_macs"]


def dense_macs(contract: Contract, windows: NDArray[np.float32]) -> dict[str, float]:
    """Return the multiply-accumulates of one window, ``{"mstb", "rest"}``.

    The MSTB's two fused convolutions are counted dense, taps in the padding included, over the grids that
    these windows' periods fold to (mean over windows). The spectrum, activations, norms and the scan's
    exponentials are not counted.
    """
    m, length, chans = contract.model, contract.n_times, contract.n_chans
    max_bin = m["max_bin"]
    periods, _ = mstb.choose_periods(
        mstb.spectrum(windows.transpose(0, 2, 1)), length, m["top_k"], m["min_bin"], max_bin
    )
    cells = float(np.mean(np.sum(-(-length // periods) * periods, axis=1)))
    taps = (2 * m["n_kernels"] - 1) ** 2
    d, inner, state = m["d_model"], m["expand"] * m["d_model"], m["d_state"]
    rank = -(-d // 16) if m["dt_rank"] == "auto" else m["dt_rank"]
    # Per token: in_proj, depthwise conv, x_proj, dt_proj, scan (state update and read-out), out_proj.
    block = d * 2 * inner + inner * m["d_conv"] + inner * (rank + 2 * state) + rank * inner
    block += 2 * inner * state + inner * d
    # A bidirectional block has its convolution, projections of the scan and scan twice.
    if m["bidirectional"]:
        block += inner * m["d_conv"] + inner * (rank + 2 * state) + rank * inner + 2 * inner * state
    rest = chans * (length * d + m["n_layers"] * block + d * contract.n_outputs)
    return {"mstb": cells * chans * m["d_ff"] * taps * 2, "rest": float(rest)}
