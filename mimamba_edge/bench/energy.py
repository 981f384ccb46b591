"""Energy of a run, where the machine measures the power of its rails (Jetson)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mimamba_edge.machine.power import power_rails

__all__ = ["measure_energy"]

_EVERY_S = 0.05
"""The monitors average over some milliseconds; reading them more often only takes processor time."""


def measure_energy(
    run: Callable[[int], object], seconds: float, root: Path = Path("/")
) -> dict[str, Any] | None:
    """Run back to back while the power of the rails is read, after as long a pause with nothing running.

    Args:
        run: Runs once; gets the number of the run.
        seconds: How long to measure, and how long to pause before.
        root: Where the machine's files are.

    Returns:
        ``runs``, ``seconds``, and for each rail mean power in milliwatts while idle and while running, and
        millijoules a run, idle power included; ``None`` where no rail can be read.
    """
    if not power_rails(root):
        return None
    with _Sampler(root) as idle:
        time.sleep(seconds)
    runs, start = 0, time.perf_counter()
    with _Sampler(root) as busy:
        while not runs or time.perf_counter() - start < seconds:
            run(runs)
            runs += 1
        spent_s = time.perf_counter() - start
    before, during = idle.means(), busy.means()
    rails = {
        name: {"idle_mw": before.get(name), "mean_mw": mw, "mj_per_run": mw * spent_s / runs}
        for name, mw in during.items()
    }
    return {"runs": runs, "seconds": spent_s, "rails": rails} if rails else None


class _Sampler:
    """Reads all rails at the start, at the end, and in a thread of its own in between."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._read: list[dict[str, int]] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def _sample(self) -> None:
        while not self._end.wait(_EVERY_S):
            self._read.append(power_rails(self._root))

    def __enter__(self) -> _Sampler:
        self._read.append(power_rails(self._root))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self._read.append(power_rails(self._root))

    def means(self) -> dict[str, float]:
        """Return the mean of each rail in milliwatts over the readings that it is in."""
        held = {name: [one[name] for one in self._read if name in one] for one in self._read for name in one}
        return {name: sum(values) / len(values) for name, values in held.items()}
