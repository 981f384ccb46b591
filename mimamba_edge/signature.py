"""The signature of a model: names, types and shapes of its tensors; all there is without a contract."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any

from mimamba_edge.errors import ContractError, listed, quoted
from mimamba_edge.strict_json import Malformed, convert, decode

__all__ = ["SIGNATURE_KEY", "SIGNATURE_VERSION", "TYPES", "Signature", "Tensor"]

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
_MOST_TENSORS = 64
_MOST_VALUES = 1 << 28
_LONGEST_NAME = 256


@dataclass(frozen=True)
class Tensor:
    """One tensor of a model.

    Attributes:
        name: Of the input or output.
        dtype: Key of :data:`TYPES`.
        shape: Sizes behind the first axis, which is the batch.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} ({', '.join(['b', *map(str, self.shape)])})"


@dataclass(frozen=True)
class Signature:
    """What a model takes and gives.

    Attributes:
        input: The one tensor it takes.
        outputs: What it gives, in order.
        batch: The only batch size it takes; ``None``: any.
        model: What it was exported from, for people: ``package.module:factory``.
        ops: Versions of the custom ops.
        signature_version: :data:`SIGNATURE_VERSION`.
    """

    input: Tensor
    outputs: tuple[Tensor, ...]
    batch: int | None = None
    model: str = ""
    ops: dict[str, int] = field(default_factory=dict)
    signature_version: int = SIGNATURE_VERSION

    def __post_init__(self) -> None:
        if problems := _problems(self):
            text = "the signature is not valid: " + listed(problems, "; ")
            raise ContractError(text, do="export the model again")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self), allow_nan=False))
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
    out = []
    if not 2 <= len(tensors) <= _MOST_TENSORS:
        out.append(f"there must be 1 to {_MOST_TENSORS - 1} outputs, got {len(s.outputs)}")
    if len(set(names)) != len(names) or not all(1 <= len(name) <= _LONGEST_NAME for name in names):
        out.append(f"names must be distinct texts up to {_LONGEST_NAME} characters, got {quoted(names)}")
    for name, tensor in zip(names, tensors, strict=True):
        if tensor.dtype not in TYPES:
            out.append(f"{name}: the type must be one of {', '.join(TYPES)}, got {quoted(tensor.dtype)}")
        if min(tensor.shape, default=1) < 1 or math.prod(tensor.shape) > _MOST_VALUES:
            out.append(f"{name}: sizes must be positive, {_MOST_VALUES} values at most")
    if s.batch is not None and not 1 <= s.batch <= _MOST_VALUES:
        out.append(f"batch must be positive, got {s.batch}")
    if s.signature_version != SIGNATURE_VERSION:
        out.append(f"signature_version must be {SIGNATURE_VERSION}, got {s.signature_version}")
    return out
