"""Names under which other packages have their scans and kernels, and what stands in for each."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mimamba_edge.export.capture import adapters, mamba2

__all__ = ["FUNCTIONS", "LAYOUTS", "METHODS", "Entry", "Function", "entry_of", "fits"]

Function = Callable[..., Any]


@dataclass(frozen=True)
class Entry:
    """One kind of function that is replaced.

    Attributes:
        needs: Parameters it must have to be that kind.
        stand_in: Makes the function that takes its place.
        sample: Its signature where only the compiled module that holds it is missing.
    """

    needs: tuple[str, ...]
    stand_in: Callable[[Function], Function]
    sample: Function | None = None


def _conv_sample(x: Any, weight: Any, bias: Any = None, seq_idx: Any = None, activation: Any = None) -> None:
    """Stand for Dao-AILab/causal-conv1d's ``causal_conv1d_fn``."""


_SCAN = ("A", "B", "C", "D")
_INNER = ("xz", "conv1d_weight", "conv1d_bias", "x_proj_weight", "delta_proj_weight", "A")
_FIRST = Entry(_SCAN, adapters.channel_first_scan)
_BLOCK = Entry(_INNER, adapters.mamba_inner)
FUNCTIONS = {
    # state-spaces/mamba, mamba_ssm/ops/selective_scan_interface.py; VMamba, classification/models/csms6s.py
    "selective_scan_fn": _FIRST,
    "selective_scan_ref": _FIRST,
    "mamba_inner_fn": _BLOCK,
    "mamba_inner_ref": _BLOCK,
    "causal_conv1d_fn": Entry(("weight", "bias", "activation"), adapters.causal_conv1d, _conv_sample),
    # state-spaces/mamba, mamba_ssm/ops/triton/layer_norm.py
    "layer_norm_fn": Entry(("x", "weight", "bias", "residual", "eps"), adapters.layer_norm),
    "rms_norm_fn": Entry(("x", "weight", "bias", "residual", "eps"), adapters.rms_norm),
    # state-spaces/mamba, mamba_ssm/ops/triton/ssd_combined.py and layernorm_gated.py: Mamba-2
    "mamba_chunk_scan_combined": Entry(("x", "dt", "A", "B", "C", "D"), mamba2.chunk_scan),
    "mamba_split_conv1d_scan_combined": Entry(("zxbcdt", "A", "D", "headdim"), mamba2.split_conv_scan),
    "rmsnorm_fn": Entry(("x", "weight", "bias", "z", "norm_before_gate"), mamba2.gated_norm),
    # state-spaces/mamba, mamba_ssm/modules/mamba3.py: refused
    "mamba3_siso_combined": Entry(("Q", "K", "V"), mamba2.other_scan),
    "mamba3_mimo_combined": Entry(("Q", "K", "V"), mamba2.other_scan),
    # hustvl/Vim, mamba-1p1p1/mamba_ssm/ops/selective_scan_interface.py
    "mamba_inner_fn_no_out_proj": _BLOCK,
    "bimamba_inner_fn": Entry((*_INNER, "A_b"), adapters.mamba_inner),
    # MzeroMiko/VMamba, classification/models/csm_triton.py
    "cross_scan_fn": Entry(("x", "in_channel_first", "one_by_one"), adapters.cross_scan),
    "cross_merge_fn": Entry(("y", "in_channel_first", "one_by_one"), adapters.cross_merge),
    # huggingface/transformers, models/{mamba,falcon_mamba,jamba}
    "mamba_selective_scan": _FIRST,
}
"""Functions of modules, by name."""
_LAST = Entry(_SCAN, adapters.channel_last_scan)
METHODS = {
    # thuml/Time-Series-Library, models/MambaSimple.py; johnma2006/mamba-minimal; alxndrTL/mamba.py
    "selective_scan": _LAST,
    "selective_scan_seq": _LAST,
}
"""Methods of ``nn.Module`` classes, by name."""
LAYOUTS = {"channel-first": adapters.channel_first_scan, "channel-last": adapters.channel_last_scan}
"""How a scan that a user names keeps its tensors: ``(b, d, l)`` or ``(b, l, d)``."""


def fits(entry: Entry, function: object) -> bool:
    """Return whether a callable has the parameters of an entry."""
    try:
        parameters = inspect.signature(function).parameters  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return all(name in parameters for name in entry.needs)


def entry_of(name: str, value: object) -> Entry | None:
    """Return the entry of a function by its name and its parameters; ``None``: not one of ours."""
    entry = FUNCTIONS.get(name)
    return entry if entry is not None and callable(value) and fits(entry, value) else None
