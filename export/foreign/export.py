"""Any ``nn.Module`` to verified files: what ``mimamba-edge export --model`` does."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mimamba_edge.contract import Contract
from mimamba_edge.errors import ExportError, GateError
from mimamba_edge.export.capture import capture
from mimamba_edge.export.foreign.flat import flat
from mimamba_edge.export.foreign.inputs import Inputs
from mimamba_edge.export.foreign.stateful import Stateful, check_chunks, examine, long_sequence
from mimamba_edge.export.foreign.trace import Traced, trace_module
from mimamba_edge.export.onnx.check import check_graph, expected
from mimamba_edge.export.onnx.export import ExportResult, check_form
from mimamba_edge.export.onnx.publish import Artefacts, checked_name, publish
from mimamba_edge.export.onnx.scan_body import STANDARD
from mimamba_edge.export.onnx.schema import MSTB, SCAN
from mimamba_edge.export.onnx.tensorrt import tensorrt_form
from mimamba_edge.parity.compare import Check, Parity
from mimamba_edge.parity.verify import verify
from mimamba_edge.parity.windows import WindowSet
from mimamba_edge.runtime.ort import OrtRunner

__all__ = ["ModuleExport", "export_module"]

_MOST_S = 10.0
"""Seconds that reference answers may take, about; two inputs are always answered."""
_SMALL_BATCHES = (1, 3)
_FEW = 3
"""Inputs that are also run in small batches."""


@dataclass(frozen=True, repr=False)
class ModuleExport(ExportResult):
    """What an export of a module made.

    Attributes:
        scans: Number of selective scans, one node each.
        batch: The only batch size that the files take; ``None``: any.
        own_code: Whether the reference answers are of the model's own code; else of ours in its scans' place,
            because its code does not run here.
        contract: Of the model, if it has one.
        stateful: How it runs chunk by chunk, if it was exported so.
    """

    scans: int
    batch: int | None
    own_code: bool
    contract: Contract | None
    stateful: Stateful | None = None

    def _told(self) -> dict[str, object]:
        return {**super()._told(), "scans": self.scans, "batch": self.batch or "any"}

    def notes(self) -> list[str]:
        """Return in words what else a user should know."""
        counted = f"{self.scans} selective scan{'s' * (self.scans != 1)}, one node each"
        scans = counted if self.scans else "no selective scan"
        batch = f"batch {self.batch} only: torch could not leave it open" if self.batch else "any batch size"
        judged = "judged by our scan: the model's own does not run here"
        notes = [f"{scans}; {batch}", *([] if self.own_code else [judged])]
        return [*notes, *([] if self.stateful is None else [self.stateful.text()]), *self._signal_path()]

    def _signal_path(self) -> list[str]:
        if (c := self.contract) is None:
            return []
        taken = {"none": "microvolts as they are", "window-zscore": "each window and channel z-scored"}
        band = [f"{f.low_hz:g} to {f.high_hz:g} Hz" for f in c.filters if f.kind == "bandpass"]
        scaled = taken.get(c.scaling.kind, f"{c.scaling.kind} scaling")
        doubt = "" if c.training else ": it should have been trained so"
        return [f"the network is fed {', '.join([*band, scaled])}{doubt}"]


def export_module(
    model: nn.Module,
    out: Path,
    inputs: Inputs,
    *,
    name: str,
    scans: Mapping[str, str] | None = None,
    inline: bool = False,
    form: str = STANDARD,
    contract: Contract | None = None,
    stateful: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> ModuleExport:
    """Write the artefacts of a module, all together and only if ONNX Runtime agrees with PyTorch.

    Args:
        model: In evaluation mode, float32, on the CPU.
        out: ``NAME.onnx``.
        inputs: What to verify on.
        name: Of the model, for people; stands in the signature.
        scans: As :func:`mimamba_edge.export.capture.capture`.
        inline: Write ``NAME.inline.onnx`` as well.
        form: Of the scans' bodies.
        contract: Of a network ``(b, channels, samples)`` to ``(b, classes)``, which then streams.
        stateful: Let it take its states as inputs and give them as outputs, and chunks of any length.
        progress: Told what is being done.

    Raises:
        ConfigError: ``out`` is not a name for a portable file.
        DependencyError: onnxruntime is not installed.
        ExportError: The model cannot be exported, or its answers are random or not finite, or depend on the
            rest of a batch; the message names the module.
        GateError: The exported file does not agree with the model.
        OutputError: The files cannot be written.
    """
    checked_name(out)
    check_form(form, inline)  # before the long work: what verifies the file must be there
    plan = None
    if stateful:
        progress("comparing chunks with the whole")
        plan = examine(model, inputs, scans)
    progress("tracing the model")
    traced = trace_module(model, inputs.shape, name, scans, form, contract, plan)
    tensorrt = tensorrt_form(traced.model)
    check_graph(tensorrt, expected({SCAN: traced.scans, MSTB: traced.blocks}, traced.signature, bodies=False))
    progress("running the model on reference inputs")
    windows, answers, own_code = _answers(model, inputs, scans)
    reference = {tensor.name: a for tensor, a in zip(traced.signature.outputs, answers, strict=True)}
    whole = None if plan is None else _answers(model, long_sequence(inputs.shape, plan), scans)[1]

    def judge(path: Path) -> Parity:
        progress(f"verifying {path.name} in ONNX Runtime")
        with OrtRunner(path) as runner:
            parity = verify(runner, reference, windows)
            if traced.signature.batch is None:
                few = {name: value[:_FEW] for name, value in reference.items()}
                other = verify(runner, few, windows[:_FEW], batches=_SMALL_BATCHES).checks[1]
                parity.checks.append(Check("SQNR in batches of 1 and 3", *dataclasses.astuple(other)[1:]))
        if plan is not None and whole is not None:
            parity.checks.append(check_chunks(path, plan, whole))
        return parity

    held = WindowSet(windows, inputs.source, inputs.kind, inputs.hop)
    artefacts = Artefacts(traced.model, tensorrt, {traced.signature.input.name: windows, **reference}, held)
    try:
        files, parity = publish(
            out,
            artefacts,
            contract or traced.signature,
            source_sha256=_hash(model),
            judge=judge,
            form=form,
            inline=inline,
        )
    except GateError as error:
        with contextlib.nullcontext() if own_code else capture(model, scans):
            raise (_why_not(model, inputs, answers, traced) or error) from error
    return ModuleExport(files, parity, held, traced.scans, traced.signature.batch, own_code, contract, plan)


def _answers(
    model: nn.Module, inputs: Inputs, scans: Mapping[str, str] | None
) -> tuple[NDArray[Any], list[NDArray[Any]], bool]:
    """Return inputs, the model's answers in order, and whether they are those of its own code."""
    with torch.no_grad(), flat(model):
        try:
            windows, answers = _run_all(model, inputs)
            own = True
        except Exception:  # a kernel for GPUs, a compiled extension that is missing
            with capture(model, scans):
                windows, answers = _run_all(model, inputs)
            own = False
        return windows, answers, own


def _why_not(
    model: nn.Module, inputs: Inputs, answers: Sequence[NDArray[Any]], traced: Traced
) -> ExportError | None:
    """Return why no file can agree with a model: its own answers are not a function of one input."""
    if not all(np.isfinite(answer).all() for answer in answers if answer.dtype.kind == "f"):
        return ExportError(
            "the model itself answers with NaN or infinity",
            got=f"inputs: {inputs.source}",
            do="give inputs that it is made for: --inputs FILE.npz",
        )
    batch = inputs.shape.batch
    with torch.no_grad(), flat(model):
        again = [value.numpy() for value in model(torch.from_numpy(inputs.data[:batch]))]
        pair = [value.numpy()[:batch] for value in model(torch.from_numpy(inputs.data[: 2 * batch]))]
    first = [answer[:batch] for answer in answers]
    if not _agree(first, again):
        place = "the model itself" if not traced.random else f"module {traced.random}"
        return ExportError(
            f"{place} draws random numbers: the model gives another answer each time",
            got="two answers to one input",
            expected="the same answer to the same input",
            do="switch the random part off in evaluation mode, or let the model take its numbers as an input",
        )
    if traced.signature.batch is None and not _agree(first, pair):
        return ExportError(
            "the model's answer to one input depends on the others in its batch",
            got="another answer to the first input, alone and beside the second",
            expected="each row of the batch by itself",
            do="take means, sums and boolean indices over a row only; batch norms need running statistics",
        )
    return None


def _agree(right: Sequence[NDArray[Any]], got: Sequence[NDArray[Any]]) -> bool:
    """Return whether two answers are the same but for rounding."""
    return all(
        np.allclose(a, b, rtol=1e-3, atol=1e-3 * float(np.abs(a).max(initial=0)))
        for a, b in zip(right, got, strict=True)
    )


def _run_all(model: nn.Module, inputs: Inputs) -> tuple[NDArray[Any], list[NDArray[Any]]]:
    batch, parts, start = inputs.shape.batch, [], time.monotonic()
    for first in range(0, len(inputs.data), batch):
        result = model(torch.from_numpy(inputs.data[first : first + batch]))
        parts.append([value.numpy() for value in result])
        if time.monotonic() - start > _MOST_S and first + batch >= 2:
            break
    joined = [np.concatenate(values) for values in zip(*parts, strict=True)]
    return inputs.data[: len(parts) * batch], joined


def _hash(model: nn.Module) -> str:
    """Return a hash of a model's weights and their names."""
    found = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        found.update(name.encode())
        found.update(np.ascontiguousarray(value.detach().cpu().numpy()).tobytes())
    return found.hexdigest()
