"""Inner values of a portable file as extra outputs: periods, or what a search for a fault needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from onnx import ModelProto, TensorProto, ValueInfoProto, helper

from mimamba_edge.contract import PERIODS
from mimamba_edge.errors import ArtifactError
from mimamba_edge.export.onnx.inline import inline, label
from mimamba_edge.export.onnx.schema import MSTB
from mimamba_edge.runtime.expansion import read_model
from mimamba_edge.runtime.ort import OrtRunner

__all__ = ["chooses_periods", "runner_with_periods", "with_outputs"]


def with_outputs(model: ModelProto | Path | str, names: Sequence[str]) -> bytes:
    """Return a model that also gives inner values, bodies of the custom ops written out.

    Args:
        model: The model or its path; unchanged.
        names: Of values; those of bodies as :func:`mimamba_edge.export.onnx.inline.inline` names them.
            ``"periods"`` stands for those of the temporal block, ``(b, top_k)`` int64 in samples.

    Raises:
        ArtifactError: The file cannot be read, or a value is not in it.
    """
    source = _load(model)
    out = inline(source)
    made = {name for node in out.graph.node for name in node.output}
    if PERIODS in names and PERIODS not in made:
        blocks = [f"{label(node)}/{PERIODS}" for node in source.graph.node if node.op_type == MSTB]
        if len(blocks) == 1 and blocks[0] in made:
            out.graph.node.append(helper.make_node("Identity", blocks, [PERIODS], name=PERIODS))
            made.add(PERIODS)
    unknown = [name for name in names if name not in made]
    if unknown:
        raise ArtifactError(
            "the model has no such intermediate values",
            got=", ".join(unknown),
            expected="values of the portable NAME.onnx",
        )
    there = {value.name for value in out.graph.output}
    for name in names:
        if name == PERIODS:
            out.graph.output.append(helper.make_tensor_value_info(name, TensorProto.INT64, None))
        elif name not in there:
            out.graph.output.append(ValueInfoProto(name=name))  # the runtime infers its type
    content: bytes = out.SerializeToString()
    return content


def chooses_periods(path: Path) -> bool:
    """Return whether a file holds one temporal block with its body, whose periods can be shown.

    Raises:
        ArtifactError: The file cannot be read.
    """
    model = _load(path)
    blocks = sum(node.op_type == MSTB for node in model.graph.node)
    return blocks == 1 and any(function.name == MSTB for function in model.functions)


def runner_with_periods(path: Path | str, *, threads: int | None = None) -> OrtRunner:
    """Return an ONNX Runtime runner of a portable file that shows its periods.

    Raises:
        ArtifactError: As :class:`OrtRunner` and :func:`with_outputs`.
    """
    return OrtRunner(path, threads=threads, model=with_outputs(Path(path), [PERIODS]))


def _load(model: ModelProto | Path | str) -> ModelProto:
    if isinstance(model, ModelProto):
        return model
    held: ModelProto = read_model(Path(model))
    return held
