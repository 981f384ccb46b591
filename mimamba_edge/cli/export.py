"""``mimamba-edge export``."""

from __future__ import annotations

from pathlib import Path

import typer


def export(
    checkpoint: Path = typer.Argument(
        ..., metavar="CHECKPOINT", help="FILE.pt or FILE.safetensors of `train`."
    ),
    output: Path | None = typer.Option(
        None, "--output", "-o", metavar="NAME.onnx", help="Default: beside the checkpoint, under its name."
    ),
    data: Path | None = typer.Option(
        None,
        "--data",
        help="Recording or folder whose windows the export is verified on; default: simulated EEG.",
    ),
) -> None:
    """Write NAME.onnx, NAME.trt.onnx and NAME.ref.npz, verified against the checkpoint."""
    import time

    from mimamba_edge.cli.needs import need_export
    from mimamba_edge.console import progress, show_note, show_table

    need_export("export")
    start = time.perf_counter()
    with progress("starting") as bar:
        from mimamba_edge.export.onnx.export import export_checkpoint

        out = checkpoint.with_suffix(".onnx") if output is None else output
        result = export_checkpoint(checkpoint, out, data=data, progress=bar.describe)
    show_table(
        "", ("file", "size"), [(str(path), f"{path.stat().st_size / 1024:,.0f} KiB") for path in result.files]
    )
    show_table(
        f"PyTorch and ONNX Runtime on {result.windows}",
        ("check", "value", "bound", ""),
        [(c.name, c.value, c.bound, "" if c.passed is None else "ok") for c in result.parity.checks],
        left=(0, 1, 2, 3),
    )
    show_note(f"exported in {time.perf_counter() - start:.1f} s")
