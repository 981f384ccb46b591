"""Times of several ways to run one model, in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["medians_ms"]

_WARM_UP, _FEWEST, _MOST = 2, 5, 25
_ENOUGH_S = 8.0


def medians_ms(
    called: Mapping[str, Callable[[Any], object]], windows: NDArray[np.generic]
) -> dict[str, float]:
    """Return medians of the processor time of this process at batch 1.

    All take their turns on each input, so that a busy machine slows all: 25 inputs, or as many as eight
    seconds allow, five at least.
    """
    taken: dict[str, list[float]] = {name: [] for name in called}
    began = time.process_time()
    for turn in range(_WARM_UP + _MOST):
        one = windows[turn % len(windows)][None]
        for name, call in called.items():
            start = time.process_time()
            call(one)
            if turn >= _WARM_UP:
                taken[name].append(time.process_time() - start)
        if turn >= _WARM_UP + _FEWEST - 1 and time.process_time() - began > _ENOUGH_S:
            break
    return {name: statistics.median(values) * 1e3 for name, values in taken.items()}
