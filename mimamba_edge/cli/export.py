"""``mimamba-edge export``: from a checkpoint, or any PyTorch model, to verified files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mimamba_edge.cli.options import number
from mimamba_edge.errors import ConfigError

if TYPE_CHECKING:
    from mimamba_edge.contract import Contract


def export(
    checkpoint: Annotated[
        Path | None, typer.Argument(help="Checkpoint that `train` wrote: .pt or .safetensors.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="NAME.onnx; default: beside the checkpoint.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Recording, or folder of recordings, to verify on; default: simulated EEG."),
    ] = None,
    inline: Annotated[
        bool,
        typer.Option(
            "--inline",
            help="Also write NAME.inline.onnx, standard ops only, for runtimes that know no functions; "
            "CHECKPOINT may then be an exported NAME.onnx.",
        ),
    ] = False,
    form: Annotated[
        str,
        typer.Option(
            help="standard: ops of the ONNX standard only. linear-attention: the scan is ONNX Runtime's own "
            "op of that name (1.25.1 or later), for its providers other than the CPU's."
        ),
    ] = "standard",
    model: Annotated[
        str | None,
        typer.Option(
            help="In place of CHECKPOINT: package.module:factory, which returns a PyTorch model. "
            "This runs its Python code; nothing else here runs yours."
        ),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights of --model: .safetensors or .pt.")] = None,
    shape: Annotated[
        str | None, typer.Option("--input", help="Input of --model, batch first: 1x3x224x224, 1x64:int64.")
    ] = None,
    inputs: Annotated[Path | None, typer.Option(help="To verify --model on: .npz, one array.")] = None,
    channels: Annotated[
        str | None,
        typer.Option(
            help="Of an EEG network as --model: channel names, separated by commas; it then streams."
        ),
    ] = None,
    sfreq: Annotated[float | None, number("Its rate in Hz.", least=1e-3, most=1e5)] = None,
    classes: Annotated[str | None, typer.Option(help="Its class names, separated by commas.")] = None,
    scaling: Annotated[
        str | None, typer.Option(help="What it is fed: none (microvolts, the default) or window-zscore.")
    ] = None,
    stateful: Annotated[
        bool,
        typer.Option(
            "--stateful",
            help="Of a causal --model: its states become inputs and outputs, so that it runs chunk by chunk.",
        ),
    ] = False,
) -> None:
    """Export a checkpoint, or any PyTorch model, to ONNX and verify it.

    Writes NAME.onnx (portable), NAME.trt.onnx (for TensorRT) and NAME.ref.npz (reference outputs).
    """
    import time

    from mimamba_edge.console import progress, show_note, show_table
    from mimamba_edge.export.api import export_model, export_module
    from mimamba_edge.parity import to_rows

    start = time.perf_counter()
    signal = {"channels": channels, "sfreq": sfreq, "classes": classes}
    eeg = model is not None and None not in (shape, *signal.values())
    other: dict[str, Any] = {"inputs": inputs} if eeg else {**signal, "scaling": scaling}
    if model is None:
        other |= {"input": shape, "inputs": inputs, "weights": weights, "stateful": stateful or None}
    elif not eeg:
        other["data"] = data
    stray = [key for key, value in other.items() if value is not None]
    if (checkpoint is None) == (model is None) or stray:
        expected = (
            "CHECKPOINT [--data], or --model with --input or --inputs [--weights] [--stateful], or --model "
            "with --input, --channels, --sfreq and --classes [--scaling] [--data] [--weights]"
        )
        raise ConfigError("export takes a checkpoint or --model", got=stray or None, expected=expected)
    with progress("loading torch") as bar:
        say: dict[str, Any] = {"inline": inline, "form": form, "progress": bar.describe}
        if checkpoint is not None:
            result = export_model(checkpoint, output, data=data, **say)
        else:
            about: dict[str, Any] = {"shape": shape, "inputs": inputs, "stateful": stateful}
            if eeg:
                named = _contract(str(shape), str(channels), float(sfreq or 0), str(classes), scaling)
                about = {"contract": named, "data": data, "stateful": stateful}
            result = export_module(str(model), output, weights=weights, **about, **say)
    sizes = [(str(path), f"{path.stat().st_size / 1024:,.0f} KiB") for path in result.files]
    show_table("", ("file", "size"), sizes)
    title = f"ONNX Runtime against PyTorch on {result.windows}"
    show_table(title, ("check", "value", "bound", "verdict"), to_rows(result.parity), left=range(4))
    show_note("; ".join([*result.notes(), f"exported in {time.perf_counter() - start:.1f} s"]))


def _contract(shape: str, channels: str, sfreq: float, classes: str, scaling: str | None) -> Contract:
    from mimamba_edge.optional_packages import need_export

    need_export("export")
    from mimamba_edge.export.foreign.contract import contract_for

    names, labels = ([name.strip() for name in text.split(",")] for text in (channels, classes))
    return contract_for(shape, names, sfreq, labels, scaling or "none")
