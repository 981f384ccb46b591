"""``mimamba-edge simulate``: a data set of simulated EEG to try everything with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mimamba_edge.cli.options import count


def simulate(
    folder: Annotated[Path, typer.Argument(help="Folder to make; it must not exist, or be empty.")],
    runs: Annotated[int, count("Recordings to make.", most=1000)] = 6,
    trials: Annotated[int, count("Trials of each.", least=2, most=10_000)] = 16,
    seed: Annotated[int, count("Everything follows from it.", least=0, most=2**63 - 1)] = 0,
) -> None:
    """Simulate recordings of a four-channel headband with two classes of rhythms, and their labels.csv."""
    from mimamba_edge.console import progress
    from mimamba_edge.data.simulate import write_dataset

    with progress("simulating", total=runs) as bar:
        table = write_dataset(folder, runs=runs, trials=trials, seed=seed, done=bar.advance)
    typer.echo(f"{folder}: {runs} recordings, {len(table)} trials, labels.csv")
