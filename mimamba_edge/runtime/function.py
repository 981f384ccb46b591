"""Runners made of other things: a plain function, or a runner and its twin that shows auxiliary outputs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.contract import LOGITS, Contract
from mimamba_edge.errors import RunnerError
from mimamba_edge.runtime.base import Arrays, Runner, check_windows

__all__ = ["FunctionRunner", "WithAuxiliary"]


class FunctionRunner(Runner):
    """Runs ``fn(windows (b, c, l) float32) -> logits (b, o)``, or a mapping with ``logits`` and others.

    Args:
        fn: The function.
        contract: What it expects and gives.
        artifact: What to call it.
        kind: What runs it.
        precision: What it computes in.
        auxiliary: Names of auxiliary outputs in the mapping that it returns.
    """

    def __init__(
        self,
        fn: Callable[[NDArray[np.float32]], NDArray[np.generic] | Arrays],
        contract: Contract,
        *,
        artifact: str = "function",
        kind: str = "function",
        precision: str = "fp32",
        auxiliary: tuple[str, ...] = (),
    ) -> None:
        self.fn = fn
        self.contract = contract
        self.artifact, self.kind, self.precision = artifact, kind, precision
        self.auxiliary = auxiliary

    def activate(self) -> None:
        """Nothing to load."""

    def infer(self, feeds: Arrays) -> Arrays:
        """Call the function.

        Raises:
            RunnerError: The windows do not fit, or the function did not return what it should.
        """
        windows = check_windows(feeds, self.contract)
        result = self.fn(windows)
        outputs = dict(result) if isinstance(result, dict) else {LOGITS: np.asarray(result)}
        expected = (windows.shape[0], self.contract.n_outputs)
        if LOGITS not in outputs or outputs[LOGITS].shape != expected:
            raise RunnerError(
                f"the function {self.artifact} did not return logits",
                got={name: value.shape for name, value in outputs.items()},
                expected={LOGITS: expected},
            )
        if missing := [name for name in self.auxiliary if name not in outputs]:
            raise RunnerError(
                f"the function {self.artifact} did not return {', '.join(missing)}", got=sorted(outputs)
            )
        return outputs


class WithAuxiliary(Runner):
    """Answers of one runner, auxiliary outputs of another: the logits are those of the artefact itself.

    Args:
        runner: Whose logits count.
        shown: A form of the same model that returns its auxiliary outputs.
    """

    def __init__(self, runner: Runner, shown: Runner) -> None:
        self._runner, self._shown = runner, shown
        self.auxiliary = shown.auxiliary
        self.artifact, self.kind, self.precision = runner.artifact, runner.kind, runner.precision
        self.promise = runner.promise

    def activate(self) -> None:
        """Load both."""
        self._runner.activate()
        self._shown.activate()

    def infer(self, feeds: Arrays) -> Arrays:
        """Run both.

        Raises:
            RunnerError: One of them failed.
        """
        shown = self._shown.infer(feeds)
        return {**self._runner.infer(feeds), **{name: shown[name] for name in self.auxiliary}}

    def deactivate(self) -> None:
        """Release both."""
        self._shown.deactivate()
        self._runner.deactivate()
