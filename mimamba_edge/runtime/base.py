"""The Runner: the joint between models and everything that uses them."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from types import MappingProxyType, TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.contract import LOGITS, OPS, WINDOWS, Contract, Promise
from mimamba_edge.errors import ContractError, RunnerError
from mimamba_edge.signature import Signature

__all__ = [
    "Arrays",
    "Runner",
    "check_ops",
    "check_windows",
    "need_contract",
    "signature_of",
    "start_states",
]

Arrays = dict[str, NDArray[np.generic]]


class Runner(abc.ABC):
    """Runs one model. A context manager: enter activates (loads), leave deactivates.

    ``infer({"windows": (b, n_chans, n_times) float32})`` returns ``{"logits": (b, n_outputs) float32}``
    and, from runners that can show them, auxiliary outputs of the model's family, ``(b, ...)`` each. A model
    without a contract takes and gives the tensors of its signature instead; a stateful one runs each batch as
    the start of a sequence (:class:`mimamba_edge.runtime.stateful.StatefulRunner` goes on with one).

    Attributes:
        artifact: What is run, as the user named it.
        kind: What runs it: ``"torch-eager"``, ``"onnxruntime-cpu"`` (with native ops
            ``"onnxruntime-cpu-native"``), ``"numpy-float64"``, ...
        precision: ``"fp32"``, ``"fp64"``, ...
        promise: The model's contract, or the signature of a model that has none.
        auxiliary: Names of the auxiliary outputs that ``infer`` returns.
        least_batch: Fewest windows that ``infer`` takes.
        most_batch: Most windows that it takes; ``None`` for any number.
        report: What loading found that belongs beside its figures, in plain JSON types.
    """

    artifact: str
    kind: str
    precision: str
    promise: Promise
    auxiliary: tuple[str, ...] = ()
    least_batch: int = 1
    most_batch: int | None = None
    report: Mapping[str, Any] = MappingProxyType({})

    @property
    def contract(self) -> Contract:
        """The model's contract.

        Raises:
            ContractError: It has none.
        """
        return need_contract(self.promise, self.artifact)

    @contract.setter
    def contract(self, contract: Contract) -> None:
        self.promise = contract

    @property
    def signature(self) -> Signature:
        """Names, types and shapes of the model's tensors."""
        return signature_of(self.promise)

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
        """Return the logits ``(b, n_outputs)`` of windows ``(b, n_chans, n_times)``.

        A model without a contract takes its one input and gives its one output, ``(b, ...)`` each.

        Raises:
            RunnerError: As :meth:`infer`, or a model without a contract has several outputs.
        """
        promise = self.promise
        if not isinstance(promise, Signature):
            return self.infer({WINDOWS: windows})[LOGITS].astype(np.float32, copy=False)
        outputs = [tensor.name for tensor in promise.outputs]
        if len(outputs) != 1:
            raise RunnerError(
                f"{self.artifact} has several outputs, and none of them is named {LOGITS!r}",
                got=", ".join(outputs),
                do=f"answers = model.infer({{{promise.input.name!r}: x}}), a dict by these names",
            )
        return self.infer({promise.input.name: windows})[outputs[0]].astype(np.float32, copy=False)


def signature_of(promise: Promise) -> Signature:
    """Return names, types and shapes of the tensors of a model."""
    return promise if isinstance(promise, Signature) else promise.signature


def need_contract(promise: Promise | None, name: object) -> Contract:
    """Return a model's contract, for what cannot do without.

    Raises:
        ContractError: It has none.
    """
    if isinstance(promise, Contract):
        return promise
    raise ContractError(
        f"{name} has no contract: it is a model of tensors, without channels, sampling rate and class names",
        expected="a model that `mimamba-edge train` made a checkpoint of, or an EEG network that "
        "`export --model` was told --channels, --sfreq and --classes of",
        do="use inspect, parity, bench, quantize --to fp16 or build, which need none",
    )


def check_ops(promise: Promise) -> None:
    """Check that this build knows the versions of the custom ops that a model was made with.

    Raises:
        ContractError: An op is unknown or has another version.
    """
    if any(OPS.get(name) != version for name, version in promise.ops.items()):
        raise ContractError(
            "the model was made with versions of the custom ops that this build does not know",
            got=promise.ops,
            expected=OPS,
            do="install the mimamba-edge version that exported it, or export again",
        )


def check_windows(feeds: Arrays, promise: Promise) -> NDArray[np.float32]:
    """Return the windows of a feed after checking name, type and shape.

    Raises:
        RunnerError: The tensor is missing or has another shape, type or batch size.
    """
    signature = signature_of(promise)
    name, dtype = signature.input.name, signature.input.dtype
    windows = feeds.get(name)
    if windows is not None and len(feeds) == 1:
        right = windows.ndim and windows.shape[0] >= 1 and signature.input.takes(windows.shape[1:])
        if right and windows.dtype == dtype and signature.batch in (None, windows.shape[0]):
            return windows  # type: ignore[return-value]
    most = "b >= 1" if signature.batch is None else f"b = {signature.batch}"
    most += ", l >= 1" if signature.states else ""
    expected = f"{signature.input}, {most}, under the name {name!r}"
    if windows is None or len(feeds) != 1:
        raise RunnerError(
            "the runner got the wrong tensors",
            got=sorted(feeds),
            expected=expected,
            do=f"model.infer({{{name!r}: x}})",
        )
    raise RunnerError(
        "the windows do not fit the model", got=f"{windows.dtype} {windows.shape}", expected=expected
    )


def start_states(signature: Signature, batch: int) -> Arrays:
    """Return the states of a stateful model at the start of a sequence, by the names of its inputs."""
    return {state.input: np.zeros((batch, *state.shape), np.float32) for state in signature.states}
