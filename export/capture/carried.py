"""States that captured scans and causal convolutions hand on from one chunk of a sequence to the next."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mimamba_edge.errors import ExportError

__all__ = ["CONV", "SSM", "Carried", "carried_states", "carrying"]

CONV, SSM = "conv_state", "ssm_state"
"""Ends of the names, after mamba_ssm's and transformers' caches."""
_open: list[Carried] = []


class Carried:
    """The states of one run of a model.

    Args:
        model: Whose modules give the states their names.
        given: States by name, ``(b, ...)``; those that are not there are zeros.

    Attributes:
        shapes: Of the states that were asked for, in this order, without the batch.
        after: What each is behind the run.
        lengths: Steps of each scan, by the name of its state.
    """

    def __init__(self, model: nn.Module, given: Mapping[str, Tensor]) -> None:
        self._paths: dict[int, tuple[str, nn.Module]] = {
            id(part): (name, part) for name, part in model.named_modules()
        }
        self._given = given
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.after: dict[str, Tensor] = {}
        self.lengths: dict[str, int] = {}

    def place(self) -> str:
        """Return the path of the module that runs: the innermost, of a convolution the one around it."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            found = self._paths.get(id(frame.f_locals.get("self")))
            if found is not None:
                path, part = found
                return path.rpartition(".")[0] if isinstance(part, nn.Conv1d) else path
            frame = frame.f_back
        return ""

    def take(self, kind: str, x: Tensor, shape: tuple[int, ...]) -> tuple[str, Tensor]:
        """Return name and start of a state of ``shape`` for an input ``x (b, ...)``."""
        path = self.place()
        stem = f"{path}.{kind}" if path else kind
        name, count = stem, 0
        while name in self.shapes:
            count += 1
            name = f"{stem}_{count}"
        self.shapes[name] = tuple(shape)
        if name in self._given:
            return name, self._given[name]
        return name, torch.zeros(x.shape[0], *shape)

    def convolve(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int = 1, groups: int = 1
    ) -> Tensor:
        """Convolve ``x (b, d, l)`` with what came before it on its left: ``(b, c, l)``."""
        reach, seen = dilation * (weight.shape[-1] - 1), x
        if reach:
            name, before = self.take(CONV, x, (x.shape[1], reach))
            seen = torch.cat([before.to(x.dtype), x], dim=-1)
            self.after[name] = seen[..., -reach:]
        return _conv1d(seen, weight, bias, dilation=dilation, groups=groups)


_conv1d: Callable[..., Tensor] = F.conv1d


def carrying() -> Carried | None:
    """Return the states of the run that is going on; ``None``: it starts from zeros and ends with it."""
    return _open[-1] if _open else None


def _number(value: object) -> int | None:
    """Return the one number of a convolution's option; ``None`` if it is a word."""
    if isinstance(value, (tuple, list)):
        value = value[0]
    return value if isinstance(value, int) else None


def _convolution(carried: Carried) -> Callable[..., Tensor]:
    """Return what takes the place of ``F.conv1d``.

    A convolution that is padded by all of its reach and then cut to the length of its input looks at the past
    only. It gets what came before in place of the zeros on its left, and no more than its length out.
    """

    def conv1d(
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        pad, step, apart = _number(padding), _number(stride), _number(dilation)
        reach = (apart or 1) * (weight.shape[-1] - 1)
        if input.ndim == 3 and reach and pad == reach and step == 1:
            return carried.convolve(input, weight, bias, apart or 1, groups)
        return _conv1d(input, weight, bias, stride, padding, dilation, groups)

    return conv1d


@contextlib.contextmanager
def carried_states(model: nn.Module, given: Mapping[str, Tensor] | None = None) -> Iterator[Carried]:
    """Let scans and causal convolutions of a captured model take and leave states while the context is open.

    Open it inside :func:`mimamba_edge.export.capture.capture`, again for each run of the model.

    Args:
        model: The module.
        given: States by name; what is missing starts from zeros.
    """
    carried = Carried(model, given or {})
    _open.append(carried)
    held, F.conv1d = F.conv1d, _convolution(carried)
    try:
        yield carried
    finally:
        F.conv1d = held
        _open.pop()


def refuse_reverse(carried: Carried) -> ExportError:
    """Return the error of a scan that runs from the end of a sequence to its start."""
    path = carried.place()
    return ExportError(
        f"module {path or 'of the model'} scans from the end to the start: it has no state to hand on",
        expected="scans from the first step to the last",
        do="export it without --stateful: it needs the whole sequence",
    )
