"""What the plugins want of attributes and shapes (plugins/tensorrt/core.cpp), told without them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from onnx import GraphProto

from mimamba_edge.export.onnx.schema import MSTB, SCAN

__all__ = ["plugin_faults", "shapes_of"]

_Shape = Sequence[int | str] | None

_SCAN_INPUTS = {
    "u": "bld",
    "delta": "bld",
    "A": "dn",
    "B": "bli",
    "C": "blo",
    "D": "d",
    "delta_bias": "d",
    "initial_state": "sdn",
    "z": "blw",
}
"""One letter an axis; i, o and w are the widths of the tensors that B, C and z are parts of."""
_MSTB_INPUTS = {"x": "blc", "w1": "fckk", "b1": "f", "w2": "cfkk", "b2": "c"}


def shapes_of(graph: GraphProto) -> dict[str, list[int | str]]:
    """Return the shapes that a graph knows."""
    shapes: dict[str, list[int | str]] = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        if tensor.HasField("shape"):
            sizes = [d.dim_value if d.HasField("dim_value") else d.dim_param for d in tensor.shape.dim]
            shapes[value.name] = sizes
    return shapes


def plugin_faults(
    op: str, values: Mapping[str, int | float], inputs: Sequence[_Shape], outputs: Sequence[_Shape]
) -> Iterator[str]:
    """Say why a plugin would refuse a node.

    Args:
        op: Its op.
        values: Its fields, all of them.
        inputs: Shapes as far as they are known, names in place of sizes that are open.
        outputs: The same of its outputs.
    """
    yield from _values(op, values)
    wanted, made = _axes(op, values)
    for given, formals, what in ((inputs, wanted, "inputs"), (outputs, made, "outputs")):
        if len(given) != len(formals):
            yield f"{len(given)} {what}; with these attributes the plugin has {len(formals)}"
            return
    sizes: dict[str, int] = {}
    shapes = zip((*wanted, *made), (*wanted.values(), *made.values()), (*inputs, *outputs), strict=True)
    for name, axes, shape in shapes:
        if shape is None:
            continue
        if len(shape) != len(axes):
            yield f"{name} has {len(shape)} axes; the plugin wants {len(axes)}, ({', '.join(axes)})"
            continue
        for axis, size in zip(axes, shape, strict=True):
            if isinstance(size, int) and sizes.setdefault(axis, size) != size:
                yield f"axis {axis} of {name} is {size}, and {sizes[axis]} elsewhere"
    if op == SCAN:
        yield from _parts(values, sizes)


def _axes(op: str, values: Mapping[str, int | float]) -> tuple[dict[str, str], dict[str, str]]:
    if op == MSTB:
        window = "bcl" if values["channel_first"] else "blc"
        return {**_MSTB_INPUTS, "x": window}, {"y": window}
    inputs = {name: axes for name, axes in _SCAN_INPUTS.items() if name != "z" or values["has_z"]}
    return inputs, {"y": "bld", **({"last_state": "bdn"} if values["return_last_state"] else {})}


def _values(op: str, values: Mapping[str, int | float]) -> Iterator[str]:
    if op == MSTB:
        for name in ("period_rule", "channel_first"):
            if values[name] not in (0, 1):
                yield f"{name} is {values[name]}, not 0 or 1"
        return
    if values["groups"] < 1:
        yield f"groups is {values['groups']}, not at least 1"
    for name in ("B_offset", "C_offset", "z_offset"):
        if values[name] < 0:
            yield f"{name} is {values[name]}, not at least 0"
    if values["z_offset"] and not values["has_z"]:
        yield f"z_offset is {values['z_offset']}, but there is no z"


def _parts(values: Mapping[str, int | float], sizes: Mapping[str, int]) -> Iterator[str]:
    """Say which of B, C and z do not lie in the rows they are parts of."""
    groups, d = int(values["groups"]), sizes.get("d")
    if d is not None and groups > 0 and d % groups:
        yield f"groups is {groups}, which does not divide d, {d}"
    states = groups * sizes["n"] if "n" in sizes else None
    for name, axis, width in (("B", "i", states), ("C", "o", states), ("z", "w", d)):
        begin, row = int(values[f"{name}_offset"]), sizes.get(axis)
        if width is not None and row is not None and begin + width > row:
            yield f"rows of {name} hold {row} numbers, and {name} would be {begin} to {begin + width} of them"
