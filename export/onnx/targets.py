"""What keeps a TensorRT from taking a file, told without it: rules of our ops, and what parsers refuse.

What the parser's documents and sources say is a finding; what they leave open and this module answers for
itself, on the safe side, is a finding that says ``judged``. It is no parser: what a layer wants of sizes,
attributes and inputs is left to TensorRT's own, which :func:`mimamba_edge.inspection.check_target` asks where
it is installed. The IR version is no ground for a finding: the parsers print it and compare it with nothing
(onnx-tensorrt ``ModelImporter.cpp``, 10.1-GA).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import (
    AttributeProto,
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    defs,
    helper,
    numpy_helper,
)

from mimamba_edge.contract import FIELDS, OPS
from mimamba_edge.errors import ConfigError
from mimamba_edge.export.onnx.operators import TARGETS, Target, is_supported
from mimamba_edge.export.onnx.plugin_shapes import plugin_faults, shapes_of
from mimamba_edge.export.onnx.schema import DOMAIN, register

__all__ = ["TARGETS", "Finding", "check_target", "target_named"]

_DEFAULT = ("", "ai.onnx")
_CHANGES = "onnx-tensorrt docs/Changelog.md"
_IMPORTER = "onnx-tensorrt ModelImporter.cpp, parseNode"
_FALLBACK = "onnx-tensorrt FallbackPluginImporter"
_QUANTISE = "onnx-tensorrt QuantDequantLinearHelper, 10.1-GA"
_GRAPHS = "TensorRT documentation, Best Practices, CUDA Graphs (none of engines with loops or conditionals)"
_OURS = "plugins of mimamba-edge"
_PLUGIN = {"plugin_namespace", "plugin_version"}
_OF_PLUGINS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)


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


def target_named(name: str) -> Target:
    """Return a target by its name.

    Raises:
        ConfigError: There is none of that name.
    """
    if name not in TARGETS:
        raise ConfigError("not a target that is known", got=name, expected=", ".join(TARGETS))
    return TARGETS[name]


def check_target(model: ModelProto, target: Target) -> list[Finding]:
    """Return what keeps a TensorRT from taking a model, in the order of its nodes; nothing if it fits.

    Args:
        model: A model whose weights are in the file or not; nothing is run.
        target: See :data:`TARGETS`.
    """
    register()
    typed = onnx.shape_inference.infer_shapes(model)
    opsets = _opsets(typed.opset_import)
    findings: list[Finding] = []
    version, (first, last) = opsets.get("", 0), target.opsets
    if version and version < first:
        reason = f"opset {version} of the default domain; {first} to {last} are supported"
        findings.append(Finding(typed.graph.name, "graph", reason, target.operators))
    for value in typed.graph.input:
        findings += _input_findings(value, target)
    types = {v.name: v.type.tensor_type.elem_type for v in typed.graph.input}
    walk = _Walk(target, {(f.domain, f.name): f for f in typed.functions}, findings)
    walk.graph(typed.graph, _Scope(types, opsets, shapes=shapes_of(typed.graph)))
    return list(dict.fromkeys(findings))


def _opsets(imports: Iterable[Any]) -> dict[str, int]:
    return {o.domain if o.domain != "ai.onnx" else "": o.version for o in imports}


def _type_name(kind: int) -> str:
    return str(TensorProto.DataType.Name(kind)) if kind in TensorProto.DataType.values() else f"type {kind}"


def _attributes(node: NodeProto) -> Mapping[str, Any]:
    """Return a node's attributes; texts as such, references to a function's attributes left out."""
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute if not a.ref_attr_name}
    return {k: v.decode(errors="replace") if isinstance(v, bytes) else v for k, v in values.items()}


def _input_findings(value: ValueInfoProto, target: Target) -> Iterator[Finding]:
    tensor = value.type.tensor_type
    if tensor.elem_type and tensor.elem_type not in target.types:
        reason = f"{_type_name(tensor.elem_type)} is not supported"
        yield Finding(value.name, "input", reason, target.operators)
    open_axes = [i for i, size in enumerate(tensor.shape.dim) if i and not size.HasField("dim_value")]
    if not tensor.HasField("shape") or open_axes:
        axes = f"axis {open_axes[0]}" if open_axes else "its rank"
        reason = (
            f"{axes} is open: an engine's profile opens the batch alone, and the ops have sizes of their own"
        )
        yield Finding(value.name, "input", reason, "mimamba-edge build", judged=True)


@dataclass
class _Scope:
    """What nodes see, by name, and where the nodes stand."""

    types: dict[str, int]
    opsets: Mapping[str, int]
    prefix: str = ""
    flow: str = ""
    constants: dict[str, TensorProto | None] = field(default_factory=dict)
    """What the file alone decides, with its numbers where they are in the file."""
    shapes: dict[str, list[int | str]] = field(default_factory=dict)
    """Known ones of the graph itself, names in place of sizes that are open."""


@dataclass
class _Walk:
    target: Target
    functions: Mapping[tuple[str, str], FunctionProto]
    findings: list[Finding]
    inside: tuple[tuple[str, str], ...] = ()

    def graph(self, graph: GraphProto, scope: _Scope) -> None:
        scope.types |= {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.output)}
        scope.types |= {t.name: t.data_type for t in graph.initializer}
        scope.constants |= {t.name: t for t in graph.initializer}
        self.nodes(graph.node, scope)

    def nodes(self, nodes: Iterable[NodeProto], scope: _Scope) -> None:
        for position, node in enumerate(nodes):
            name = scope.prefix + (node.name or f"{node.op_type}#{position}")
            given = [one for one in node.input if one]
            tensor = next((a.t for a in node.attribute if a.name == "value" and a.HasField("t")), None)
            if node.domain in _DEFAULT:
                self.findings += [Finding(name, node.op_type, *why) for why in self.builtin(node, scope)]
                self.subgraphs(node, name, scope)
                if all(one in scope.constants for one in given) and not node.op_type.startswith("Random"):
                    scope.constants |= dict.fromkeys(filter(None, node.output), tensor)
            elif self.function(node):
                self.body(node, name, scope)
            else:
                self.findings += [Finding(name, node.op_type, *why) for why in self.plugin(node, scope)]
            for one in filter(None, node.output):
                scope.types.setdefault(one, tensor.data_type if tensor else _cast(node))

    def builtin(self, node: NodeProto, scope: _Scope) -> Iterator[tuple[str, str]]:
        """Say what keeps a node of the default domain from the parser: reason and source."""
        op, target, (_, last) = node.op_type, self.target, self.target.opsets
        if not is_supported(op, target):
            yield "the op is not supported", target.operators
            return
        held = {scope.types.get(one, 0) for one in (*node.input, *node.output)}
        for kind in sorted(held - {0} - target.types):
            yield f"TensorRT {target.name.partition('-')[2]} has no {_type_name(kind)}", target.operators
        version = scope.opsets.get("", 0)
        if version > last:
            try:
                since = defs.get_schema(op, version, "").since_version
            except defs.SchemaError:
                since = 0
            if since > last:
                yield f"as opset {since} defines it; the last one supported is {last}", target.operators
        if op in ("QuantizeLinear", "DequantizeLinear"):
            for reason in _quantisation(node, scope):
                yield reason, _QUANTISE

    def subgraphs(self, node: NodeProto, name: str, scope: _Scope) -> None:
        for attribute in node.attribute:
            for graph in (attribute.g,) if attribute.type == AttributeProto.GRAPH else attribute.graphs:
                types = scope.types | {v.name: v.type.tensor_type.elem_type for v in graph.input}
                # What a loop carries hides what had its name outside.
                constants = {
                    k: v for k, v in scope.constants.items() if k not in {i.name for i in graph.input}
                }
                self.graph(graph, _Scope(types, scope.opsets, f"{name}/", node.op_type, constants))

    def function(self, node: NodeProto) -> FunctionProto | None:
        """Return the body that the parser would take in place of a plugin."""
        body = self.functions.get((node.domain, node.op_type))
        if body is None or node.op_type in {name for _, name in self.inside}:
            return None
        if self.target.version >= (10, 7) and "plugin_namespace" in _attributes(node):
            return None
        return body

    def body(self, node: NodeProto, name: str, scope: _Scope) -> None:
        body = self.functions[node.domain, node.op_type]
        if node.domain == DOMAIN:
            why, source = "this version takes it before a plugin", f"{_IMPORTER}, 10.1-GA; {_CHANGES}, 10.7"
            if self.target.version >= (10, 7):
                why = "without plugin_namespace this version takes it before a plugin"
                source = f"{_IMPORTER}, 10.15; {_CHANGES}, 10.7 and 10.15"
            # Between these two the registry was asked first, under a namespace that no source shows.
            judged = (10, 7) <= self.target.version < (10, 15)
            reason = f"its body is still in the file, and {why}"
            self.findings.append(Finding(name, node.op_type, reason, source, judged))
        pairs = [(inner, outer) for inner, outer in zip(body.input, node.input, strict=False) if outer]
        types = {inner: scope.types.get(outer, 0) for inner, outer in pairs}
        types |= {v.name: v.type.tensor_type.elem_type for v in getattr(body, "value_info", ())}
        constants = {inner: scope.constants[outer] for inner, outer in pairs if outer in scope.constants}
        inner = dataclasses.replace(self, inside=(*self.inside, (node.domain, node.op_type)))
        inner.nodes(body.node, _Scope(types, _opsets(body.opset_import), f"{name}/", scope.flow, constants))

    def plugin(self, node: NodeProto, scope: _Scope) -> Iterator[tuple[str, str] | tuple[str, str, bool]]:
        """Say what keeps a node from its plugin: reason, source, whether that is a judgement."""
        if scope.flow:
            where = "its plugins are for the graph itself, which a CUDA graph can hold"
            yield f"a plugin inside {scope.flow}: {where}", _GRAPHS, True
        if node.domain != DOMAIN or node.op_type not in OPS:
            yield f"neither an op of ONNX nor one of the plugins of {DOMAIN}", _FALLBACK
            return
        given = _attributes(node)
        space, version = given.get("plugin_namespace"), str(given.get("plugin_version", "1"))
        if space is None and self.target.version < (10, 10):
            reason = f"without plugin_namespace its plugin is looked for in no namespace, not in {DOMAIN}"
            yield reason, _FALLBACK
        elif space not in (None, DOMAIN):
            yield f"plugin_namespace is {space}, not {DOMAIN}", _FALLBACK
        if version != str(OPS[node.op_type]):
            yield f"plugin_version is {version}; the plugin is of version {OPS[node.op_type]}", _FALLBACK
        fields = set(FIELDS[node.op_type])
        if unknown := sorted(set(given) - _PLUGIN - fields):
            yield f"attributes that are no fields of the plugin are dropped: {', '.join(unknown)}", _FALLBACK
        if lacking := sorted(fields - set(given)):
            yield f"attributes are missing: {', '.join(lacking)}; export the model again", _OURS
        else:
            shapes = ([scope.shapes.get(one) for one in names] for names in (node.input, node.output))
            for reason in plugin_faults(node.op_type, given, *shapes):
                yield reason, _OURS
        if not all((*node.input, *node.output)):
            yield "an input or output has an empty name", f"{_CHANGES}, 10.0; {_OURS}"
        for kind in sorted({scope.types.get(one, 0) for one in node.input} - {0, *_OF_PLUGINS}):
            yield f"{_type_name(kind)} is not supported", _OURS


def _cast(node: NodeProto) -> int:
    return next((a.i for a in node.attribute if node.op_type == "Cast" and a.name == "to"), 0)


def _numbers(name: str, scope: _Scope) -> Any:
    """Return a constant's numbers, ``None`` if they are not in the file or NumPy has no such type."""
    tensor = scope.constants.get(name)
    try:
        return None if tensor is None else numpy_helper.to_array(tensor)
    except (ValueError, TypeError, FileNotFoundError):
        return None


def _quantisation(node: NodeProto, scope: _Scope) -> Iterator[str]:
    data, scale, zero = (*node.input, "", "", "")[:3]
    kind = scope.types.get(zero, 0)
    if TensorProto.UINT8 in (kind, scope.types.get(data)):
        yield "quantisation to UINT8 is refused, or taken for INT8: only INT8 with zero points 0 holds"
    elif kind not in (0, TensorProto.INT8, TensorProto.INT4, TensorProto.FLOAT8E4M3FN, 23):
        yield f"quantisation to {_type_name(kind)} is not supported"
    numbers = _numbers(zero, scope)
    if numbers is not None and np.asarray(numbers, np.float64).any():
        yield "zero points must be 0: only symmetric quantisation is supported"
    elif zero and zero not in scope.constants:
        yield "zero points must be constants, and 0"
    factors = _numbers(scale, scope)
    if factors is None:
        return
    if not (np.asarray(factors, np.float64) > 0).all():
        yield "scales must be positive"
    if factors.size > 1 and data not in scope.constants:
        yield "a scale per channel is for weights only, not for activations"
    if factors.size > 1 and "axis" not in _attributes(node):
        yield "without axis the scales are taken for axis 0, where ONNX means axis 1"
