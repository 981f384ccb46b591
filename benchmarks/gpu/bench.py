"""What every part of the suite is handed: torch, the kernels, the roofs, the clock."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from benchmarks.gpu.mamba_ssm import MambaSsm
from benchmarks.gpu.timing import Deadline, Timer
from mimamba_edge.errors import GateError

__all__ = ["TOLERANCE", "Bench", "RoofKernels", "distance", "poisoned", "require_close"]

TOLERANCE = {"float32": 1e-4, "float16": 2e-3}
"""Largest relative error, norm to norm, to the float64 oracle: fp32 sums, and one rounding of the output."""


class RoofKernels(Protocol):
    """The kernels of ``roofs.cu``; see :class:`benchmarks.gpu.build.Roofs`."""

    def copy(self, source: Any, target: Any) -> None:
        """Copy a tensor."""

    def exps(self, count: int) -> None:
        """Compute exponentials."""

    def empty(self) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Bench:
    """What is at hand.

    Attributes:
        torch: The module.
        device: ``"cuda"``; a test's is ``"cpu"``.
        kernels: Ours, of :mod:`mimamba_edge.export.ops.cuda`.
        roofs: What no kernel can beat.
        mamba_ssm: mamba_ssm's kernel, or ``None`` where it is not at hand.
        timer: What measures.
        deadline: When measuring ends.
        cache_bytes: Of the device's last cache.
        rounds: Samples of each graph.
        quick: Fewer shapes and batches.
    """

    torch: Any
    device: str
    kernels: Any
    roofs: RoofKernels
    mamba_ssm: MambaSsm | None
    timer: Timer
    deadline: Deadline
    cache_bytes: int
    rounds: int
    quick: bool = False

    def free_bytes(self) -> int:
        """Return the device's free memory, what torch holds in reserve included."""
        if self.device != "cuda":
            return 1 << 62
        self.torch.cuda.empty_cache()
        return int(self.torch.cuda.mem_get_info()[0])


@contextlib.contextmanager
def poisoned(torch: Any) -> Iterator[None]:
    """Let new memory hold NaN: what a kernel leaves unwritten, or reads before it was written, then shows.

    ``torch.utils.deterministic.fill_uninitialized_memory`` (on by default) does so in deterministic mode.
    """
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def distance(got: Any, wanted: Any) -> float:
    """Return the norm of the difference over the norm of what is wanted; NaN stays NaN."""
    got, wanted = np.asarray(got, np.float64), np.asarray(wanted, np.float64)
    return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))


def require_close(what: str, error: float, tolerance: float) -> float:
    """Return the error, if it is within the tolerance.

    Raises:
        GateError: It is not, or it is NaN: what is wrong is not timed.
    """
    if not error <= tolerance:
        raise GateError(
            f"{what} is wrong and was not timed",
            got=f"relative error {error:.3g} to the float64 oracle",
            expected=f"at most {tolerance:g}",
        )
    return error
