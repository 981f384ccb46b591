"""From the torch model to a plain ONNX graph with one node a custom op."""

from __future__ import annotations

import contextlib
import importlib
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from onnx import GraphProto, ModelProto
from onnxscript import values

import mimamba_edge.export.ops.mstb
import mimamba_edge.export.ops.scan  # noqa: F401 - both define the torch ops that are translated
from mimamba_edge.contract import LOGITS, OPS, WINDOWS
from mimamba_edge.errors import ExportError
from mimamba_edge.export.network import Network
from mimamba_edge.export.onnx.body import OPSET
from mimamba_edge.export.onnx.decompose import decomposing_op_by_op
from mimamba_edge.export.onnx.schema import DOMAIN, SCAN, register
from mimamba_edge.export.onnx.simplify import simplify
from mimamba_edge.export.onnx.spectra import phases, real_transform
from mimamba_edge.export.onnx.wrapping import wrap_by_slices

__all__ = ["quiet", "to_graph", "trace"]


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
        period_rule: int,
    ) -> Any:
        # Left out where it is 0, so that files are those of before the attribute.
        rule = {"period_rule": period_rule} if period_rule else {}
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
            **rule,
        )

    return {
        torch.ops.aten._fft_r2c.default: real_transform,
        torch.ops.mimamba.selective_scan.default: scan,
        torch.ops.mimamba.multi_scale_temporal_block.default: mstb,
    }


_TALKATIVE = ("torch.export", "torch.fx", "torch.onnx")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep to ourselves what torch's exporter says to its own developers."""
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    tracer = vars(importlib.import_module("torch.export._trace"))
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        tracer["print"] = lambda *args, **kwargs: None  # of a graph that it gives up
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        tracer.pop("print", None)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _refused(error: BaseException) -> ExportError:
    while error.__cause__ is not None:
        error = error.__cause__  # the outer ones name steps of the exporter
    line = next((line for line in str(error).splitlines() if line.strip()), "")
    return ExportError(
        "torch cannot export this model to ONNX",
        got=f"{type(error).__name__}: {line}",
        do="run on the versions of torch, onnx and onnxscript in constraints.txt",
    )


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
    with quiet():
        try:
            batch = {0: torch.export.Dim("batch")}
            program = torch.export.export(model, (windows,), dynamic_shapes=(batch,), strict=False)
        except Exception as error:
            raise _refused(error) from error
    return to_graph(program, inputs=[WINDOWS], outputs=[LOGITS])


def to_graph(
    program: torch.export.ExportedProgram,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    free: Mapping[int, str] = MappingProxyType({0: "batch"}),
) -> ModelProto:
    """Return the ONNX graph of an exported program, custom ops without bodies.

    Args:
        program: What ``torch.export`` gave.
        inputs: Names of the graph's inputs.
        outputs: Names of its outputs.
        free: What to call the sizes of the first input's axes that are open.

    Raises:
        ExportError: torch cannot translate it.
    """
    try:
        with quiet():
            program = phases(program)
        try:
            with decomposing_op_by_op(program):
                made = _translated(program, inputs, outputs)
        except Exception:  # torch's own way may do what this one could not
            made = _translated(program, inputs, outputs)
    except Exception as error:
        raise _refused(error) from error
    if made is None:
        raise ExportError("torch's exporter returned no model")
    proto = made.model_proto
    if not isinstance(proto, ModelProto):
        raise ExportError("torch's exporter gave no ONNX model", got=type(proto).__name__)
    wrap_by_slices(proto)
    _name_sizes(proto.graph, free)
    return proto


def _translated(program: torch.export.ExportedProgram, inputs: Sequence[str], outputs: Sequence[str]) -> Any:
    with quiet():
        made = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            custom_translation_table=_translations(),
            verbose=False,
            optimize=False,
        )
        if made is not None:
            simplify(made.model)
    return made


def _name_sizes(graph: GraphProto, free: Mapping[int, str]) -> None:
    """Give open sizes of the first input our names, where torch has symbols of its own."""
    sizes = graph.input[0].type.tensor_type.shape.dim
    names = {sizes[axis].dim_param: name for axis, name in free.items() if axis < len(sizes)}
    for symbol, name in names.items():
        if not symbol:
            continue
        word = re.compile(rf"\b{re.escape(symbol)}\b")
        for value in (*graph.input, *graph.output, *graph.value_info):
            for size in value.type.tensor_type.shape.dim:
                if size.dim_param:
                    size.dim_param = word.sub(name, size.dim_param)
