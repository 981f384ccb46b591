"""Which nodes of a model a version of TensorRT cannot take, found without TensorRT.

What the parser's documents and sources say is a finding; what they leave open and this module answers for
itself, on the safe side, is a finding that says ``judged``. The IR version is no ground for one: the parsers
print it and compare it with nothing (onnx-tensorrt ``ModelImporter.cpp``, 8.6-GA and 10.1-GA).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import onnx
from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, ValueInfoProto, defs

from mimamba_edge.contract import OPS
from mimamba_edge.errors import ConfigError
from mimamba_edge.export.onnx.node_rules import (
    NOTHING,
    Finding,
    Kind,
    Value,
    attributes,
    builtin_findings,
    kind_of,
    type_name,
)
from mimamba_edge.export.onnx.operators import TARGETS, Target, types_of
from mimamba_edge.export.onnx.schema import DOMAIN, register

__all__ = ["TARGETS", "Finding", "check_target", "target_named"]

_DEFAULT = ("", "ai.onnx")
_CHANGES = "onnx-tensorrt docs/Changelog.md"
_IMPORTER = "onnx-tensorrt ModelImporter.cpp, parseNode"
_FALLBACK = "onnx-tensorrt FallbackPluginImporter"
_PLUGIN = {"plugin_namespace", "plugin_version"}
# An op whose newer definition an older parser reads rightly: Split counts its outputs, as num_outputs does.
_READ_ALL_THE_SAME = {("Split", 18)}


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
    opsets = {o.domain if o.domain != "ai.onnx" else "": o.version for o in typed.opset_import}
    findings: list[Finding] = []
    version, (first, last) = opsets.get("", 0), target.opsets
    if version and version < first:
        reason = f"opset {version} of the default domain; {first} to {last} are supported"
        findings.append(Finding(typed.graph.name, "graph", reason, target.operators))
    for value in typed.graph.input:
        findings += _input_findings(value, target)
    walk = _Walk(target, {(f.domain, f.name): f for f in typed.functions}, findings)
    values = {value.name: _graph_input(value) for value in typed.graph.input}
    walk.graph(typed.graph, _Scope(values, opsets, results={value.name for value in typed.graph.output}))
    return list(dict.fromkeys(findings))


def _sizes(value: ValueInfoProto) -> tuple[int | None, ...] | None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)


def _graph_input(value: ValueInfoProto) -> Value:
    kind = value.type.tensor_type.elem_type
    # Whole numbers may be given as a shape tensor, on the host.
    whole = kind in (onnx.TensorProto.INT32, onnx.TensorProto.INT64, onnx.TensorProto.BOOL)
    return Value(Kind.SHAPE if whole else Kind.DATA, kind, _sizes(value))


def _input_findings(value: ValueInfoProto, target: Target) -> Iterator[Finding]:
    kind, sizes = value.type.tensor_type.elem_type, _sizes(value)
    if kind and kind not in target.types:
        yield Finding(value.name, "input", f"{type_name(kind)} is not supported", target.operators)
    if sizes is None or None in sizes[1:]:
        axes = "its rank" if sizes is None else f"axis {sizes.index(None, 1)}"
        reason = (
            f"{axes} is open: an engine's profile opens the batch alone, and the ops have sizes of their own"
        )
        yield Finding(value.name, "input", reason, "mimamba-edge build", judged=True)


@dataclass
class _Scope:
    """The values that nodes see, and where the nodes stand."""

    values: dict[str, Value]
    opsets: Mapping[str, int]
    prefix: str = ""
    flow: str = ""
    results: set[str] = field(default_factory=set)


@dataclass
class _Walk:
    target: Target
    functions: Mapping[tuple[str, str], FunctionProto]
    findings: list[Finding]
    inside: tuple[tuple[str, str], ...] = ()

    def graph(self, graph: GraphProto, scope: _Scope) -> None:
        types = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.output)}
        shapes = {v.name: _sizes(v) for v in (*graph.value_info, *graph.output)}
        for tensor in graph.initializer:
            scope.values[tensor.name] = Value(Kind.CONSTANT, tensor.data_type, tuple(tensor.dims), tensor)
        for sparse in graph.sparse_initializer:
            self.findings.append(
                Finding(
                    sparse.values.name, "graph", "sparse weights are not read", self.target.operators, True
                )
            )
        self.nodes(graph.node, scope, types, shapes)

    def nodes(
        self,
        nodes: Iterable[NodeProto],
        scope: _Scope,
        types: Mapping[str, int],
        shapes: Mapping[str, tuple[int | None, ...] | None],
    ) -> None:
        for position, node in enumerate(nodes):
            name = scope.prefix + (node.name or f"{node.op_type}#{position}")
            inputs = [scope.values.get(one, Value(Kind.DATA)) if one else NOTHING for one in node.input]
            kind = Kind.DATA
            if node.domain in _DEFAULT:
                outputs = {one: types.get(one, 0) for one in node.output if one}
                self.findings += builtin_findings(node, name, inputs, outputs, scope.results, self.target)
                self.findings += self.newer(node, name, scope.opsets.get("", 0))
                kind = kind_of(node, inputs)
                self.subgraphs(node, name, inputs, scope)
            elif self.function(node):
                self.body(node, name, inputs, scope)
            else:
                self.custom(node, name, inputs, scope)
            tensor = next(
                (a.t for a in node.attribute if node.op_type == "Constant" and a.name == "value"), None
            )
            for one in filter(None, node.output):
                given = types.get(one, tensor.data_type if tensor else _cast(node))
                scope.values[one] = Value(kind, given, shapes.get(one), tensor)

    def newer(self, node: NodeProto, name: str, version: int) -> Iterator[Finding]:
        """Find a node whose op was defined anew after the last opset that is supported."""
        last = self.target.opsets[1]
        if version <= last or types_of(node.op_type, self.target) is None:
            return
        try:
            since = defs.get_schema(node.op_type, version, "").since_version
        except defs.SchemaError:
            return
        if since > last and (node.op_type, since) not in _READ_ALL_THE_SAME:
            reason = f"as opset {since} defines it; the last one supported is {last}"
            yield Finding(name, node.op_type, reason, self.target.operators)

    def subgraphs(self, node: NodeProto, name: str, inputs: list[Value], scope: _Scope) -> None:
        for attribute in node.attribute:
            for graph in (attribute.g,) if attribute.type == AttributeProto.GRAPH else attribute.graphs:
                values = dict(scope.values)
                # What a loop carries may depend on the data from its second turn on.
                values.update({v.name: Value(Kind.DATA, v.type.tensor_type.elem_type) for v in graph.input})
                inner = dataclasses.replace(
                    scope, values=values, prefix=f"{name}/", flow=node.op_type, results=set()
                )
                self.graph(graph, inner)

    def function(self, node: NodeProto) -> FunctionProto | None:
        """Return the body that the parser would take in place of a plugin (no body is read before 9.0)."""
        body = self.functions.get((node.domain, node.op_type))
        if body is None or self.target.version < (9, 0) or node.op_type in self.names():
            return None
        if self.target.version >= (10, 7) and "plugin_namespace" in attributes(node):
            return None
        return body

    def names(self) -> set[str]:
        return {name for _, name in self.inside}

    def body(self, node: NodeProto, name: str, inputs: list[Value], scope: _Scope) -> None:
        body = self.functions[node.domain, node.op_type]
        if node.domain == DOMAIN:
            if self.target.version < (10, 7):
                why, source = (
                    "this version takes it before a plugin",
                    f"{_IMPORTER}, 10.1-GA; {_CHANGES}, 10.7",
                )
            else:
                why = "without plugin_namespace this version takes it before a plugin"
                source = f"{_IMPORTER}, 10.15; {_CHANGES}, 10.7 and 10.15"
            self.findings.append(
                Finding(
                    name,
                    node.op_type,
                    f"its body is still in the file, and {why}",
                    source,
                    # Between these two the registry was asked first, under a namespace that no source shows.
                    judged=(10, 7) <= self.target.version < (10, 15),
                )
            )
        opsets = {o.domain if o.domain != "ai.onnx" else "": o.version for o in body.opset_import}
        values = dict(zip(body.input, inputs, strict=False))
        types = {v.name: v.type.tensor_type.elem_type for v in getattr(body, "value_info", ())}
        inner = dataclasses.replace(self, inside=(*self.inside, (node.domain, node.op_type)))
        inner.nodes(
            body.node, dataclasses.replace(scope, values=values, opsets=opsets, prefix=f"{name}/"), types, {}
        )

    def custom(self, node: NodeProto, name: str, inputs: list[Value], scope: _Scope) -> None:
        self.findings += (
            Finding(name, node.op_type, *why)
            for why in (*self.plugin(node, inputs), *((_in_flow(scope.flow),) if scope.flow else ()))
        )

    def plugin(
        self, node: NodeProto, inputs: list[Value]
    ) -> Iterator[tuple[str, str] | tuple[str, str, bool]]:
        """Say what keeps a node from its plugin: reason, source, whether that is a judgement."""
        if node.domain != DOMAIN or node.op_type not in OPS:
            yield f"neither an op of ONNX nor one of the plugins of {DOMAIN}", _FALLBACK
            return
        given = attributes(node)
        space, version = given.get("plugin_namespace"), str(given.get("plugin_version", "1"))
        if space is None and self.target.version < (10, 10):
            yield (
                f"without plugin_namespace its plugin is looked for in no namespace, not in {DOMAIN}",
                _FALLBACK,
            )
        elif space not in (None, DOMAIN):
            yield f"plugin_namespace is {space}, not {DOMAIN}", _FALLBACK
        if version != str(OPS[node.op_type]):
            yield f"plugin_version is {version}; the plugin is of version {OPS[node.op_type]}", _FALLBACK
        fields = set(defs.get_schema(node.op_type, DOMAIN).attributes) - _PLUGIN
        if unknown := sorted(set(given) - _PLUGIN - fields):
            yield f"attributes that are no fields of the plugin are dropped: {', '.join(unknown)}", _FALLBACK
        if lacking := sorted(fields - set(given)):
            yield f"attributes are missing: {', '.join(lacking)}", "plugins of mimamba-edge"
        if not all((*node.input, *node.output)):
            yield "an input or output has an empty name", f"{_CHANGES}, 10.0; plugins of mimamba-edge"
        taken = (0, onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
        for kind in sorted({value.type for value in inputs}):
            if kind not in taken or (kind and kind not in self.target.types):
                yield f"{type_name(kind)} is not supported", "plugins of mimamba-edge"


def _in_flow(op: str) -> tuple[str, str, bool]:
    source = (
        "TensorRT documentation, Best Practices, CUDA Graphs (none of engines with loops or conditionals)"
    )
    return (
        f"a plugin inside {op}: its plugins are for the graph itself, which a CUDA graph can hold",
        source,
        True,
    )


def _cast(node: NodeProto) -> int:
    return next((a.i for a in node.attribute if node.op_type == "Cast" and a.name == "to"), 0)
