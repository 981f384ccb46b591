"""Runners of a checkpoint: PyTorch in three forms, and the float64 NumPy oracle."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mimamba_edge.contract import LOGITS, Contract
from mimamba_edge.errors import RunnerError
from mimamba_edge.export.checkpoint import Checkpoint, load_checkpoint
from mimamba_edge.export.network import Network
from mimamba_edge.family import family_of
from mimamba_edge.runtime.base import Arrays, Runner, check_windows
from mimamba_edge.runtime.options import RunnerOptions

__all__ = ["MODES", "OracleRunner", "TorchRunner", "open_runner"]

MODES = ("eager", "parallel", "compile")
_ORACLE_BATCH = 64


def open_runner(path: Path, options: RunnerOptions) -> Runner:
    """Return the runner of a checkpoint, not yet activated."""
    return OracleRunner(path) if options.oracle else TorchRunner(path, threads=options.threads)


class TorchRunner(Runner):
    """Runs a checkpoint's network in PyTorch on the CPU.

    Args:
        model: Path of a checkpoint, or a model and its contract.
        mode: ``"eager"``: fused kernels through the custom ops, auxiliary outputs too. ``"parallel"``:
            plain torch operations with the parallel convolutions. ``"compile"``: ``torch.compile`` of that.
        threads: Threads of torch's kernels while the runner is active; ``None`` leaves them alone.
        auxiliary: Whether the eager form returns its family's auxiliary outputs.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        RunnerError: There is no such mode.
    """

    precision = "fp32"

    def __init__(
        self,
        model: str | Path | tuple[Network, Contract],
        mode: str = "eager",
        threads: int | None = None,
        *,
        auxiliary: bool = True,
    ) -> None:
        if mode not in MODES:
            raise RunnerError("unknown mode of the torch runner", got=mode, expected=MODES)
        if isinstance(model, tuple):
            self._model, self.contract = model
            self.artifact = "model"
        else:
            checkpoint = load_checkpoint(Path(model))
            self._model, self.contract = checkpoint.build(), checkpoint.contract
            self.artifact = str(model)
        self.kind = f"torch-{mode}"
        if mode == "eager" and auxiliary:
            self.auxiliary = family_of(self.contract).auxiliary
        self._mode, self._threads = mode, threads
        self._undo = contextlib.ExitStack()
        self._forward: Callable[[Tensor], Tensor] | None = None
        self._auxiliary: Callable[[Tensor], dict[str, Tensor]] | None = None

    def activate(self) -> None:
        """Prepare the form asked for; compilation happens on the first batches."""
        if self._threads is not None:
            self._undo.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(self._threads)
        model = self._model.frozen() if self._mode == "eager" else self._model.plain()
        self._auxiliary = model.auxiliary
        self._forward = model
        if self._mode == "compile":
            # torch warns of its own deprecations, and that it does not compile the Fourier transform.
            self._undo.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            self._forward = torch.compile(model)

    def deactivate(self) -> None:
        """Give threads and warnings back."""
        self._forward = self._auxiliary = None
        self._undo.close()

    def infer(self, feeds: Arrays) -> Arrays:
        """Run one batch.

        Raises:
            RunnerError: The runner is not active, the windows do not fit, or they cannot be compiled here.
        """
        if self._forward is None or self._auxiliary is None:
            raise RunnerError("the torch runner is not active", do="use it in a `with` block")
        windows = torch.from_numpy(np.ascontiguousarray(check_windows(feeds, self.contract)))
        with torch.inference_mode():
            try:
                outputs: Arrays = {LOGITS: self._forward(windows).numpy()}
            except torch._dynamo.exc.TorchDynamoException as error:
                raise RunnerError(
                    "torch.compile could not compile the model",
                    got=str(error).splitlines()[0],
                    do="install a C++ compiler (torch.compile needs one), or leave this runner out",
                ) from error
            if self.auxiliary:
                outputs.update({name: value.numpy() for name, value in self._auxiliary(windows).items()})
        return outputs


class OracleRunner(Runner):
    """Runs a checkpoint through the float64 NumPy oracle, which shares no code with the model.

    Args:
        model: Path of a checkpoint, or the checkpoint.

    Raises:
        CheckpointError: The checkpoint cannot be used.
    """

    kind = "numpy-float64"
    precision = "fp64"

    def __init__(self, model: str | Path | Checkpoint) -> None:
        checkpoint = model if isinstance(model, Checkpoint) else load_checkpoint(Path(model))
        self.artifact = "checkpoint" if isinstance(model, Checkpoint) else str(model)
        self.contract = checkpoint.contract
        self._family, self._config = family_of(self.contract), checkpoint.config.to_dict()
        self.auxiliary = self._family.auxiliary
        self._state: dict[str, NDArray[np.generic]] = {k: v.numpy() for k, v in checkpoint.state_dict.items()}

    def activate(self) -> None:
        """Nothing to load."""

    def infer(self, feeds: Arrays) -> Arrays:
        """Run one batch: ``logits`` float64 and the auxiliary outputs.

        Raises:
            RunnerError: The windows do not fit.
        """
        windows = check_windows(feeds, self.contract)
        # In parts: the hidden maps of a long batch in float64 would fill the memory.
        parts = [
            self._family.oracle(windows[start : start + _ORACLE_BATCH], self._state, self._config)
            for start in range(0, len(windows), _ORACLE_BATCH)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
