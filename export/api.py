"""Export, lower precision and training as functions: what the verbs of the same names do.

``import mimamba_edge`` offers these three. Nothing here imports torch or onnx before it is called.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimamba_edge.console import progress as progress_bar
from mimamba_edge.errors import ConfigError, GateError
from mimamba_edge.optional_packages import need_export
from mimamba_edge.outputs import ARTEFACT, CHECKPOINT, check_outputs

if TYPE_CHECKING:
    from torch import nn

    from mimamba_edge.contract import Contract
    from mimamba_edge.data.dataset import Dataset
    from mimamba_edge.export.foreign.export import ModuleExport
    from mimamba_edge.export.onnx.export import ExportResult
    from mimamba_edge.export.quantize.evaluate import Evaluation

__all__ = ["QuantizeResult", "export_model", "export_module", "quantize_model", "train_model"]


@dataclass(frozen=True)
class QuantizeResult:
    """A file of lower precision that was worth writing.

    Attributes:
        files: The artefacts, without their manifests.
        evaluation: The checks that let them be published.
    """

    files: tuple[Path, ...]
    evaluation: Evaluation


def export_model(
    checkpoint: Path | str,
    output: Path | str | None = None,
    *,
    data: Path | str | None = None,
    inline: bool = False,
    form: str = "standard",
    progress: Callable[[str], None] | None = None,
) -> ExportResult:
    """Write ``NAME.onnx``, ``NAME.trt.onnx`` and ``NAME.ref.npz``, verified against the checkpoint.

    Args:
        checkpoint: ``.pt`` or ``.safetensors``; with ``inline`` also an exported ``NAME.onnx``, of which only
            ``NAME.inline.onnx`` is made.
        output: ``NAME.onnx``; by default beside the checkpoint, under its name. Of an exported file:
            ``NAME.inline.onnx``.
        data: Recording, or folder of recordings, to verify on; by default simulated EEG. An exported file is
            verified on the reference windows beside it.
        inline: Also write ``NAME.inline.onnx``, in standard ops only, for runtimes that know no functions.
        form: ``"standard"``: standard ops only. ``"linear-attention"``: the scan is ONNX Runtime's own op of
            that name (from 1.25.1), for execution providers that have a kernel of it and none of ours.
        progress: Told what is being done.

    Raises:
        GateError: The exported file does not agree with the checkpoint; nothing was written.
        MimambaError: As :func:`mimamba_edge.export.onnx.export.export_checkpoint`.
    """
    need_export("export")
    from mimamba_edge.export.onnx.export import export_checkpoint, files_of, output_beside

    source, recordings = Path(checkpoint), None if data is None else Path(data)
    if inline and source.name.endswith(".onnx"):
        return _inlined(source, output, recordings, progress)
    out = output_beside(source) if output is None else Path(output)
    read = [source, *([] if recordings is None else [recordings])]
    check_outputs([(path, ARTEFACT) for path in files_of(out, inline=inline)], read)
    return export_checkpoint(source, out, data=recordings, inline=inline, form=form, progress=progress)


def _inlined(
    source: Path, output: Path | str | None, data: Path | None, progress: Callable[[str], None] | None
) -> ExportResult:
    from mimamba_edge.export.onnx.export import ExportResult
    from mimamba_edge.export.onnx.inlined_file import inline_file, inlined_path

    if data is not None:
        raise ConfigError(
            f"{source} is verified on the reference windows beside it",
            got=f"--data {data}",
            do="leave it out",
        )
    out = inlined_path(source) if output is None else Path(output)
    check_outputs([(out, ARTEFACT)], [source])
    parity, windows = inline_file(source, out, progress=progress or (lambda _: None))
    return ExportResult((out,), parity, windows)


def export_module(
    model: nn.Module | str,
    output: Path | str | None = None,
    *,
    shape: str | None = None,
    inputs: Path | str | None = None,
    contract: Contract | None = None,
    data: Path | str | None = None,
    weights: Path | str | None = None,
    checkpoint: Path | str | None = None,
    scans: Mapping[str, str] | None = None,
    stateful: bool = False,
    inline: bool = False,
    form: str = "standard",
    progress: Callable[[str], None] | None = None,
) -> ModuleExport:
    """Write the artefacts of any PyTorch model with one input, verified against the model.

    Naming a model runs its Python code.

    Args:
        model: ``"package.module:factory"`` or the model. A factory is called without arguments; where there
            is a contract, with those of ``n_chans``, ``n_times``, ``n_outputs`` and ``sfreq`` that it takes.
            The model is put into evaluation mode, in float32 on the CPU.
        output: ``NAME.onnx``; by default the name of the factory in the current folder, or that of
            ``checkpoint`` beside it.
        shape: Of the input, batch first: ``"1x3x224x224"``, or ``"1x64:int64"``.
        inputs: ``.npz`` with one array ``(n, ...)`` to verify on; by default random ones.
        contract: Of an EEG network ``(b, channels, samples)`` to ``(b, classes)``: the files then stream, and
            by default they are verified on simulated EEG.
        data: Recording, or folder of recordings, to verify a network with a contract on.
        weights: ``.safetensors`` or ``.pt``, loaded by name.
        checkpoint: What ``train`` wrote for the network of this factory: weights and contract, in place of
            ``shape``, ``inputs``, ``contract`` and ``weights``.
        scans: Selective scans that are not known, as :func:`mimamba_edge.export.capture.capture`.
        stateful: Of a causal model: its states become inputs and outputs, and it takes chunks of any length
            (:class:`mimamba_edge.StatefulRunner`).
        inline: As :func:`export_model`.
        form: As :func:`export_model`.
        progress: Told what is being done.

    Raises:
        GateError: The exported file does not agree with the model; nothing was written.
        MimambaError: The model cannot be made, fed or exported; the message names the module.
    """
    need_export("export")
    from mimamba_edge.contract import FOREIGN_FAMILY, OPS
    from mimamba_edge.export.families.foreign import ForeignConfig
    from mimamba_edge.export.foreign.checkpoint import open_network
    from mimamba_edge.export.foreign.export import export_module as export
    from mimamba_edge.export.foreign.factory import build, frozen, load_weights
    from mimamba_edge.export.foreign.inputs import find_eeg, find_inputs, parse_shape
    from mimamba_edge.export.onnx.export import output_beside
    from mimamba_edge.export.onnx.publish import checked_name, files_of

    say = progress or (lambda _: None)
    name = model if isinstance(model, str) else type(model).__name__
    if output is not None:
        out = Path(output)
    elif checkpoint is not None:
        out = output_beside(Path(checkpoint))
    else:
        out = Path(f"{name.split(':')[-1].split('.')[-1]}.onnx")
    checked_name(out)
    read = [Path(path) for path in (weights, checkpoint, inputs, data) if path is not None]
    check_outputs([(path, ARTEFACT) for path in files_of(out, inline=inline)], read)
    wanted = None if shape is None else parse_shape(shape)
    if stateful and (contract is not None or checkpoint is not None):
        raise ConfigError(
            "a stateful model has no contract yet: stream decides on windows, and this model takes chunks",
            got="both",
            do="leave out stateful, or the contract and run the file by StatefulRunner",
        )
    if contract is not None or checkpoint is not None:
        if shape is not None or inputs is not None:
            raise ConfigError(
                "a model with a contract has its shape from there", got="shape or inputs as well"
            )
    elif data is not None:
        raise ConfigError("recordings need a contract: channels, a rate, classes", got=f"data {data}")
    say(f"making {name}")
    if checkpoint is not None:
        if contract is not None or weights is not None or not isinstance(model, str):
            raise ConfigError("a checkpoint holds weights and contract of a factory's network, named by text")
        built, contract = open_network(Path(checkpoint), model)
    else:
        sizes = None
        if contract is not None:
            config = ForeignConfig.of(name, contract)
            sizes = config.sizes
            contract = dataclasses.replace(
                contract, family=FOREIGN_FAMILY, ops=dict(OPS), model=config.to_dict()
            )
        built = build(model, sizes) if isinstance(model, str) else frozen(model, name)
    if weights is not None:
        load_weights(built, Path(weights))
    if contract is None:
        given = find_inputs(wanted, None if inputs is None else Path(inputs), built)
    else:
        say("making windows")
        given = find_eeg(contract, None if data is None else Path(data))
    more: dict[str, Any] = {"scans": scans, "inline": inline, "form": form, "contract": contract}
    return export(built, out, given, name=name, stateful=stateful, progress=say, **more)


def quantize_model(
    model: Path | str,
    to: str,
    *,
    target: str | None = None,
    data: Path | str | None = None,
    method: str = "mse",
    output: Path | str | None = None,
) -> QuantizeResult:
    """Write a file of lower precision, if it is faster and accurate enough.

    Args:
        model: The portable fp32 ``NAME.onnx`` of :func:`export_model`.
        to: ``"fp16"`` or ``"int8"``.
        target: Of INT8: ``"cpu"`` (default) or ``"tensorrt"``.
        data: Recording, or folder of recordings, to calibrate and evaluate on.
        method: Of calibration: ``"mse"``, ``"percentile"`` or ``"minmax"``.
        output: By default beside the model, under its name.

    Raises:
        GateError: It is below the acceptance limits; nothing was written.
        MimambaError: The model, the recordings or the output cannot be used.
    """
    need_export("quantize")
    from mimamba_edge.export.onnx.export import files_of
    from mimamba_edge.export.quantize.pipeline import Request, output_for, quantize
    from mimamba_edge.export.quantize.recipes import recipe_for
    from mimamba_edge.parity import missed
    from mimamba_edge.runtime.reference import reference_path

    source, recordings = Path(model), None if data is None else Path(data)
    recipe = recipe_for(to, target)
    out = output_for(source, recipe, None if output is None else Path(output))
    made = {*files_of(out)} - {reference_path(source)}
    read = [source, *([] if recordings is None else [recordings])]
    check_outputs([(path, ARTEFACT) for path in sorted(made)], read)
    with progress_bar("loading", total=None) as bar:
        evaluation, files = quantize(Request(source, out, recipe, recordings, method, None), bar)
    if not files:
        reasons = missed(evaluation.checks, values=True)
        raise GateError(
            f"{out} was not written: it is below the acceptance limits", got=reasons, do=recipe.advice
        )
    return QuantizeResult(files, evaluation)


def train_model(
    data: Path | str | Dataset,
    output: Path | str = "ckpt.pt",
    *,
    protocol: str = "leave-one-run-out",
    window_s: float = 1.0,
    sfreq: float = 128.0,
    channels: Sequence[str] | None = None,
    epochs: int | None = None,
    seeds: int = 1,
    model: str | None = None,
    device: str = "cpu",
    precision: str = "float32",
) -> dict[str, Any]:
    """Train the reference model, or one of others, on labelled recordings; score it on groups it never saw.

    Fits run in processes of their own, one on each core. Naming a model runs its Python code.

    Args:
        data: Folder of recordings with its ``labels.csv``, ``NAME:REST`` of another data set, or a data set
            such as :class:`mimamba_edge.ArrayDataset`.
        output: Checkpoint to write; those of the folds go beside it.
        protocol: ``"within-session"``, ``"leave-one-run-out"``, ``"cross-session"`` or ``"cross-subject"``,
            each also with ``"+cross-stimulus"``; see :mod:`mimamba_edge.export.training.protocol`.
        window_s: Length of a window in seconds.
        sfreq: Rate of the windows in Hz.
        channels: Channels by name; by default all that may be EEG.
        epochs: Length of a fit; by default the recipe's.
        seeds: Number of seeds.
        model: ``"package.module:factory"`` of an EEG network, called with those of ``n_chans``, ``n_times``,
            ``n_outputs`` and ``sfreq`` that it takes; by default the reference model.
        device: ``"cpu"`` or ``"cuda"``.
        precision: ``"float32"``, or ``"bfloat16"`` for mixed precision.

    Returns:
        The scores, JSON-ready.

    Raises:
        MimambaError: The recordings cannot be used, or the checkpoint cannot be written.
    """
    need_export("train")
    from mimamba_edge.data.dataset import open_dataset
    from mimamba_edge.export.training.fit import checked_device
    from mimamba_edge.export.training.pipeline import prepare, run_training

    checked_device(device, precision)
    out = Path(output)
    folds = out.with_name(f"{out.stem}-folds").glob(f"*{out.suffix}")
    read = [data] if isinstance(data, (str, Path)) else []
    check_outputs([(path, CHECKPOINT) for path in (out, *folds)], read)
    names = None if channels is None else tuple(channels)
    dataset = open_dataset(data) if isinstance(data, (str, Path)) else data
    about: dict[str, Any] = {"channels": names, "epochs": epochs, "model": model}
    plan = prepare(dataset, protocol, window_s=window_s, sfreq=sfreq, **about)
    return run_training(plan.computed(device, precision), seeds=seeds, out=out)
