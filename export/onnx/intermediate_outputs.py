"""Inner values of a portable file as extra outputs: auxiliary ones, or what a search for a fault needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from onnx import ModelProto, ValueInfoProto, helper

from mimamba_edge.contract import Contract
from mimamba_edge.errors import ArtifactError
from mimamba_edge.export.onnx.inline import inline
from mimamba_edge.family import family_of
from mimamba_edge.runtime.expansion import read_model
from mimamba_edge.runtime.ort import OrtRunner

__all__ = ["runner_with_auxiliary", "with_outputs"]


def with_outputs(model: ModelProto | Path | str, names: Sequence[str] | Mapping[str, str]) -> bytes:
    """Return a model that also gives inner values, bodies of the custom ops written out.

    Args:
        model: The model or its path; unchanged.
        names: Of values; those of bodies as :func:`mimamba_edge.export.onnx.inline.inline` names them. A
            mapping gives the outputs names of their own: the value by the output's name.

    Raises:
        ArtifactError: The file cannot be read, or a value is not in it.
    """
    out = inline(_load(model))
    made = {name for node in out.graph.node for name in node.output}
    wanted = names if isinstance(names, Mapping) else {name: name for name in names}
    unknown = [value for value in wanted.values() if value not in made]
    if unknown:
        raise ArtifactError(
            "the model has no such intermediate values",
            got=", ".join(unknown),
            expected="values of the portable NAME.onnx",
        )
    there = {value.name for value in out.graph.output}
    for name, value in wanted.items():
        if name != value:
            out.graph.node.append(helper.make_node("Identity", [value], [name], name=name))
        if name not in there:
            out.graph.output.append(ValueInfoProto(name=name))  # the runtime infers its type
    content: bytes = out.SerializeToString()
    return content


def runner_with_auxiliary(path: Path | str, *, threads: int | None = None) -> OrtRunner:
    """Return an ONNX Runtime runner of a portable file that returns what auxiliary outputs can be shown.

    Raises:
        ArtifactError: As :class:`OrtRunner` and :func:`with_outputs`.
        ContractError: This build does not know the model's family.
    """
    plain = OrtRunner(path, threads=threads)
    model = _load(path)
    values = family_of(plain.contract).auxiliary_values(model) if isinstance(plain.promise, Contract) else {}
    if not values:
        return plain
    return OrtRunner(path, threads=threads, model=with_outputs(model, values), auxiliary=tuple(values))


def _load(model: ModelProto | Path | str) -> ModelProto:
    if isinstance(model, ModelProto):
        return model
    held: ModelProto = read_model(Path(model))
    return held
