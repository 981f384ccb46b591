"""From the torch model to a plain ONNX graph with one node a custom op."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from onnx import ModelProto
from onnxscript import values

import mimamba_edge.export.ops.mstb
import mimamba_edge.export.ops.scan  # noqa: F401 - both define the torch ops that are translated
from mimamba_edge.contract import LOGITS, OPS, WINDOWS
from mimamba_edge.errors import ExportError
from mimamba_edge.export.network import Network
from mimamba_edge.export.onnx.body import OPSET
from mimamba_edge.export.onnx.schema import DOMAIN, SCAN, register

__all__ = ["trace"]


def _translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return what to emit for each torch op: the bare node, its flags as INT attributes."""
    register()
    ops: Any = values.Opset(DOMAIN, OPS[SCAN])

    def scan(*tensors_and_flags: Any) -> Any:
        *tensors, z, delta_softplus, reverse = tensors_and_flags
        gate = [] if z is None else [z]
        # Whether the second output is kept is known when its users are: export.onnx.tidy says.
        return ops.SelectiveScan(
            *tensors,
            *gate,
            has_z=len(gate),
            delta_softplus=int(delta_softplus),
            reverse=int(reverse),
            return_last_state=1,
        )

    def mstb(
        x: Any,
        w1: Any,
        b1: Any,
        w2: Any,
        b2: Any,
        top_k: int,
        min_bin: int,
        max_bin: int,
        weighting: int,
        amplitude_scale: float,
    ) -> Any:
        return ops.MultiScaleTemporalBlock(
            x,
            w1,
            b1,
            w2,
            b2,
            top_k=top_k,
            min_bin=min_bin,
            max_bin=max_bin,
            weighting=weighting,
            amplitude_scale=amplitude_scale,
        )

    return {
        torch.ops.mimamba.selective_scan.default: scan,
        torch.ops.mimamba.multi_scale_temporal_block.default: mstb,
    }


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep to ourselves what torch's exporter says to its own developers."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def trace(model: Network) -> ModelProto:
    """Return the ONNX graph of a frozen model, dynamic in the batch, custom ops without bodies.

    Args:
        model: What :meth:`Network.frozen` gave.

    Raises:
        ExportError: torch cannot export the model.
    """
    c = model.config
    # A batch of 2: torch would take 1 for a constant.
    windows = torch.zeros(2, c.n_chans, c.n_times)
    try:
        with _quiet():
            program = torch.onnx.export(
                model,
                (windows,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[WINDOWS],
                output_names=[LOGITS],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                custom_translation_table=_translations(),
                verbose=False,
            )
    except Exception as error:
        raise ExportError(
            "torch cannot export this model to ONNX",
            got=str(error).splitlines()[0] if str(error) else type(error).__name__,
            do="run on the versions of torch, onnx and onnxscript in constraints.txt",
        ) from error
    if program is None:
        raise ExportError("torch's exporter returned no model")
    proto = program.model_proto
    if not isinstance(proto, ModelProto):
        raise ExportError("torch's exporter gave no ONNX model", got=type(proto).__name__)
    return proto
