"""``mimamba-edge export``: from a checkpoint to verified files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint that `train` wrote: .pt or .safetensors.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="File to write, NAME.onnx; default: beside the checkpoint, with its name."
        ),
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
            "op of that name (1.25 or later), for its providers other than the CPU's."
        ),
    ] = "standard",
) -> None:
    """Export a checkpoint to ONNX and verify it.

    Writes NAME.onnx (portable), NAME.trt.onnx (for TensorRT) and NAME.ref.npz (reference outputs).
    """
    import time

    from mimamba_edge.console import progress, show_note, show_table
    from mimamba_edge.export.api import export_model
    from mimamba_edge.parity import to_rows

    start = time.perf_counter()
    with progress("loading torch") as bar:
        result = export_model(checkpoint, output, data=data, inline=inline, form=form, progress=bar.describe)
    sizes = [(str(path), f"{path.stat().st_size / 1024:,.0f} KiB") for path in result.files]
    show_table("", ("file", "size"), sizes)
    title = f"ONNX Runtime against PyTorch on {result.windows}"
    show_table(title, ("check", "value", "bound", "verdict"), to_rows(result.parity), left=range(4))
    show_note(f"exported in {time.perf_counter() - start:.1f} s")
