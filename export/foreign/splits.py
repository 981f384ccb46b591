"""Splits along the batch that torch's exporter would take for a fixed batch size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

__all__ = ["OpenSplits"]


class OpenSplits(TorchFunctionMode):
    """Writes ``x.split(b, 0)`` of ``x`` with ``k * b`` rows as k slices while the context is open.

    Attention that lays its heads along the batch ends so (ATCNet, the Set Transformer). To count the parts
    torch asks when ``ceil(k b / b) == k``, cannot prove it for all, and keeps the batch of its example.
    """

    def __torch_function__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run a function of torch, or the slices in its place."""
        kwargs = kwargs or {}
        if func in (torch.Tensor.split, torch.split) and len(args) > 1 and isinstance(args[1], torch.SymInt):
            x, size = args[0], args[1]
            dim = args[2] if len(args) > 2 else kwargs.get("dim", 0)
            parts = _constant(x.shape[dim] // size)
            if parts and _constant(x.shape[dim] - parts * size) == 0:
                return tuple(x.narrow(dim, i * size, size) for i in range(parts))
        return func(*args, **kwargs)


def _constant(value: int | torch.SymInt) -> int | None:
    """Return a size that is the same for every batch; ``None``: it is not."""
    found: int | None = value.node.maybe_as_int() if isinstance(value, torch.SymInt) else value
    return found
