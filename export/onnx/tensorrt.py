"""The form of a model for TensorRT: bare nodes for the plugins, and no copy around them that they can spare.

The ops want their tensors channel-last and contiguous; a Mamba block has slices of what ``in_proj`` and
``x_proj`` made, and an EEG window has its channels first. As nodes of ONNX the slices and transposes are
kernels of their own, on a path where nothing runs beside them. A plugin can read such a tensor where it is.
So each custom node of this form carries the attributes of :data:`mimamba_edge.contract.FIELDS`:

- ``SelectiveScan``: B, C and z are the tensors they are parts of, ``(b, l, any width)``. ``B_offset``,
  ``C_offset`` and ``z_offset`` say where in a row they begin; B and C hold ``groups`` times n numbers.
- ``MultiScaleTemporalBlock``: with ``channel_first`` 1, x and y are ``(b, c, l)``.

Every value is the one of the portable file. One remark: ``dt_proj`` reads the whole of what ``x_proj`` made,
with weights 0 for the columns of B and C. Where those are not finite neither is what the scan makes of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from mimamba_edge.contract import OPS
from mimamba_edge.errors import ExportError
from mimamba_edge.export.onnx.editing import Editor
from mimamba_edge.export.onnx.functions import attributes, custom_nodes, without_functions
from mimamba_edge.export.onnx.schema import DEFAULTS, DOMAIN, SCAN

__all__ = ["tensorrt_form"]

_MOVING = {"Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"}
"""Give the numbers of their first input on, none of them changed."""


def tensorrt_form(model: ModelProto) -> ModelProto:
    """Return the model as TensorRT takes it, with what the plugins are found by on every custom node.

    Args:
        model: A portable model of any precision; unchanged.

    Raises:
        ExportError: A size that a plugin must know is open.
    """
    out = without_functions(model)
    editor = Editor(out.graph)
    _casts_up(editor)
    for node in custom_nodes(out):
        fields: dict[str, int | float] = dict(DEFAULTS.get(node.op_type, {}))
        fields |= attributes(node)
        fields |= _scan(editor, node) if node.op_type == SCAN else _block(editor, node)
        del node.attribute[:]
        found_by = {"plugin_namespace": DOMAIN, "plugin_version": str(OPS[node.op_type])}
        node.attribute.extend(helper.make_attribute(k, v) for k, v in {**fields, **found_by}.items())
    editor.drop_unused()
    for node in list(out.graph.node):
        if node.op_type == "Split":
            _slice(editor, node)
    editor.drop_unused()
    return out


def _attribute(node: NodeProto, name: str, default: Any) -> Any:
    found = (helper.get_attribute_value(a) for a in node.attribute if a.name == name)
    return next(found, default)


# --- Casts


def _casts_up(editor: Editor) -> None:
    """Convert a value before it is moved and not after, where all of it is converted to one type.

    Where the product in front is fp32 (behind INT8 pairs) every slice of it has a cast of its own; one cast
    of the whole is fused with the product, and the slices can be read where they are.
    """
    moved = 1
    while moved:
        moved = sum(_cast_up(editor, node) for node in reversed(list(editor.graph.node)))


def _cast_up(editor: Editor, node: NodeProto) -> bool:
    if node.op_type not in _MOVING or any(editor.is_output(name) for name in node.output):
        return False
    users = [user for name in node.output for user in editor.users(name)]
    kinds = {_attribute(user, "to", 0) for user in users if user.op_type == "Cast"}
    if len(kinds) != 1 or any(user.op_type != "Cast" or editor.is_output(user.output[0]) for user in users):
        return False
    kind, source = kinds.pop(), node.input[0]
    for user in users:
        editor.read_instead(user.output[0], user.input[0])
        editor.remove(user)
    for name in node.output:
        editor.describe(name, like=name, kind=kind)
    held = [u for u in editor.users(source) if u.op_type == "Cast" and _attribute(u, "to", 0) == kind]
    converted = held[0].output[0] if held else f"{source}/{TensorProto.DataType.Name(kind).lower()}"
    if held:  # it may stand behind this node
        editor.graph.node.remove(held[0])
    else:
        editor.describe(converted, like=source, kind=kind)
    cast = helper.make_node("Cast", [source], [converted], name=f"{converted}/Cast", to=kind)
    editor.insert(cast, after=editor.producer(source))
    node.input[0] = converted
    return True


# --- MultiScaleTemporalBlock


def _swaps(node: NodeProto | None) -> bool:
    return node is not None and node.op_type == "Transpose" and _attribute(node, "perm", None) == [0, 2, 1]


def _block(editor: Editor, node: NodeProto) -> dict[str, int]:
    """Let a block between two transposes read and write channel-first."""
    before, y = editor.producer(node.input[0]), node.output[0]
    users = editor.users(y)
    turned = [user for user in users if _swaps(user)]
    if before is None or not _swaps(before) or not turned or editor.is_output(y):
        return {"channel_first": 0}
    others = [user for user in users if not _swaps(user)]
    if others:
        back = f"{node.name}/channel_last"
        editor.insert(helper.make_node("Transpose", [y], [back], name=back, perm=[0, 2, 1]), after=node)
        editor.describe(back, like=y)
        editor.read_instead(y, back, others)
    for user in turned:
        user.op_type = "Identity"  # stays only where its output is the graph's
        del user.attribute[:]
        editor.read_instead(user.output[0], y)
    node.input[0] = before.input[0]
    shape = editor.shape(y)
    if shape is not None:
        editor.describe(y, like=y, shape=[shape[0], shape[2], shape[1]])
    return {"channel_first": 1}


# --- SelectiveScan


def _scan(editor: Editor, node: NodeProto) -> dict[str, int]:
    """Let a scan read B, C and z out of the tensors that they are slices of."""
    shape = editor.shape(node.input[3])
    if shape is None or len(shape) != 4 or not all(isinstance(size, int) for size in shape[2:]):
        raise ExportError(
            f"node {node.name}: the size of its input B is not fixed",
            got=shape,
            expected="(b, l, g, n) with numbers for g and n",
        )
    fields = {"groups": int(shape[2]), "B_offset": 0, "C_offset": 0, "z_offset": 0}
    for formal, place in (("B", 3), ("C", 4), ("z", 8)):
        if place < len(node.input):
            rows = node.input[place] if formal == "z" else _rows(editor, node, place)
            node.input[place], fields[f"{formal}_offset"] = _whole(editor, rows)
    step = editor.producer(node.input[1])
    if step is not None and step.op_type == "MatMul":
        _widen(editor, step, {node.input[3], node.input[4]})
    return fields


def _rows(editor: Editor, node: NodeProto, place: int) -> str:
    """Return B or C as ``(b, l, g * n)``: what they were viewed as, or a reshape of what they are."""
    name = node.input[place]
    shape, view = editor.shape(name), editor.producer(name)
    if view is not None and view.op_type in ("Unsqueeze", "Reshape"):
        source = editor.shape(view.input[0])
        # With as many steps and rows of the same numbers, the batch is the same, too.
        if shape and source and source[1:] == [shape[1], int(shape[2]) * int(shape[3])] and shape[1]:
            return str(view.input[0])
    rows = f"{name}/rows"
    if editor.producer(rows) is None and shape is not None:
        width = int(shape[2]) * int(shape[3])
        sizes = editor.add_weight(f"{rows}.shape", np.array([0, 0, width], np.int64))
        reshape = helper.make_node("Reshape", [name, sizes], [rows], name=rows)
        editor.insert(reshape, after=view)
        editor.describe(rows, like=name, shape=[*shape[:2], width])
    return rows


def _whole(editor: Editor, name: str) -> tuple[str, int]:
    """Return the value that another one is a slice of, by its last axis, and where in a row it begins."""
    begin = 0
    while (node := editor.producer(name)) is not None:
        at = _begin(editor, node, name)
        if at is None:
            break
        name, begin = node.input[0], begin + at
    return name, begin


def _begin(editor: Editor, node: NodeProto, name: str) -> int | None:
    """Return where in the rows of a node's input its output begins; ``None`` if it is no slice of rows."""
    if node.op_type == "Identity":
        return 0
    shape = editor.shape(node.input[0])
    if not shape:
        return None
    last = (-1, len(shape) - 1)
    if node.op_type == "Split" and _attribute(node, "axis", 0) in last:
        before = [editor.width(one) for one in node.output[: list(node.output).index(name)]]
        widths = [width for width in before if width is not None]
        return sum(widths) if len(widths) == len(before) else None
    if node.op_type == "Slice":
        given = [editor.constant(one) for one in node.input[1:]]
        numbers = [None if one is None else one.tolist() for one in given]
        if len(numbers) >= 3 and numbers[2] in ([last[0]], [last[1]]) and numbers[3:] in ([], [[1]]):
            width = editor.width(node.input[0])
            if numbers[0] and width and -width <= numbers[0][0] < width:
                return int(numbers[0][0]) % width
    return None


def _widen(editor: Editor, node: NodeProto, wide: set[str]) -> None:
    """Let a product read all of a tensor that a scan reads, with weights 0 for what is not its part."""
    weight = editor.constant(node.input[1])
    source, begin = _whole(editor, node.input[0])
    width = editor.width(source)
    if weight is None or source == node.input[0] or source not in wide or width is None:
        return
    rest = width - begin - len(weight)
    name = f"{node.input[1]}/rows {begin} to {begin + len(weight)} of {width}"
    node.input[:] = [source, editor.add_weight(name, np.pad(weight, ((begin, rest), (0, 0))))]


def _slice(editor: Editor, node: NodeProto) -> None:
    """Put a slice in place of a split of which one output is left."""
    used = [name for name in node.output if editor.users(name) or editor.is_output(name)]
    if len(used) != 1:
        return
    name, width = used[0], editor.width(used[0])
    begin = _begin(editor, node, name)
    if begin is None or width is None:
        return
    given = {"starts": begin, "ends": begin + width, "axes": -1}
    weights = [
        editor.add_weight(f"{node.name}.{key}", np.array([value], np.int64)) for key, value in given.items()
    ]
    node.CopyFrom(helper.make_node("Slice", [node.input[0], *weights], [name], name=node.name))
