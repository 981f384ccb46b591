"""``mimamba-edge export``: from a checkpoint, or any PyTorch model, to verified files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mimamba_edge.cli.options import Json, Report, deliver, need_paths, number
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
            help="package.module:factory, which returns a PyTorch model, in place of CHECKPOINT or with "
            "one of `train --model`. This runs its Python code; nothing else here runs yours."
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
    contract: Annotated[
        Path | None,
        typer.Option(help="Its contract, as JSON; in place of --input and these four (docs/formats)."),
    ] = None,
    stateful: Annotated[
        bool,
        typer.Option(
            "--stateful",
            help="Of a causal --model: its states become inputs and outputs, so that it runs chunk by chunk.",
        ),
    ] = False,
    json: Json = False,
    report: Report = None,
) -> None:
    """Export a checkpoint, or any PyTorch model, to ONNX and verify it.

    Writes NAME.onnx (portable), NAME.trt.onnx (for TensorRT) and NAME.ref.npz (reference outputs).
    """
    import time

    from mimamba_edge.console import progress, show_note, show_table
    from mimamba_edge.export.api import export_model, export_module
    from mimamba_edge.outputs import check_outputs, report_of
    from mimamba_edge.parity import to_rows

    start = time.perf_counter()
    given: dict[str, Any] = {"CHECKPOINT": checkpoint, "--model": model, "--data": data, "--weights": weights}
    given |= {"--input": shape, "--inputs": inputs, "--channels": channels, "--sfreq": sfreq}
    given |= {"--classes": classes, "--scaling": scaling, "--contract": contract}
    given |= {"--stateful": stateful or None}
    _check_way({name for name, value in given.items() if value is not None}, model)
    need_paths(checkpoint, data, weights, inputs, contract)
    check_outputs([(report, report_of("export"))], [] if checkpoint is None else [checkpoint])
    with progress("loading torch") as bar:
        say: dict[str, Any] = {"inline": inline, "form": form, "progress": bar.describe}
        if checkpoint is not None and model is None:
            result = export_model(checkpoint, output, data=data, **say)
        else:
            about: dict[str, Any] = {"weights": weights, "checkpoint": checkpoint, "data": data}
            if contract is not None or classes is not None:
                about["contract"] = _contract(contract, shape, channels, sfreq, classes, scaling)
            else:
                about |= {"shape": shape, "inputs": inputs, "stateful": stateful}
            result = export_module(str(model), output, **about, **say)
    sizes = [(str(path), f"{path.stat().st_size / 1024:,.0f} KiB") for path in result.files]
    show_table("", ("file", "size"), sizes)
    title = f"ONNX Runtime against PyTorch on {result.windows}"
    show_table(title, ("check", "value", "bound", "verdict"), to_rows(result.parity), left=range(4))
    made = {"files": [str(path) for path in result.files], "windows": str(result.windows)}
    deliver("export", {**made, **result.parity.to_dict()}, json, report)
    made_up = model is not None and weights is None and checkpoint is None
    as_made = ["weights as the factory made them (--weights FILE loads others)"] if made_up else []
    show_note("; ".join([*result.notes(), *as_made, f"exported in {time.perf_counter() - start:.1f} s"]))


_WAYS = {
    "CHECKPOINT": {"--data"},
    "CHECKPOINT --model": {"--data"},
    "--model --input": {"--inputs", "--weights", "--stateful"},
    "--model --inputs": {"--weights", "--stateful"},
    "--model --input --channels --sfreq --classes": {"--scaling", "--data", "--weights"},
    "--model --contract": {"--data", "--weights"},
}
"""What an export needs, and what it can take besides."""


_OF_EEG = ("--channels", "--sfreq", "--classes")


def _check_way(given: set[str], model: str | None) -> None:
    for needed, more in _WAYS.items():
        if set(needed.split()) <= given <= {*needed.split(), *more}:
            return
    lacking: tuple[str, ...] = ()
    if "--model" in given and not given & {"CHECKPOINT", "--contract"}:
        if given & {*_OF_EEG, "--scaling", "--data"}:
            lacking = ("--input", *_OF_EEG)
        elif "--inputs" not in given:
            lacking = ("--input",)
    if missing := [name for name in lacking if name not in given]:
        raise ConfigError(
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing",
            got=" ".join(sorted(given)),
            expected="the shape of the input, batch first; of an EEG network also channels, rate and classes",
            do=f"for example: mimamba-edge export --model {model} "
            + (
                "--input 1x4x256 --channels TP9,AF7,AF8,TP10 --sfreq 256 --classes rest,task"
                if len(lacking) > 1
                else "--input 1x3x224x224"
            ),
        )
    ways = [" ".join([needed, *(f"[{one}]" for one in sorted(more))]) for needed, more in _WAYS.items()]
    raise ConfigError(
        "export takes a checkpoint or --model, with these options together",
        got=" ".join(sorted(given)) or "neither",
        expected="\n            ".join(ways),
    )


def _contract(
    path: Path | None,
    shape: str | None,
    channels: str | None,
    sfreq: float | None,
    classes: str | None,
    scaling: str | None,
) -> Contract:
    from mimamba_edge.optional_packages import need_export

    need_export("export")
    from mimamba_edge.export.foreign.contract import contract_for, read_contract

    if path is not None:
        return read_contract(path)
    names, labels = ([name.strip() for name in str(text).split(",")] for text in (channels, classes))
    return contract_for(str(shape), names, float(sfreq or 0), labels, scaling or "none")
