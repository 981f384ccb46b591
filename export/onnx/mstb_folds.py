"""How a fold of a window is convolved in ONNX Runtime, which depends on its shape.

* A fold that is higher than wide is turned: rows out of range are skipped, columns at the edges are slow.
* The second convolution has few output channels and a block is 16: groups of its kernel's columns become
  output channels, which a dilated convolution with ones moves to their place and adds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from mimamba_edge.export.onnx.body import Body

__all__ = ["Folds", "column_groups", "column_sum", "either"]

_BLOCK = 16
"""Output channels that ONNX Runtime's blocked convolution computes at a time."""
_F32 = TensorProto.FLOAT


@dataclass(frozen=True)
class Folds:
    """Both convolutions in float32.

    Attributes:
        channels: c.
        features: f.
        kernel: k.
        cast: Whether the node's kernels are of another type and must be cast.
    """

    channels: int
    features: int
    kernel: int
    cast: bool = False

    def flags(self, rows: NDArray[np.int64], period: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
        """Return what :meth:`add` must know of a fold's shape, for all bins."""
        return {"narrow": period < rows}

    def scales(self, b: Body, windows: str) -> dict[str, tuple[str, int, list[int]]]:
        """Add what :meth:`add` must know of a window ``(b, c, l)``: name, element type, shape without b."""
        return {}

    def add(self, b: Body, fold: str, known: dict[str, str]) -> str:
        """Add both convolutions of ``fold (1, c, rows, period)`` and return the result's name.

        Args:
            b: Where to.
            fold: Name of the fold.
            known: Names of the values of :meth:`flags` and :meth:`scales` for this fold.
        """
        turned, straight = Body(b), Body(b)
        y = self.convolutions(turned, turned.op("Transpose", fold, perm=[0, 1, 3, 2]), turn=True)
        y = turned.op("Transpose", y, perm=[0, 1, 3, 2])
        return either(
            b, known["narrow"], (turned, y), (straight, self.convolutions(straight, fold, turn=False))
        )

    def convolutions(self, b: Body, x: str, *, turn: bool) -> str:
        """Add both convolutions of ``x (1, c, rows, columns)``; ``turn``: of a fold that was transposed."""
        c, f, k = self.channels, self.features, self.kernel

        def fetch(name: str, rows: int, *, kernel: bool) -> str:
            value = b.op("Gather", name, b.ints(*range(rows)))
            if kernel and self.cast:
                value = b.cast(value, _F32)
            return b.op("Transpose", value, perm=[0, 1, 3, 2]) if kernel and turn else value

        w1, w2 = fetch("w1", f, kernel=True), fetch("w2", c, kernel=True)
        b1, b2 = fetch("b1", f, kernel=False), fetch("b2", c, kernel=False)
        half = k // 2
        hidden = b.gelu(b.op("Conv", x, w1, b1, pads=[half] * 4))
        groups = column_groups(c, k)
        if groups == 1:
            return b.op("Conv", hidden, w2, b2, pads=[half] * 4)
        width = -(-k // groups)
        fill = width * groups - k
        if fill:
            w2 = b.op("Pad", w2, b.ints(0, 0, 0, 0, 0, 0, 0, fill))
        w2 = b.op("Transpose", b.op("Reshape", w2, b.ints(c, f, k, groups, width)), perm=[3, 0, 1, 2, 4])
        w2 = b.op("Reshape", w2, b.ints(groups * c, f, k, width))
        parts = b.op("Conv", hidden, w2, pads=[half, half, half, half + fill])
        add = b.const(column_sum(np.ones(groups * c), groups))
        return b.op("Conv", parts, add, b2, dilations=[1, width])


def either(b: Body, flag: str, yes: tuple[Body, str], no: tuple[Body, str]) -> str:
    """Add an ``If`` of two bodies, each with its result's name."""
    return b.op(
        "If",
        flag,
        then_branch=yes[0].graph(b.name("yes"), [], [(yes[1], _F32)]),
        else_branch=no[0].graph(b.name("no"), [], [(no[1], _F32)]),
    )


def column_groups(channels: int, kernel: int) -> int:
    """Return in how many groups to cut the second kernel's columns: the least waste of blocks and columns."""

    def cost(groups: int) -> float:
        blocks, width = -(-channels * groups // _BLOCK), -(-kernel // groups)
        return blocks * width * (1 + 0.02 * groups)

    return min(range(1, kernel + 1), key=lambda groups: (cost(groups), groups))


def column_sum(scale: NDArray[np.floating], groups: int) -> NDArray[np.float32]:
    """Return the kernel ``(c, groups * c, 1, groups)`` that scales groups, moves them and adds."""
    c = len(scale) // groups
    kernel = np.zeros((c, groups, c, 1, groups), np.float32)
    for group in range(groups):
        kernel[np.arange(c), group, np.arange(c), 0, group] = scale[group * c : (group + 1) * c]
    return kernel.reshape(c, groups * c, 1, groups)
