"""Spectra of models of others: short transforms as products, phases with the cut where torch has it.

The first bin of ``torch.fft.rfft``, and the last of an even length, have an imaginary part of exactly 0, so
that their phase is 0 or pi. ONNX's DFT leaves a rounding error there, of either sign, and a phase of pi or
minus pi with it. A product with cosines and sines does not; it is also more exact, and TensorRT has no DFT.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from onnx import numpy_helper
from onnxscript import opset18
from onnxscript.function_libs.torch_lib.ops.fft import aten__fft_r2c
from torch import Tensor
from torch.export import ExportedProgram

__all__ = ["phases", "real_transform"]

op: Any = opset18
_LONGEST = 512
"""Samples up to which a transform is a product: its matrix has 1 MiB then."""


def real_transform(x: Any, dim: Sequence[int], normalization: int, onesided: bool) -> Any:
    """Emit ``aten::_fft_r2c``: ``(..., n)`` to ``(..., n // 2 + 1, 2)``, real and imaginary part.

    Args:
        x: The signal.
        dim: Axes.
        normalization: 0: none; 1: by the root of n; 2: by n.
        onesided: Whether bins above n / 2 are left out.
    """
    rank = len(x.shape)
    axis = dim[0] % rank
    n = x.shape[axis]
    if len(dim) > 1 or not onesided or not isinstance(n, int) or n > _LONGEST:
        return aten__fft_r2c(x, dim, normalization, onesided)
    turned = [a for a in range(rank) if a != axis] + [axis]
    rows = x if axis == rank - 1 else op.Transpose(x, perm=turned)
    matrix = _matrix(n) / (1.0, math.sqrt(n), n)[normalization]
    made = op.MatMul(rows, op.Constant(value=numpy_helper.from_array(matrix.astype(x.dtype.numpy()))))
    sizes = np.array([0] * (rank - 1) + [n // 2 + 1, 2], dtype=np.int64)
    made = op.Reshape(made, op.Constant(value=numpy_helper.from_array(sizes)))
    if axis == rank - 1:
        return made
    return op.Transpose(made, perm=[*np.argsort(turned).tolist(), rank])


def _matrix(n: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return what turns ``(n)`` into ``(bins, 2)``, as ``(n, bins * 2)``."""
    bins = n // 2 + 1
    # Within one turn: large angles have no exact cosine.
    angles = np.outer(np.arange(n), np.arange(bins)) % n * (-2 * np.pi / n)
    sines = np.sin(angles)
    sines[:, 0] = 0.0
    if n % 2 == 0:
        sines[:, -1] = 0.0
    return np.stack([np.cos(angles), sines], axis=-1).reshape(n, bins * 2)


def phases(program: ExportedProgram) -> ExportedProgram:
    """Return a program whose phases of complex numbers are arcs of real ones.

    torch's translation takes minus pi for the phase of negative numbers, where torch itself has pi.
    """
    angle = torch.ops.aten.angle.default
    if angle not in {node.target for node in program.graph.nodes}:
        return program
    plain: ExportedProgram = program.run_decompositions({angle: _phase})
    return plain


def _phase(x: Tensor) -> Any:
    if not x.is_complex():
        return NotImplemented
    real, imaginary = torch.view_as_real(x)[..., 0], torch.view_as_real(x)[..., 1]
    nothing = ((real == 0) & (imaginary == 0)).to(real.dtype)
    arc = torch.atan(imaginary / (real + nothing))
    half_turn = math.pi - 2 * math.pi * (imaginary < 0).to(real.dtype)
    return arc + (real < 0).to(real.dtype) * half_turn
