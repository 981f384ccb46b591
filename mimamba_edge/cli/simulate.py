"""``mimamba-edge simulate``: a data set of simulated EEG to try everything with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mimamba_edge.cli.options import Json, count, deliver


def simulate(
    folder: Annotated[Path, typer.Argument(help="Folder to write; it must be new or empty.")],
    runs: Annotated[int, count("Number of recordings of each person.", most=1000)] = 6,
    trials: Annotated[int, count("Trials in each recording.", least=2, most=10_000)] = 16,
    subjects: Annotated[int, count("Number of people; several differ from one another.", most=1000)] = 1,
    seed: Annotated[
        int, count("Random seed: the same seed gives the same files.", least=0, most=2**63 - 1)
    ] = 0,
    json: Json = False,
) -> None:
    """Write simulated recordings with labels.

    They are of a four-channel headband and hold two classes of rhythms; labels.csv lists the trials.
    """
    from mimamba_edge.console import progress, show_note
    from mimamba_edge.data.simulate import SPREAD, write_dataset

    with progress("simulating", total=runs * subjects) as bar:
        table = write_dataset(
            folder,
            subjects=subjects,
            runs=runs,
            trials=trials,
            seed=seed,
            spread=SPREAD if subjects > 1 else 0.0,
            done=bar.advance,
        )
    show_note(f"{folder}: {runs * subjects} recordings, {len(table)} trials, labels.csv")
    result = {"folder": str(folder), "recordings": runs * subjects, "trials": len(table)}
    deliver("simulate", result, json, None)
