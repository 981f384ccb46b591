"""Scans that nobody replaced: a loop in Python leaves one multiply and one add a step in the graph.

A parallel scan (Blelloch 1990, Hillis and Steele 1986) has them too, one a level: ``x += a * shifted x``, in
place on views of one buffer, or joined to what the level leaves alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch.export import ExportedProgram
from torch.fx import Node

from mimamba_edge.errors import ExportError

__all__ = ["check_scans", "line_of", "module_of"]

_MULTIPLY = {"mul", "mul_"}
_ADD = {"add", "add_"}
_FUSED = {"addcmul", "addcmul_"}
_VIEWS = {
    *("alias", "detach", "expand", "permute", "select", "slice", "squeeze", "transpose", "unsqueeze", "view"),
}
"""Show the memory of their first input: what is written to one is seen through all."""
_PASSING = _VIEWS | {
    *("_to_copy", "clone", "constant_pad_nd", "contiguous", "copy", "flip", "pad", "reshape", "roll"),
    *("select_scatter", "slice_scatter", "to"),
}
"""Give a state on as it is."""
_JOINING = {"cat", "concat", "copy_", "stack", "where"}
"""Give on the states of all their inputs."""
_LOOPS = ("while_loop", "scan", "associative_scan", "map_impl")
_FEWEST = 3
"""Steps of ``state = factor * state + term`` by one line of one module's forward that make a scan.

What functions do that a forward calls stands under its line: torch keeps no frames of theirs.
"""


@dataclass(frozen=True)
class _Chain:
    """How a value came about: steps in a row by one line of a module, and whether multiplied since."""

    steps: int = 0
    line: str = ""
    module: str = ""
    multiplied: bool = False


def module_of(node: Node) -> str:
    """Return the path of the module that a node of an exported program belongs to; empty for the model."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values()]
    return str(paths[-1]) if paths else ""


def line_of(node: Node) -> str:
    """Return the place in the model's source that made a node."""
    text = node.meta.get("stack_trace") or ""
    places = [line.strip() for line in text.splitlines() if line.strip().startswith("File ")]
    return places[-1] if places else ""


def _kind(node: Node) -> str:
    name = getattr(node.target, "__name__", str(node.target))
    return str(name).split(".")[0]


def check_scans(program: ExportedProgram) -> None:
    """Refuse a program that still holds a scan, be it a loop or unrolled.

    Raises:
        ExportError: It does; the message names module and source line.
    """
    chains: dict[Node, _Chain] = {}
    memory: dict[Node, Node] = {}
    for node in program.graph.nodes:
        if node.op != "call_function":
            continue
        kind = _kind(node)
        if kind in _LOOPS:
            raise _unknown(module_of(node), f"a {kind} over time", line_of(node))
        changed = node.all_input_nodes[0] if kind.endswith("_") and node.all_input_nodes else None
        if changed is not None or kind in _VIEWS:
            first = node.all_input_nodes[0]
            memory[node] = memory.get(first, first)
        chain = _follow(node, kind, chains, memory)
        if chain is None:
            continue
        chains[memory.get(node, node)] = chain
        if chain.steps >= _FEWEST:
            raise _unknown(chain.module, "a scan written as a loop, one step after another", chain.line)


def _follow(node: Node, kind: str, chains: dict[Node, _Chain], memory: dict[Node, Node]) -> _Chain | None:
    """Return the chain that a node goes on with; ``None`` where it ends."""
    inputs = [chains.get(memory.get(n, n), _Chain()) for n in node.all_input_nodes]
    if not inputs:
        return None
    longest = max(inputs, key=lambda chain: chain.steps)
    if kind in _VIEWS:
        return None  # the chain is that of the memory
    if kind in _PASSING:
        return inputs[0]
    if kind in _JOINING:
        return longest
    if kind in _MULTIPLY:
        return _Chain(longest.steps, longest.line, longest.module, multiplied=True)
    if kind in _ADD and len(inputs) < 2:
        return longest  # a number is added: a polynomial
    if kind in _ADD or kind in _FUSED:
        multiplied = [chain for chain in inputs if chain.multiplied] if kind in _ADD else inputs
        if not multiplied:
            return longest if longest.steps else None
        line, module = line_of(node), module_of(node)
        before = max(multiplied, key=lambda chain: chain.steps)
        same = bool(line) and (before.line, before.module) == (line, module)
        return _Chain(before.steps + 1 if same else 1, line, module)
    return None


def _unknown(module: str, what: str, line: str) -> ExportError:
    return ExportError(
        f"module {module or 'of the model itself'} holds a scan that is not known",
        got=f"{what}; {line}" if line else what,
        expected="a selective scan of mamba_ssm, transformers, mambapy, VMamba or Vim, or one that was named",
        do="put the loop into a function of u, delta, A, B, C, D and mark it with "
        "@mimamba_edge.export.capture.as_selective_scan('channel-last')",
    )
