"""The Runner: the joint between models and everything that uses them."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from types import MappingProxyType, TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.contract import LOGITS, WINDOWS, Contract
from mimamba_edge.errors import RunnerError

__all__ = ["Arrays", "Runner", "check_windows"]

Arrays = dict[str, NDArray[np.generic]]


class Runner(abc.ABC):
    """Runs one model. A context manager: enter activates (loads), leave deactivates.

    ``infer({"windows": (b, n_chans, n_times) float32})`` returns ``{"logits": (b, n_outputs) float32}``
    and, from runners that can show them, auxiliary outputs of the model's family, ``(b, ...)`` each.

    Attributes:
        artifact: What is run, as the user named it.
        kind: What runs it: ``"torch-eager"``, ``"onnxruntime-cpu"`` (with native ops
            ``"onnxruntime-cpu-native"``), ``"numpy-float64"``, ...
        precision: ``"fp32"``, ``"fp64"``, ...
        contract: The model's contract.
        auxiliary: Names of the auxiliary outputs that ``infer`` returns.
        least_batch: Fewest windows that ``infer`` takes.
        most_batch: Most windows that it takes; ``None`` for any number.
        report: What loading found that belongs beside its figures, in plain JSON types.
    """

    artifact: str
    kind: str
    precision: str
    contract: Contract
    auxiliary: tuple[str, ...] = ()
    least_batch: int = 1
    most_batch: int | None = None
    report: Mapping[str, Any] = MappingProxyType({})

    @abc.abstractmethod
    def activate(self) -> None:
        """Load the model. Called once by ``with``."""

    @abc.abstractmethod
    def infer(self, feeds: Arrays) -> Arrays:
        """Run the model on one batch.

        Raises:
            RunnerError: A tensor is missing or has another shape or type.
        """

    def deactivate(self) -> None:  # noqa: B027 - most runners hold nothing that must be released
        """Release what :meth:`activate` took."""

    def __enter__(self) -> Runner:
        self.activate()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.deactivate()

    def logits(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits ``(b, n_outputs)`` of windows ``(b, n_chans, n_times)``."""
        return self.infer({WINDOWS: windows})[LOGITS].astype(np.float32, copy=False)


def check_windows(feeds: Arrays, contract: Contract) -> NDArray[np.float32]:
    """Return the windows of a feed after checking name, type and shape against the contract.

    Raises:
        RunnerError: The tensor is missing or has another shape or type.
    """
    windows = feeds.get(WINDOWS)
    expected = f"float32 (b, {contract.n_chans}, {contract.n_times}), b >= 1, under the name {WINDOWS!r}"
    if windows is None or len(feeds) != 1:
        raise RunnerError("the runner got the wrong tensors", got=sorted(feeds), expected=expected)
    right = windows.ndim == 3 and windows.shape[0] >= 1
    if windows.dtype != np.float32 or not right or windows.shape[1:] != (contract.n_chans, contract.n_times):
        raise RunnerError(
            "the windows do not fit the model", got=f"{windows.dtype} {windows.shape}", expected=expected
        )
    return windows  # type: ignore[return-value]
