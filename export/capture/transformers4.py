"""Mixers of transformers before 5: their scan is a loop inside ``slow_forward``, not a function to replace.

``cuda_kernels_forward`` of the same class computes the same by the functions of mamba_ssm and causal_conv1d,
which are ``None`` where those are not installed. It takes the other's place, with our functions for theirs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from mimamba_edge.export.capture import adapters

__all__ = ["fused_forward"]


def _scan(
    u: Any,
    delta: Any,
    A: Any,
    B: Any,
    C: Any,
    D: Any = None,
    z: Any = None,
    delta_bias: Any = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
) -> None:
    """Stand for mamba_ssm's ``selective_scan_fn``."""


def _convolution(x: Any, weight: Any, bias: Any = None, seq_idx: Any = None, activation: Any = None) -> None:
    """Stand for Dao-AILab/causal-conv1d's ``causal_conv1d_fn``."""


def fused_forward(kind: type) -> tuple[Callable[..., Any], dict[str, Any]] | None:
    """Return the method that takes ``slow_forward``'s place, and what its module must hold meanwhile.

    Args:
        kind: A class of the model.

    Returns:
        ``None`` for a class that is no such mixer.
    """
    slow, fused = vars(kind).get("slow_forward"), vars(kind).get("cuda_kernels_forward")
    if not (inspect.isfunction(slow) and inspect.isfunction(fused)):
        return None
    space = fused.__globals__
    if "selective_scan_fn" not in space:
        return None
    convolve = adapters.causal_conv1d(_convolution)
    needed = {
        "selective_scan_fn": adapters.channel_first_scan(_scan),
        "causal_conv1d_fn": convolve,
        "_lazy_load_causal_conv1d": lambda: (
            None,
            convolve,
        ),  # 4.56 and later; without a state, one is not run
    }
    held = {name: value for name, value in needed.items() if name in space}
    # What is installed has been replaced by its own name and parameters.
    return fused, {name: value for name, value in held.items() if name[0] == "_" or space[name] is None}
