"""The signature of a model: names, types and shapes of its tensors; all there is without a contract."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any

from mimamba_edge.errors import ContractError, listed, quoted
from mimamba_edge.strict_json import Malformed, convert, decode

__all__ = ["FREE", "SIGNATURE_KEY", "SIGNATURE_VERSION", "TYPES", "Signature", "State", "Tensor"]

SIGNATURE_KEY = "mimamba.signature"
"""Key of the ONNX file's ``metadata_props`` under which it travels as JSON."""
SIGNATURE_VERSION = 1
TYPES = {
    "float32": "tensor(float)",
    "int64": "tensor(int64)",
    "int32": "tensor(int32)",
    "bool": "tensor(bool)",
}
"""Element types by NumPy's name, and what ONNX Runtime calls them."""
FREE = -1
"""Size of an axis that is as long as the chunk that a stateful model is given."""
_MOST_TENSORS = 64
_MOST_STATES = 4096
_MOST_VALUES = 1 << 28
_LONGEST_NAME = 256


@dataclass(frozen=True)
class Tensor:
    """One tensor of a model.

    Attributes:
        name: Of the input or output.
        dtype: Key of :data:`TYPES`.
        shape: Sizes behind the first axis, which is the batch; of a stateful model one may be :data:`FREE`.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        sizes = ("l" if size == FREE else str(size) for size in self.shape)
        return f"{self.dtype} ({', '.join(['b', *sizes])})"

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Return whether sizes behind the batch are those of this tensor."""
        if FREE not in self.shape:
            return shape == self.shape
        return len(shape) == len(self.shape) and all(
            got == size or (size == FREE and got >= 1) for got, size in zip(shape, self.shape, strict=True)
        )


@dataclass(frozen=True)
class State:
    """What a stateful model hands on from one chunk to the next, float32; zeros at the start of a sequence.

    Attributes:
        input: Name of the input that takes it.
        output: Name of the output that gives it as it is behind the chunk.
        shape: Sizes behind the first axis, which is the batch.
    """

    input: str
    output: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Signature:
    """What a model takes and gives.

    Attributes:
        input: The one tensor it takes, besides its states.
        outputs: What it gives, in order, besides its states.
        batch: The only batch size it takes; ``None``: any.
        model: What it was exported from, for people: ``package.module:factory``.
        ops: Versions of the custom ops.
        states: Of a stateful model, in the order of its layers; else none.
        signature_version: Version of this format, :data:`SIGNATURE_VERSION`.
    """

    input: Tensor
    outputs: tuple[Tensor, ...]
    batch: int | None = None
    model: str = ""
    ops: dict[str, int] = field(default_factory=dict)
    states: tuple[State, ...] = ()
    signature_version: int = SIGNATURE_VERSION

    def __post_init__(self) -> None:
        if problems := _problems(self):
            text = "the signature is not valid: " + listed(problems, "; ")
            raise ContractError(text, do="export the model again")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self), allow_nan=False))
        if not self.states:
            del plain["states"]  # so that older readers take the files that they can run
        return plain

    def to_json(self) -> str:
        """Return canonical JSON (sorted keys)."""
        return json.dumps(self.to_dict(), sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Signature:
        """Parse what :meth:`to_json` gave.

        Raises:
            ContractError: It is not JSON, has unknown or missing fields or invalid values.
        """
        try:
            return convert(decode(text, object), cls)
        except Malformed as error:
            raise ContractError("the signature cannot be read", got=error) from error


def _problems(s: Signature) -> list[str]:
    tensors = [s.input, *s.outputs]
    names = [tensor.name for tensor in tensors]
    handed = [name for state in s.states for name in (state.input, state.output)]
    out = []
    if not 2 <= len(tensors) <= _MOST_TENSORS:
        out.append(f"there must be 1 to {_MOST_TENSORS - 1} outputs, got {len(s.outputs)}")
    called = [*names, *handed]
    if len(set(called)) != len(called) or not all(1 <= len(name) <= _LONGEST_NAME for name in called):
        out.append(f"names must be distinct texts up to {_LONGEST_NAME} characters, got {quoted(called)}")
    if len(s.states) > _MOST_STATES:
        out.append(f"there must be at most {_MOST_STATES} states, got {len(s.states)}")
    if s.input.shape.count(FREE) != bool(s.states):
        out.append(f"{s.input.name}: one size must be {FREE} where there are states, else none")
    for name, tensor in zip(names, tensors, strict=True):
        if tensor.dtype not in TYPES:
            out.append(f"{name}: the type must be one of {', '.join(TYPES)}, got {quoted(tensor.dtype)}")
    shapes = [(tensor.name, tensor.shape) for tensor in tensors]
    for name, shape in [*shapes, *((state.input, state.shape) for state in s.states)]:
        sizes = [size for size in shape if not (size == FREE and s.states and name in names)]
        if min(sizes, default=1) < 1 or math.prod(sizes) > _MOST_VALUES:
            out.append(f"{name}: sizes must be positive, {_MOST_VALUES} values at most")
    if s.batch is not None and not 1 <= s.batch <= _MOST_VALUES:
        out.append(f"batch must be positive, got {s.batch}")
    if s.signature_version != SIGNATURE_VERSION:
        out.append(f"signature_version must be {SIGNATURE_VERSION}, got {s.signature_version}")
    return out
