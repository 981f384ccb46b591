"""``mimamba-edge simulate``: a data set of simulated EEG to try everything with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mimamba_edge.cli.options import count


def simulate(
    folder: Annotated[Path, typer.Argument(help="Folder to write; it must be new or empty.")],
    runs: Annotated[int, count("Number of recordings.", most=1000)] = 6,
    trials: Annotated[int, count("Trials in each recording.", least=2, most=10_000)] = 16,
    seed: Annotated[
        int, count("Random seed: the same seed gives the same files.", least=0, most=2**63 - 1)
    ] = 0,
) -> None:
    """Write simulated recordings with labels.

    They are of a four-channel headband and hold two classes of rhythms; labels.csv lists the trials.
    """
    from mimamba_edge.console import progress
    from mimamba_edge.data.simulate import write_dataset

    with progress("simulating", total=runs) as bar:
        table = write_dataset(folder, runs=runs, trials=trials, seed=seed, done=bar.advance)
    typer.echo(f"{folder}: {runs} recordings, {len(table)} trials, labels.csv")
