"""How far a run of trainings is, epoch by epoch, and how long the rest will take."""

from __future__ import annotations

import contextlib
import heapq
import math
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mimamba_edge.console import progress

if TYPE_CHECKING:
    from mimamba_edge.export.jobs.results import Results
    from mimamba_edge.export.training.folds import FoldFit

__all__ = ["EVERY_S", "LOOK_S", "Progress", "Seen", "longest", "shown", "time_left"]

EVERY_S = 20.0
"""Seconds between two lines where stderr is no terminal."""
LOOK_S = 0.5
"""Seconds between two looks."""
_FORWARD = 1 / 3
"""What a window that is only scored takes of one that is trained on: the forward pass of three passes."""


@dataclass(frozen=True)
class Seen:
    """How far a run is.

    Attributes:
        text: For people, in one line.
        share: Of all work, 0 to 1.
        left_s: Seconds, or ``None`` before an epoch was timed.
    """

    text: str
    share: float
    left_s: float | None


class Progress:
    """Counts the epochs of a run: trainings of folds, some at a time, then one on all trials.

    All epochs are run, so that the rest is known: nothing stops early. Only how many epochs the last training
    takes is known once the folds are done; until then it is the median of those that are.

    Args:
        fits: Trainings of folds.
        epochs: Of each.
        workers: Trainings at a time.
        windows: Windows that a fold trains on and that it scores, and windows in all.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        fits: int,
        epochs: int,
        workers: int,
        windows: tuple[float, float, float],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fits, self._epochs, self._workers, self._clock = fits, epochs, workers, clock
        trained, scored, whole = windows
        self._weight = whole / max(1.0, trained + _FORWARD * scored)
        self._kept: Results[FoldFit] | None = None
        self._best: list[int] = []
        self._last: int | None = None
        self._from: float | None = None
        self._first: float | None = None
        self._looked, self._busy_s = (0.0, 1), 0.0

    @property
    def plan(self) -> str:
        """What will be done, for people."""
        epochs = f"{self._epochs} epoch{'s' * (self._epochs != 1)}"
        return (
            f"{self._fits + 1} trainings: {self._fits} to score with {epochs} each, then one on "
            f"all trials with at most {self._epochs}; all epochs are run, the best one is kept"
        )

    def begin(self, kept: Results[FoldFit]) -> None:
        """Take the place where the trainings keep how far they are."""
        self._kept = kept

    def finished(self, fit: FoldFit) -> None:
        """Count a training of a fold."""
        self._best.append(fit.fitted.best_epoch)

    def fit_all(self, epochs: int) -> None:
        """Tell that the last training begins."""
        self._last = epochs

    def look(self) -> Seen:
        """Return how far the run is now."""
        done = len(self._best)
        told = [0 if self._kept is None else self._kept.epochs(i) for i in range(self._fits + 1)]
        running = sorted((n for n in told[:-1] if n), reverse=True)[: self._fits - done]
        left = [self._epochs - n for n in running] + [self._epochs] * (self._fits - done - len(running))
        last = self._last or math.ceil(statistics.median(self._best or [self._epochs]))
        last_done = 0 if self._last is None else min(told[-1], last)
        # In epochs of a fold, which differ little; one on all trials takes longer.
        units = done * self._epochs + sum(running) + self._weight * last_done
        after = self._weight * (last - last_done)
        share = units / (units + sum(left) + after)
        pace_s = self._pace(units, min(self._workers, len(left)) or 1)
        left_s = None if pace_s is None else pace_s * (longest(left, self._workers) + after)
        epochs = done * self._epochs + sum(running) + last_done
        text = f"{done} of {self._fits + 1} trainings, {epochs} of {self._fits * self._epochs + last} epochs"
        if left_s is not None:
            text += f"; {time_left(left_s)}"
        return Seen(text, share, left_s)

    def _pace(self, units: float, working: int) -> float | None:
        """Return the seconds that one worker takes for a unit, from the first epoch that came on."""
        now, (before, worked) = self._clock(), self._looked
        self._looked = now, working
        if self._first is None:
            self._first = units
        if self._from is None:
            # Starting workers is no part of an epoch: the clock starts with the first one that comes.
            self._from = units if units > self._first else None
            return None
        self._busy_s += (now - before) * worked
        came = units - self._from
        return self._busy_s / came if came > 0 else None


def longest(epochs: Sequence[int], workers: int) -> float:
    """Return how long the last of some workers is busy, in epochs, where each takes the next training.

    Args:
        epochs: What is left of each training; those that run come first.
        workers: How many there are.
    """
    busy = [0.0] * max(1, workers)
    for n in epochs:
        heapq.heapreplace(busy, busy[0] + n)
    return max(busy)


def time_left(seconds: float) -> str:
    """Return the time left for people, rounded up."""
    if seconds <= 55:
        return f"about {5 * math.ceil(seconds / 5)} s left"
    minutes = math.ceil(seconds / 60)
    hours, rest = divmod(minutes, 60)
    return f"about {hours} h {rest} min left" if hours else f"about {minutes} min left"


@contextlib.contextmanager
def shown(run: Progress) -> Iterator[None]:
    """Show how far a run is on stderr during the block: a bar on a terminal, else a line now and then."""
    terminal = sys.stderr.isatty()
    sys.stderr.write(run.plan + "\n")
    ended = threading.Event()
    with progress(run.look().text, 1.0, timed=False) as bar:

        def watch() -> None:
            shown_share, since = 0.0, time.monotonic()
            while not ended.wait(LOOK_S):
                seen = run.look()
                bar.describe(seen.text)
                bar.advance(max(0.0, seen.share - shown_share))
                shown_share = max(shown_share, seen.share)
                if not terminal and time.monotonic() - since >= EVERY_S:
                    since = time.monotonic()
                    sys.stderr.write(seen.text + "\n")
                    sys.stderr.flush()

        thread = threading.Thread(target=watch, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
