"""How large an ``.onnx`` file becomes once its functions are put in place of their calls.

ONNX Runtime inlines functions while it loads: forty that each call the one before twice are a kilobyte in the
file and never end. The onnx package is not on the device, so this reads the few fields of the protobuf that
it needs (onnx/onnx.proto: ModelProto, GraphProto, NodeProto, AttributeProto, FunctionProto) and skips the
rest, weights above all, without copying them.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mimamba_edge.artifact import MOST_BYTES
from mimamba_edge.errors import ArtifactError
from mimamba_edge.files import begins_as_text

__all__ = ["MOST_NODES", "check_expansion", "read_model"]

MOST_NODES = 20_000
"""With all calls put in place. The reference model has some 400; ONNX Runtime takes seconds for so many."""
_MOST_DEPTH = 10
"""Of calls and of graphs inside nodes; the files made here have 3."""

_GRAPH, _FUNCTIONS = 7, 25  # ModelProto
_GRAPH_NODE, _FUNCTION_NODE = 1, 7
_WEIGHT, _EXTERNAL = 5, 13  # GraphProto.initializer, TensorProto.external_data
_NODE_OP, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_GRAPHS = (6, 11)
_FUNCTION_NAME, _FUNCTION_DOMAIN = 1, 10
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

_Call = tuple[bytes, bytes]


class _Damaged(ValueError):
    pass


def check_expansion(model: Path | bytes, name: str) -> int:
    """Check that a model stays small when its functions are inlined; return how many nodes it then has.

    Args:
        model: The file, or the bytes of a serialised model.
        name: What to call it in errors.

    Raises:
        ArtifactError: It does not, it is no ONNX file, is larger than one can be, or keeps weights in others.
    """
    try:
        if isinstance(model, bytes):
            return _check(memoryview(model), name)
        size = model.stat().st_size
        if size > MOST_BYTES:
            raise ArtifactError(
                f"{name} is too large", got=f"{size:,} bytes", expected=f"at most {MOST_BYTES:,}"
            )
        if size == 0:
            raise _Damaged("no bytes")
        with model.open("rb") as file:
            held = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return _check(memoryview(held), name)
    except (_Damaged, OSError) as error:
        raise ArtifactError(
            f"{name} is not an ONNX file, or it is cut off",
            got=error if isinstance(model, bytes) else begins_as_text(model) or error,
            do="copy it again, or export again",
        ) from None


def read_model(path: Path) -> Any:
    """Return the ``ModelProto`` of a file that :func:`check_expansion` lets pass; needs the onnx package.

    Raises:
        ArtifactError: As :func:`check_expansion`, or the file is damaged.
    """
    import onnx

    check_expansion(path, str(path))
    try:
        return onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's errors have no common base that is public
        raise ArtifactError(f"{path} is not an ONNX file, or it is cut off", got=error) from error


def _check(model: memoryview, name: str) -> int:
    nodes, calls = 0, list[_Call]()
    functions: dict[_Call, tuple[int, list[_Call]]] = {}
    for field, value in _fields(model):
        if field == _GRAPH:
            weights = (held for part, held in _fields(value) if part == _WEIGHT)
            if any(part == _EXTERNAL for held in weights for part, _ in _fields(held)):
                raise ArtifactError(
                    f"{name} stores weights in another file, which its manifest does not cover",
                    do="use a file that `mimamba-edge export` wrote",
                )
            nodes, calls = _nodes(value, _GRAPH_NODE, 0)
        elif field == _FUNCTIONS:
            # One name may have several overloads: taken together they are no smaller than any.
            own, (count, inner) = _function(value), _nodes(value, _FUNCTION_NODE, 0)
            before, more = functions.get(own, (0, []))
            functions[own] = (before + count, more + inner)
        if len(functions) > MOST_NODES:
            raise _too_large(name, "more functions than nodes are allowed")
    total = _expanded(nodes, calls, functions, {}, (), name)
    if total > MOST_NODES:
        raise _too_large(name, f"{total:,} nodes after its functions are inlined")
    return total


def _too_large(name: str, got: str) -> ArtifactError:
    return ArtifactError(
        f"{name} would become too large to load",
        got=got,
        expected=f"at most {MOST_NODES:,} nodes and calls {_MOST_DEPTH} deep",
        do="use a file that `mimamba-edge export` wrote",
    )


def _expanded(
    nodes: int,
    calls: list[_Call],
    functions: dict[_Call, tuple[int, list[_Call]]],
    known: dict[_Call, int],
    above: tuple[_Call, ...],
    name: str,
) -> int:
    """Return how many nodes a body has with the calls in it put in place."""
    if len(above) > _MOST_DEPTH:
        raise _too_large(name, f"functions that call each other more than {_MOST_DEPTH} deep, or themselves")
    total = nodes
    for call in calls:
        if call in functions:
            if call in above:
                raise _too_large(name, "a function that calls itself")
            if call not in known:
                known[call] = _expanded(*functions[call], functions, known, (*above, call), name)
            total += known[call]
    return total


def _function(value: memoryview) -> _Call:
    name = domain = b""
    for field, held in _fields(value):
        if field == _FUNCTION_NAME:
            name = bytes(held)
        elif field == _FUNCTION_DOMAIN:
            domain = bytes(held)
    return domain, name


def _nodes(body: memoryview, node_field: int, depth: int) -> tuple[int, list[_Call]]:
    """Return how many nodes a graph or function has, those of graphs in it included, and what they call."""
    if depth > _MOST_DEPTH:
        raise _Damaged(f"graphs more than {_MOST_DEPTH} deep")
    count, calls = 0, list[_Call]()
    for field, node in _fields(body):
        if field != node_field:
            continue
        count += 1
        op = domain = b""
        for part, value in _fields(node):
            if part == _NODE_OP:
                op = bytes(value)
            elif part == _NODE_DOMAIN:
                domain = bytes(value)
            elif part == _NODE_ATTRIBUTE:
                for inner, graph in _fields(value):
                    if inner in _ATTRIBUTE_GRAPHS:
                        more, called = _nodes(graph, _GRAPH_NODE, depth + 1)
                        count += more
                        calls += called
        calls.append((domain, op))
        if count > MOST_NODES:
            return count, []
    return count, calls


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield the fields of a message that hold bytes: texts and messages (protobuf's wire format)."""
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            _, at = _varint(message, at)
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        elif kind == _BYTES:
            size, at = _varint(message, at)
            if size > end - at:
                raise _Damaged("a field that is longer than the file")
            yield key >> 3, message[at : at + size]
            at += size
        else:
            raise _Damaged(f"a field of kind {kind}")
    if at > end:
        raise _Damaged("cut off within a field")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 64:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise _Damaged("cut off within a number")
