"""A small data set and network for the tests of jobs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mimamba_edge.contract import Contract, Scaling
from mimamba_edge.data.labels import Trial
from mimamba_edge.data.windows import Windows
from mimamba_edge.export.families.msimamba.config import ModelConfig
from mimamba_edge.export.jobs.run import Engine
from mimamba_edge.export.network import FamilyBlueprint
from mimamba_edge.export.training.fit import Hyperparameters
from mimamba_edge.export.training.train import TrainingRun, cross_validate

SIZES = {"n_chans": 2, "n_times": 32, "n_outputs": 2, "sfreq": 32.0}
SMALL = {"d_model": 8, "n_layers": 1, "d_state": 2, "d_ff": 2, "n_kernels": 2}
BLUEPRINT = FamilyBlueprint(ModelConfig.from_dict({**SIZES, **SMALL}))
CONTRACT = Contract(("TP9", "AF7"), 32.0, 32, 4, ("calm", "happy"), scaling=Scaling("none"))
RECIPE = Hyperparameters(epochs=2, batch_size=8)
N_FITS = 6


def windows() -> Windows:
    """Three runs of four trials with three windows each: noise."""
    trials = tuple(
        Trial(f"{r}.csv", 9.0 * t, 9.0 * t + 8, ("calm", "happy")[t % 2], "1", "1", str(r), "")
        for r in range(3)
        for t in range(4)
    )
    owner = np.repeat(np.arange(12), 3)
    data = np.random.default_rng(0).normal(size=(36, 2, 32))
    return Windows(data, owner % 2, owner, ("calm", "happy"), trials)


def train(engine: Engine | None = None, *, recipe: Hyperparameters = RECIPE, **more: object) -> TrainingRun:
    """Fit three folds with two seeds."""
    plan = (windows(), CONTRACT, BLUEPRINT, recipe, "leave-one-run-out")
    return cross_validate(*plan, seeds=2, engine=engine or Engine(jobs=1), **more)  # type: ignore[arg-type]


def bits(run: TrainingRun) -> list[bytes]:
    """Return all that a run's fits gave."""
    return [
        b"".join(
            [
                *(value.tobytes() for value in one.fit.fitted.state_dict.values()),
                *(
                    repr(x).encode()
                    for x in (one.fit.fitted.history, one.fit.fitted.best_epoch, one.contract)
                ),
                *(x.tobytes() for x in (one.fit.test_logits, one.fit.window_logits, one.fit.picked)),
            ]
        )
        for one in run.results
    ]


def kept(folder: Path) -> list[Path]:
    """Return the results in a folder of jobs."""
    return sorted(folder.glob("*.result"))
