"""``mimamba-edge train``: from labelled recordings to a checkpoint with honest scores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mimamba_edge.errors import ConfigError


def train(
    data: Annotated[Path, typer.Argument(help="Folder of recordings with its labels.csv.")],
    window: Annotated[float, typer.Option(help="Length of a window in seconds.", min=0.05)] = 1.0,
    sfreq: Annotated[float, typer.Option(help="Rate of the windows in Hz.", min=1.0)] = 128.0,
    channels: Annotated[
        str | None, typer.Option(help="Channels by name, with commas; all by default.")
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(help="within-session, leave-one-run-out, cross-session or cross-subject."),
    ] = "leave-one-run-out",
    seeds: Annotated[int, typer.Option(help="Number of seeds.", min=1)] = 1,
    epochs: Annotated[int | None, typer.Option(help="Length of a fit in epochs.", min=1)] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Checkpoint to write.")] = Path("ckpt.pt"),
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the scores as JSON.")] = None,
) -> None:
    """Train the reference model on labelled recordings and score it on groups it never saw."""
    from mimamba_edge.artifact import check_outputs, write_json
    from mimamba_edge.cli.models import CHECKPOINTS, is_checkpoint
    from mimamba_edge.cli.needs import need_export

    need_export("train")
    from mimamba_edge.export.training.session import prepare, run_training

    if not is_checkpoint(output.name):
        raise ConfigError(
            "not a name for a checkpoint", got=output, expected=" or ".join(f"NAME{s}" for s in CHECKPOINTS)
        )
    check_outputs((output, json_path), [data])
    names = None if channels is None else tuple(c.strip() for c in channels.split(",") if c.strip())
    plan = prepare(data, protocol, window_s=window, sfreq=sfreq, channels=names, epochs=epochs)
    report = run_training(plan, seeds=seeds, out=output)
    if json_path is not None:
        write_json(json_path, report)
