"""Runners made of other things: a plain function, or a runner and its twin that shows periods."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.contract import LOGITS, PERIODS, Contract
from mimamba_edge.errors import RunnerError
from mimamba_edge.runtime.base import Arrays, Runner, check_windows

__all__ = ["FunctionRunner", "WithPeriods"]


class FunctionRunner(Runner):
    """Runs ``fn(windows (b, c, l) float32) -> logits (b, o)``, or a mapping with ``logits`` and ``periods``.

    Args:
        fn: The function.
        contract: What it expects and gives.
        artifact: What to call it.
        kind: What runs it.
        precision: What it computes in.
        shows_periods: Whether it returns a mapping that holds periods.
    """

    def __init__(
        self,
        fn: Callable[[NDArray[np.float32]], NDArray[np.generic] | Arrays],
        contract: Contract,
        *,
        artifact: str = "function",
        kind: str = "function",
        precision: str = "fp32",
        shows_periods: bool = False,
    ) -> None:
        self._fn = fn
        self.contract = contract
        self.artifact, self.kind, self.precision = artifact, kind, precision
        self.shows_periods = shows_periods

    def activate(self) -> None:
        """Nothing to load."""

    def infer(self, feeds: Arrays) -> Arrays:
        """Call the function.

        Raises:
            RunnerError: The windows do not fit, or the function did not return what it should.
        """
        windows = check_windows(feeds, self.contract)
        result = self._fn(windows)
        outputs = dict(result) if isinstance(result, dict) else {LOGITS: np.asarray(result)}
        expected = (windows.shape[0], self.contract.n_outputs)
        if LOGITS not in outputs or outputs[LOGITS].shape != expected:
            raise RunnerError(
                f"the function {self.artifact} did not return logits",
                got={name: value.shape for name, value in outputs.items()},
                expected={LOGITS: expected},
            )
        if self.shows_periods and PERIODS not in outputs:
            raise RunnerError(f"the function {self.artifact} did not return periods", got=sorted(outputs))
        return outputs


class WithPeriods(Runner):
    """Answers of one runner, periods of another: the logits are those of the artefact itself.

    Args:
        runner: Whose logits count.
        tapped: A form of the same model that shows its periods.
    """

    shows_periods = True

    def __init__(self, runner: Runner, tapped: Runner) -> None:
        self._runner, self._tapped = runner, tapped
        self.artifact, self.kind, self.precision = runner.artifact, runner.kind, runner.precision
        self.contract = runner.contract

    def activate(self) -> None:
        """Load both."""
        self._runner.activate()
        self._tapped.activate()

    def infer(self, feeds: Arrays) -> Arrays:
        """Run both.

        Raises:
            RunnerError: One of them failed.
        """
        return {**self._runner.infer(feeds), PERIODS: self._tapped.infer(feeds)[PERIODS]}

    def deactivate(self) -> None:
        """Release both."""
        self._tapped.deactivate()
        self._runner.deactivate()
