"""From a user's module to an ONNX graph: its scans captured, one node each, its names kept."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import re
import sys
from collections.abc import Mapping

import torch
from onnx import ModelProto, helper
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from mimamba_edge.contract import METADATA_KEY, OPS, Contract
from mimamba_edge.errors import ExportError, MimambaError
from mimamba_edge.export.capture import capture
from mimamba_edge.export.capture.unrolled import check_scans, line_of, module_of
from mimamba_edge.export.foreign.contract import check_fits
from mimamba_edge.export.foreign.factory import place_of, refusal
from mimamba_edge.export.foreign.flat import flat
from mimamba_edge.export.foreign.inputs import Shape
from mimamba_edge.export.foreign.rates import narrow_rates
from mimamba_edge.export.foreign.splits import OpenSplits
from mimamba_edge.export.foreign.stateful import Stateful, stepwise
from mimamba_edge.export.onnx.check import check_graph, expected
from mimamba_edge.export.onnx.functions import attach_functions
from mimamba_edge.export.onnx.scan_body import STANDARD
from mimamba_edge.export.onnx.schema import MSTB, SCAN
from mimamba_edge.export.onnx.tidy import tidy
from mimamba_edge.export.onnx.translate import quiet, to_graph
from mimamba_edge.signature import FREE, SIGNATURE_KEY, TYPES, Signature
from mimamba_edge.signature import Tensor as Described

__all__ = ["Traced", "trace_module"]

_LENGTH = 11
"""Steps of the chunk that a stateful model is traced with; torch would take 1 for a constant."""


@dataclasses.dataclass(frozen=True)
class Traced:
    """The portable ONNX model of a module, not yet verified.

    Attributes:
        model: With function bodies and its signature.
        signature: Its tensors.
        scans: Number of selective scans.
        blocks: Number of multi-scale temporal blocks.
        random: Path of the first module that draws random numbers, if one does.
    """

    model: ModelProto
    signature: Signature
    scans: int
    blocks: int
    random: str | None


def trace_module(
    model: nn.Module,
    shape: Shape,
    name: str,
    scans: Mapping[str, str] | None = None,
    form: str = STANDARD,
    contract: Contract | None = None,
    stateful: Stateful | None = None,
) -> Traced:
    """Return the portable ONNX model of a module in evaluation mode.

    Its batch axis is open where torch can export it so, else of the size in ``shape``; the axis of time of a
    stateful model always is.

    Args:
        model: The module.
        shape: Of its one input.
        name: Of the model, for people.
        scans: As :func:`mimamba_edge.export.capture.capture`.
        form: Of the scans' bodies.
        contract: Of the model, if it has one: the graph's tensors are called as there.
        stateful: How it runs chunk by chunk, if it is to.

    Raises:
        ExportError: The model rejects the input, torch cannot export it, or a scan in it is not known; the
            message names the module.
    """
    taken, states = _input_name(model), () if stateful is None else stateful.states
    with capture(model, scans), flat(model) as names, torch.no_grad():
        outputs = _run(model, _example(shape, shape.batch))
        with stepwise(model, states) if states else contextlib.nullcontext():
            program, batch = _exported(model, shape, stateful)
    check_scans(program)
    described = []
    axes = [None] * len(names) if stateful is None else stateful.out_axes
    for output, value, axis in zip(names, outputs, axes, strict=True):
        kind = str(value.dtype).removeprefix("torch.")
        if value.ndim < 1 or value.shape[0] != shape.batch or kind not in TYPES:
            raise ExportError(
                f"the output {output} of the model cannot be exported",
                got=f"{kind} {tuple(value.shape)} for a batch of {shape.batch}",
                expected=f"{', '.join(TYPES)} with the batch as its first axis",
                do="wrap the model in a factory's module that returns such outputs only",
            )
        sizes = tuple(FREE if at == axis else size for at, size in enumerate(value.shape))
        described.append(Described(output, kind, sizes[1:]))
    if not described:
        raise ExportError("the model returns no tensor", got="nothing that can be an output")
    if contract is None:
        sizes = (shape.batch, *shape.sizes)
        sizes = tuple(FREE if stateful and at == stateful.axis else n for at, n in enumerate(sizes))
        given = Described(taken, shape.dtype, sizes[1:])
        signature = Signature(given, tuple(described), batch, name, dict(OPS), states)
    else:
        check_fits(contract, described, batch)
        signature = contract.signature
    targets = [node.target for node in program.graph.nodes]
    count = targets.count(torch.ops.mimamba.selective_scan.default)
    blocks = targets.count(torch.ops.mimamba.multi_scale_temporal_block.default)
    try:
        proto = to_graph(
            program,
            inputs=[signature.input.name, *(state.input for state in states)],
            outputs=[*(t.name for t in signature.outputs), *(state.output for state in states)],
            free={0: "batch", **({stateful.axis: "length"} if stateful else {})},
        )
    except ExportError as error:
        raise _advised(_untranslated(error, program), model) from error
    tidy(proto, name=name)
    narrow_rates(proto)
    attach_functions(proto, form)
    said = {SIGNATURE_KEY: signature.to_json()} if contract is None else {METADATA_KEY: contract.to_json()}
    helper.set_model_props(proto, said)
    check_graph(proto, expected({SCAN: count, MSTB: blocks}, signature))
    return Traced(proto, signature, count, blocks, _random(program))


def _input_name(model: nn.Module) -> str:
    parameters = inspect.signature(model.forward).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    taken = [p for p in parameters if p.kind in kinds]
    if more := [p.name for p in taken[1:] if p.default is inspect.Parameter.empty]:
        raise ExportError(
            f"{type(model).__name__}.forward takes more than one tensor",
            got=", ".join([taken[0].name, *more]),
            expected="one input",
            do="let the factory return a module whose forward(x) takes one tensor and splits it",
        )
    return taken[0].name if taken else "input"


def _example(shape: Shape, batch: int) -> Tensor:
    return torch.zeros(batch, *shape.sizes, dtype=getattr(torch, shape.dtype))


def _run(model: nn.Module, example: Tensor) -> tuple[Tensor, ...]:
    try:
        result: tuple[Tensor, ...] = model(example)
    except MimambaError as error:
        raise _at(error, model) from error
    except Exception as error:
        place = place_of(error, model)
        raise ExportError(
            "the model does not run on this input" + (f": module {place} raises" if place else ""),
            got=refusal(error),
            expected=f"an input that the model takes; it was shown {tuple(example.shape)} {example.dtype}",
            do="correct --input (its first size is the batch); the model runs in float32 on the CPU",
        ) from error
    return result


def _at(error: MimambaError, model: nn.Module) -> ExportError:
    """Return an error of ours from inside the model with the module's path."""
    place = place_of(error, model)
    what = f"module {place}: {error.what}" if place else error.what
    return ExportError(what, got=error.got, expected=error.expected, do=error.do)


def _exported(
    model: nn.Module, shape: Shape, stateful: Stateful | None
) -> tuple[ExportedProgram, int | None]:
    """Return the exported program, with any number of inputs in a batch if that can be, and that number."""

    def export(batch: int, free: dict[int, Dim]) -> ExportedProgram:
        x, states = _example(shape, batch), []
        axes = [free]
        if stateful is not None:
            x = x.new_zeros([_LENGTH if at == stateful.axis else n for at, n in enumerate(x.shape)])
            axes = [free | {stateful.axis: Dim("length")}, *(free for _ in stateful.states)]
            states = [torch.zeros(batch, *state.shape) for state in stateful.states]
        shapes = (tuple(axes),) if any(axes) else None
        return torch.export.export(model, (x, *states), dynamic_shapes=shapes, strict=False)

    with quiet():
        try:
            with OpenSplits():  # torch would take a batch of 1 for a constant
                return export(max(2, shape.batch), {0: Dim("batch")}), None
        except MimambaError as error:
            raise _at(error, model) from error
        except Exception:
            pass  # the same again with a fixed batch says more
        try:
            program = export(shape.batch, {})
        except MimambaError as error:
            raise _at(error, model) from error
        except Exception as error:
            raise _advised(_refused(error, model), model) from error
    return program, shape.batch


_BRANCHES = ("DataDependent", "data-dependent", "GuardOnDataDependentSymNode", "UserError", "unbacked")


def _refused(error: Exception, model: nn.Module) -> ExportError:
    place = place_of(error, model)
    where = f"module {place}" if place else f"the model itself ({type(model).__name__}.forward)"
    text = f"{type(error).__name__} {error}"
    if any(word in text for word in _BRANCHES):
        return ExportError(
            f"{where} decides by the values of tensors where to go on, which no ONNX graph can follow",
            got=refusal(error),
            expected="a forward that does the same for every input of this shape",
            do="replace the `if`, `while`, `.item()` or boolean index by torch.where or a mask",
        )
    return ExportError(
        f"torch cannot export {where}",
        got=refusal(error),
        do="write what stands there with torch's functions",
    )


def _advised(error: ExportError, model: nn.Module) -> ExportError:
    """Return a refusal; that of a model of transformers before 5, which torch can seldom export, says so."""
    package = sys.modules.get("transformers")
    version = str(getattr(package, "__version__", ""))
    theirs = any(type(part).__module__.startswith("transformers.") for part in model.modules())
    if not theirs or not version.startswith("4."):
        return error
    do = f"pip install --upgrade 'transformers>=5': this is {version}"
    return ExportError(error.what, got=error.got, expected=error.expected, do=do)


def _untranslated(error: ExportError, program: ExportedProgram) -> ExportError:
    """Return a refusal of torch's translator with the module that its node belongs to."""
    cause: BaseException | None = error
    names: list[str] = []
    while cause is not None:
        names += re.findall(r"node %(\w+)", str(cause))
        cause = cause.__cause__
    if not names:
        return error
    with quiet():
        graphs = program.graph, program.run_decompositions().graph
    for graph in graphs:
        for node in graph.nodes:
            if node.name == names[-1]:
                module = module_of(node)
                where = f"module {module}" if module else "the model itself"
                at = f"; {place}" if (place := line_of(node)) else ""
                return ExportError(
                    f"{where} does something that torch cannot write as ONNX",
                    got=f"{error.got}{at}",
                    do="write it with other functions of torch",
                )
    return error


def _random(program: ExportedProgram) -> str | None:
    """Return the path of the first module that draws random numbers; ``None``: none does."""
    for node in program.graph.nodes:
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
            switched_off = "dropout" in str(node.target) and node.args[-1] is False
            if not switched_off:
                return module_of(node)
    return None
