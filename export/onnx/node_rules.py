"""What TensorRT's parser asks of one standard node: op, element types, constant inputs, attributes, Q/DQ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from mimamba_edge.export.onnx.operators import Target, types_of

__all__ = ["NOTHING", "Finding", "Kind", "Value", "attributes", "builtin_findings", "kind_of", "type_name"]

_SHAPES = "TensorRT documentation, Dynamic Shapes: Advanced Topics (execution tensors and shape tensors)"


@dataclass(frozen=True)
class Finding:
    """One thing that a TensorRT cannot take.

    Attributes:
        node: Name of the node, behind those of the nodes it lies in.
        op: Its op, ``graph`` for what concerns no single node, ``input`` for an input of the graph.
        reason: Why.
        source: Where that stands.
        judged: The source leaves it open; this is the safe side.
    """

    node: str
    op: str
    reason: str
    source: str
    judged: bool = False


class Kind(IntEnum):
    """What a value depends on: the file alone, sizes of tensors, the data."""

    CONSTANT = 0
    SHAPE = 1
    DATA = 2


@dataclass(frozen=True)
class Value:
    """What is known of a tensor without running the model.

    Attributes:
        kind: See :class:`Kind`.
        type: Element type of ``TensorProto``; 0 if unknown.
        shape: Sizes, ``None`` where open; ``None`` for an unknown rank.
        tensor: The tensor itself, for initializers and Constant nodes.
    """

    kind: Kind
    type: int = 0
    shape: tuple[int | None, ...] | None = None
    tensor: TensorProto | None = None

    def array(self) -> Any:
        """Return the tensor's numbers, ``None`` if they are not known or NumPy has no such type."""
        if self.tensor is None:
            return None
        try:
            return numpy_helper.to_array(self.tensor)
        except (ValueError, TypeError, FileNotFoundError):
            return None


NOTHING = Value(Kind.CONSTANT)
"""An optional input that is not given."""

_T = TensorProto
_GROUPS: dict[int, str] = {
    **dict.fromkeys((_T.FLOAT, _T.FLOAT16, _T.BFLOAT16, _T.DOUBLE), "float"),
    **dict.fromkeys((_T.INT32, _T.INT64), "integer"),
    _T.BOOL: "bool",
}
# Where an op's data is not its first input; None: no input of it is what the table's types are of.
_DATA_INPUT: dict[str, int | None] = {
    "Where": 1,
    "OneHot": 2,
    **dict.fromkeys(
        ("If", "Loop", "Scan", "QuantizeLinear", "DequantizeLinear", "ConstantOfShape", "RandomNormalLike"),
        None,
    ),
    **dict.fromkeys(("RandomUniformLike", "BlackmanWindow", "HammingWindow", "HannWindow", "CastLike"), None),
}
_SHAPE_INPUTS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("Reshape", "Expand", "Tile", "Pad", "Split", "TopK", "Upsample", "OneHot"), (1,)),
    "Slice": (1, 2, 3, 4),
    "Range": (0, 1, 2),
    "ConstantOfShape": (0,),
    "Resize": (2, 3),
}
# Layers that can run on the host, where TensorRT computes shapes.
_HOST = """
    Add Sub Mul Div Mod Min Max Neg Abs Sign Cast Concat Gather Slice Squeeze Unsqueeze Reshape
    Expand Where Equal Less Greater LessOrEqual GreaterOrEqual And Or Not Range ConstantOfShape
    ReduceSum ReduceProd ReduceMax ReduceMin Identity Flatten Tile Split Transpose"""
_REDUCTIONS = "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare"
_ALWAYS = (99, 0)
# Input that must be a constant, until which version.
_CONSTANT_INPUTS: tuple[tuple[str, int, tuple[int, int]], ...] = (
    ("Squeeze", 1, _ALWAYS),
    ("Unsqueeze", 1, _ALWAYS),
    ("CumSum", 1, _ALWAYS),
    ("OneHot", 1, _ALWAYS),
    ("STFT", 1, _ALWAYS),
    ("STFT", 2, _ALWAYS),
    ("Slice", 3, (10, 3)),
    ("Pad", 3, (10, 4)),
    *((f"Reduce{end}", 1, _ALWAYS) for end in _REDUCTIONS.split()),
)
# Attribute, what it may be, what it is when not given.
_ATTRIBUTES: tuple[tuple[str, str, Any, Any], ...] = (
    ("TopK", "sorted", 1, 1),
    ("ScatterND", "reduction", "none", "none"),
    ("LSTM", "layout", 0, 0),
    ("LSTM", "input_forget", 0, 0),
    ("Resize", "antialias", 0, 0),
    ("Resize", "keep_aspect_ratio_policy", "stretch", "stretch"),
)
_TOP_K = 3840


def type_name(kind: int) -> str:
    """Return an element type in ONNX's words."""
    return str(TensorProto.DataType.Name(kind)) if kind in TensorProto.DataType.values() else f"type {kind}"


def kind_of(node: NodeProto, inputs: Sequence[Value]) -> Kind:
    """Return what the outputs of a standard node depend on."""
    if node.op_type in ("If", "Loop", "Scan"):
        return Kind.DATA
    worst = max((value.kind for value in inputs), default=Kind.CONSTANT)
    if worst is Kind.CONSTANT:
        return Kind.DATA if node.op_type.startswith("Random") else Kind.CONSTANT
    if node.op_type in ("Shape", "Size"):
        return Kind.SHAPE
    return Kind.SHAPE if worst is Kind.SHAPE and node.op_type in _HOST.split() else Kind.DATA


def attributes(node: NodeProto) -> Mapping[str, Any]:
    """Return a node's attributes; texts as such, references to a function's attributes left out."""
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute if not a.ref_attr_name}
    return {k: v.decode(errors="replace") if isinstance(v, bytes) else v for k, v in values.items()}


def builtin_findings(
    node: NodeProto,
    name: str,
    inputs: Sequence[Value],
    outputs: Mapping[str, int],
    results: set[str],
    target: Target,
) -> Iterator[Finding]:
    """Judge a node of the default domain by itself.

    Args:
        node: The node.
        name: What findings call it.
        inputs: What is known of its inputs; :data:`NOTHING` for those not given.
        outputs: Element types of its outputs by name, as far as known.
        results: Names of the graph's outputs.
        target: The TensorRT.
    """
    op = node.op_type

    def say(reason: str, source: str = "", *, judged: bool = False) -> Finding:
        return Finding(name, op, reason, source or target.operators, judged)

    kinds = types_of(op, target)
    if kinds is None:
        yield say("the op is not supported")
        return
    index = _DATA_INPUT.get(op, 0)
    data = inputs[index] if index is not None and index < len(inputs) else NOTHING
    group = _GROUPS.get(data.type)
    if group and group not in kinds:
        yield say(f"takes {' and '.join(kinds)} data only, not {type_name(data.type)}")
    yield from _types(say, inputs, outputs, results, target)
    for index in _SHAPE_INPUTS.get(op, ()):
        if index < len(inputs) and inputs[index].kind is Kind.DATA:
            yield say(
                f"input {index} is computed from data: a shape must be computable from sizes",
                _SHAPES,
                judged=True,
            )
    for one, index, until in _CONSTANT_INPUTS:
        held = one == op and target.version < until and index < len(inputs)
        if held and inputs[index].kind is not Kind.CONSTANT:
            yield say(f"input {index} must be a constant")
    if op in ("LayerNormalization", "MaxPool") and any(list(node.output)[1:]):
        yield say("only the first output is supported")
    yield from _attributes(say, node, inputs, target)
    if op in ("QuantizeLinear", "DequantizeLinear"):
        yield from _quantisation(say, node, inputs, target)


def _types(
    say: Any, inputs: Sequence[Value], outputs: Mapping[str, int], results: set[str], target: Target
) -> Iterator[Finding]:
    held = {value.type for value in inputs} | set(outputs.values())
    for kind in sorted(held - {0} - target.types):
        yield say(f"TensorRT {target.name.partition('-')[2]} has no {type_name(kind)}")
    if TensorProto.DOUBLE in held:
        yield say("DOUBLE becomes FLOAT, with only a note in the log", judged=True)
    if any(kind == TensorProto.UINT8 and value not in results for value, kind in outputs.items()):
        yield say("UINT8 is for inputs and outputs of the network only")
    if target.version < (9, 0) and any(_too_large(value) for value in inputs):
        yield say("INT64 becomes INT32, and a constant among the inputs does not fit")


def _too_large(value: Value) -> bool:
    """Whether a whole number does not fit INT32; what stands for "to the end" does, since it is clamped."""
    array = value.array() if value.type == TensorProto.INT64 else None
    if array is None:
        return False
    numbers = np.abs(array.astype(np.float64))
    return bool(((numbers >= 2.0**31) & (numbers < 2.0**62)).any())


def _attributes(say: Any, node: NodeProto, inputs: Sequence[Value], target: Target) -> Iterator[Finding]:
    op, given = node.op_type, attributes(node)
    for one, attribute, only, default in _ATTRIBUTES:
        if one == op and given.get(attribute, default) != only:
            yield say(f"{attribute} must be {only}, not {given[attribute]}")
    if op in ("AveragePool", "MaxPool", "LpPool") and set(given.get("dilations", ())) - {1}:
        yield say("dilations must be all ones")
    if op == "Resize" and given.get("mode", "nearest") == "cubic":
        yield say("mode must be nearest or linear, not cubic")
    if op == "Constant" and (wrong := {"sparse_value", "value_string", "value_strings"} & set(given)):
        yield say(f"{', '.join(sorted(wrong))} is not supported")
    if op == "TopK" and len(inputs) > 1 and (k := inputs[1].array()) is not None and int(k.max()) >= _TOP_K:
        yield say(f"K must be less than {_TOP_K}, not {int(k.max())}")
    if op == "Dropout" and len(inputs) > 2 and inputs[2] is not NOTHING:
        training = inputs[2].array()
        if training is None or bool(training.any()):
            yield say("training_mode must be a constant false")
    if op == "Loop" and inputs and inputs[0].kind is Kind.DATA and _scan_outputs(node):
        yield say("the length of a scan output cannot depend on data")


def _scan_outputs(node: NodeProto) -> bool:
    body = next((a.g for a in node.attribute if a.name == "body"), None)
    return body is not None and len(body.output) - 1 > max(0, len(node.input) - 2)


def _quantisation(say: Any, node: NodeProto, inputs: Sequence[Value], target: Target) -> Iterator[Finding]:
    """QuantDequantLinearHelper of builtin_op_importers.cpp (8.6-GA) and onnxOpImporters.cpp (10.1-GA)."""
    source = "onnx-tensorrt QuantDequantLinearHelper, 8.6-GA and 10.1-GA"
    data, scale, zero = (*inputs, NOTHING, NOTHING, NOTHING)[:3]
    given = zero is not NOTHING
    if zero.type == TensorProto.UINT8 or data.type == TensorProto.UINT8:
        yield say(
            "quantisation to UINT8 is refused, or taken for INT8: only INT8 with zero points 0 holds", source
        )
    elif given and zero.type not in (0, TensorProto.INT8, TensorProto.INT4, TensorProto.FLOAT8E4M3FN, 23):
        yield say(f"quantisation to {type_name(zero.type)} is not supported", source)
    if given:
        numbers = zero.array()
        if numbers is not None and np.asarray(numbers, np.float64).any():
            yield say("zero points must be 0: only symmetric quantisation is supported", source)
        elif zero.kind is not Kind.CONSTANT:
            yield say("zero points must be constants, and 0", source)
    elif target.version < (9, 0):
        yield say("three inputs are needed: a zero point must be given", source)
    factors = scale.array()
    if factors is not None and not (np.asarray(factors, np.float64) > 0).all():
        yield say("scales must be positive", source)
    if factors is None or factors.size == 1:
        return
    if data.kind is not Kind.CONSTANT:
        yield say("a scale per channel is for weights only, not for activations", source)
    axis = attributes(node).get("axis")
    if axis is None:
        yield say("without axis the scales are taken for axis 0, where ONNX means axis 1", source)
    elif data.shape is not None and factors.ndim == 1 and -len(data.shape) <= axis < len(data.shape):
        size = data.shape[axis]
        if size is not None and size != factors.size:
            yield say(f"{factors.size} scales for {size} channels on axis {axis}", source)
