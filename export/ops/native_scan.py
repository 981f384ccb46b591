"""The scan and its gradients in the library of native ops, for training on a CPU where it is at hand.

The scan's states are sixteen times as many numbers as its input. Torch operations have to write them all to
memory several times; a loop in C++ holds them in registers.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mimamba_edge.console import show_warning
from mimamba_edge.errors import PluginError
from mimamba_edge.export.ops.scan_inputs import ScanInputs
from mimamba_edge.runtime.native_ops import find_native_ops

__all__ = ["find_native_scan", "native_scan"]

_GIVEN = ("u", "delta", "A", "B", "C", "D", "delta_bias", "z")
_SIZES = ("b", "l", "d", "g", "n", "threads")


class _Training(ctypes.Structure):
    """``MimambaTraining`` of ``plugins/onnxruntime/training.cpp``."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in (*_GIVEN, "y", "grad_y", *(f"grad_{name}" for name in _GIVEN))),
        *((name, ctypes.c_int64) for name in _SIZES),
        ("reverse", ctypes.c_int32),
    )


@functools.cache
def find_native_scan() -> ctypes.CDLL | None:
    """Return the library of native ops; ``None``, with a warning, where there are some and none serves."""
    try:
        found = find_native_ops()
    except PluginError as error:
        show_warning(f"the scan trains in torch operations, slower than by native ops: {error}")
        return None
    library = None if found is None else ctypes.CDLL(str(found.path))
    return library if hasattr(library, "mimamba_scan_gradients") else None


def native_scan(library: ctypes.CDLL, given: ScanInputs) -> Tensor:
    """Return ``y (b, l, d)`` of :func:`mimamba_edge.export.ops.scan.selective_scan` from a zero state.

    All arithmetic is float32. The bits do not depend on the number of threads.

    Args:
        library: See :func:`find_native_scan`.
        given: With a gate, through the softplus; the initial state is not looked at.
    """
    tensors = (getattr(given, name) for name in _GIVEN)
    y: Tensor = _Scan.apply(library, given.reverse, *tensors)  # type: ignore[no-untyped-call]
    return y


class _Scan(torch.autograd.Function):
    """The scan as autograd sees it."""

    @staticmethod
    def forward(ctx: Any, library: ctypes.CDLL, reverse: bool, *given: Tensor) -> Tensor:
        held = [t.float().contiguous() for t in given]
        y = torch.empty_like(held[0])
        _call(library.mimamba_train_scan, reverse, held, {"y": y})
        ctx.save_for_backward(*held)
        ctx.library, ctx.reverse, ctx.types = library, reverse, [t.dtype for t in given]
        return y.to(given[0].dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        held = ctx.saved_tensors
        grads = [torch.empty_like(t) for t in held]
        others = {f"grad_{name}": grad for name, grad in zip(_GIVEN, grads, strict=True)}
        others["grad_y"] = grad_y.float().contiguous()
        _call(ctx.library.mimamba_scan_gradients, ctx.reverse, held, others)
        return None, None, *(grad.to(kind) for grad, kind in zip(grads, ctx.types, strict=True))


def _call(function: Any, reverse: bool, given: Any, others: dict[str, Tensor]) -> None:
    named = {**dict(zip(_GIVEN, given, strict=True)), **others}
    batch, length, width = given[0].shape
    sizes = (batch, length, width, *given[3].shape[2:], torch.get_num_threads())
    problem = _Training(
        **{name: tensor.data_ptr() for name, tensor in named.items()},
        **dict(zip(_SIZES, sizes, strict=True)),
        reverse=reverse,
    )
    if function(ctypes.byref(problem)):
        raise MemoryError("the native scan")
