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

from mimamba_edge.contract import LOGITS, PERIODS, Contract
from mimamba_edge.errors import RunnerError
from mimamba_edge.export.checkpoint import Checkpoint, load_checkpoint
from mimamba_edge.export.families.msimamba.network import MSiMamba
from mimamba_edge.export.families.msimamba.oracle import msimamba
from mimamba_edge.runtime.base import Arrays, Runner, check_windows
from mimamba_edge.runtime.options import RunnerOptions

__all__ = ["MODES", "OracleRunner", "TorchRunner", "open_runner"]

MODES = ("eager", "parallel", "compile")
_ORACLE_BATCH = 64


def open_runner(path: Path, options: RunnerOptions) -> Runner:
    """Return the runner of a checkpoint, not yet activated."""
    return OracleRunner(path) if options.oracle else TorchRunner(path, threads=options.threads)


class TorchRunner(Runner):
    """Runs the reference model in PyTorch on the CPU.

    Args:
        model: Path of a checkpoint, or a model and its contract.
        mode: ``"eager"``: fused kernels through the custom ops, which also shows periods. ``"parallel"``:
            plain torch operations with the parallel convolutions. ``"compile"``: ``torch.compile`` of that.
        threads: Threads of torch's kernels while the runner is active; ``None`` leaves them alone.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        RunnerError: There is no such mode.
    """

    precision = "fp32"

    def __init__(
        self, model: str | Path | tuple[MSiMamba, Contract], mode: str = "eager", threads: int | None = None
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
        self.shows_periods = mode == "eager"
        self._mode, self._threads = mode, threads
        self._undo = contextlib.ExitStack()
        self._forward: Callable[[Tensor], Tensor] | None = None
        self._periods: Callable[[Tensor], Tensor] | None = None

    def activate(self) -> None:
        """Prepare the form asked for; compilation happens on the first batches."""
        if self._threads is not None:
            self._undo.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(self._threads)
        model = self._model.frozen() if self._mode == "eager" else self._model.plain()
        self._periods = model.periods
        self._forward = model
        if self._mode == "compile":
            # torch warns of its own deprecations, and that it does not compile the Fourier transform.
            self._undo.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            self._forward = torch.compile(model)

    def deactivate(self) -> None:
        """Give threads and warnings back."""
        self._forward = self._periods = None
        self._undo.close()

    def infer(self, feeds: Arrays) -> Arrays:
        """Run one batch.

        Raises:
            RunnerError: The runner is not active, the windows do not fit, or they cannot be compiled here.
        """
        if self._forward is None or self._periods is None:
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
            if self.shows_periods:
                outputs[PERIODS] = self._periods(windows).numpy()
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
    shows_periods = True

    def __init__(self, model: str | Path | Checkpoint) -> None:
        checkpoint = model if isinstance(model, Checkpoint) else load_checkpoint(Path(model))
        self.artifact = "checkpoint" if isinstance(model, Checkpoint) else str(model)
        self.contract = checkpoint.contract
        self._config = checkpoint.config.to_dict()
        self._state: dict[str, NDArray[np.generic]] = {k: v.numpy() for k, v in checkpoint.state_dict.items()}

    def activate(self) -> None:
        """Nothing to load."""

    def infer(self, feeds: Arrays) -> Arrays:
        """Run one batch: ``logits`` float64 and ``periods``.

        Raises:
            RunnerError: The windows do not fit.
        """
        windows = check_windows(feeds, self.contract)
        # In parts: the hidden maps of a long batch in float64 would fill the memory.
        parts = [
            msimamba(windows[start : start + _ORACLE_BATCH], self._state, self._config)
            for start in range(0, len(windows), _ORACLE_BATCH)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in (LOGITS, PERIODS)}
