"""Networks of others in the table: trained under the model's own folds, validation groups and seeds.

A weak baseline is no baseline: each may take our recipe or its authors', with our augmentation or without.
In every fold and for every seed the validation group chooses; the tested trials decide nothing.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mimamba_edge.contract import FOREIGN_FAMILY, Contract, Scaling
from mimamba_edge.data.windows import Windows
from mimamba_edge.errors import ConfigError, DependencyError, pip_install, quoted
from mimamba_edge.export.foreign.blueprint import checked_blueprint
from mimamba_edge.export.jobs.arrays import as_file
from mimamba_edge.export.jobs.run import Engine, run_jobs
from mimamba_edge.export.network import Blueprint
from mimamba_edge.export.training.fit import Hyperparameters
from mimamba_edge.export.training.folds import FoldFit, FoldJob, Shared, fit_fold, kept_fits
from mimamba_edge.export.training.protocol import Fold

__all__ = ["NETWORKS", "Network", "Trained", "check_networks", "named", "train_networks"]

_OURS = "ours"


@dataclass(frozen=True)
class Network:
    """A network of others.

    Attributes:
        name: For people.
        factory: ``package.module:factory``, as ``train --model`` takes it.
        epochs: Length of its schedule where it is trained as by its authors.
    """

    name: str
    factory: str
    epochs: int = 60

    @property
    def recipes(self) -> dict[str, Hyperparameters]:
        """Ways to train it, by name.

        Its authors': learning rate 0.001, batches of 16, no weight decay (Lawhern et al. 2018; the
        classification scripts of thuml/Time-Series-Library), without augmentation and with ours.
        """
        authors = Hyperparameters(
            epochs=self.epochs, batch_size=16, learning_rate=1e-3, weight_decay=0.0, ft_surrogate=0.0
        )
        return {
            _OURS: Hyperparameters(),
            "its authors'": authors,
            "its authors' with phase surrogates": dataclasses.replace(authors, ft_surrogate=1.0),
        }


_HERE = "mimamba_edge.export.evaluation.networks"
NETWORKS = {
    "eegnet": Network("EEGNet", "braindecode.models:EEGNet"),
    "shallow": Network("ShallowFBCSPNet", "braindecode.models:ShallowFBCSPNet"),
    "timesnet": Network("TimesNet, small", f"{_HERE}:TimesNet", epochs=30),
    "itransformer": Network("iTransformer", f"{_HERE}:ITransformer"),
    "dlinear": Network("DLinear", f"{_HERE}:DLinear"),
}
"""By the words of ``evaluate --against``. The schedule of TimesNet is that of its authors' scripts; the other
authors write 100 to 500 epochs and keep an earlier one, where ours ends a falling learning rate."""


@dataclass(frozen=True)
class Trained:
    """What a network answers on trials that it never saw.

    Attributes:
        network: Which.
        predicted: Class of each trial by each seed ``(seeds, n_trials)``.
        recipes: Name of the recipe that the validation group chose: of each fold, seeds outermost.
    """

    network: Network
    predicted: NDArray[np.int64]
    recipes: list[str]

    def note(self) -> str:
        """Return in words how it was trained."""
        counted = ", ".join(f"{name} in {n}" for name, n in Counter(self.recipes).most_common())
        return (
            f"{self.network.name} ({self.network.factory}): of {len(self.network.recipes)} recipes the "
            f"validation groups chose, in {len(self.recipes)} folds and seeds: {counted}"
        )


def named(word: str) -> Network:
    """Return the network that a user names: a key of :data:`NETWORKS` or ``package.module:factory``.

    Raises:
        ConfigError: It is neither.
        DependencyError: It is one of braindecode's, which is not installed.
    """
    if ":" in word:
        return Network(word.rpartition(":")[2], word)
    if word not in NETWORKS:
        raise ConfigError(
            "unknown network", got=quoted(word), expected=f"{', '.join(NETWORKS)} or package.module:factory"
        )
    network = NETWORKS[word]
    package = network.factory.partition(".")[0]
    if importlib.util.find_spec(package) is None:
        raise DependencyError(
            f"{network.name} is of {package}, which is not installed",
            do=pip_install("baselines"),
        )
    return network


def check_networks(
    networks: Sequence[Network], contract: Contract
) -> dict[Network, Blueprint[torch.nn.Module]]:
    """Return what makes each network for windows of a contract, after one of each was tried.

    Raises:
        ConfigError: See :func:`mimamba_edge.export.foreign.blueprint.checked_blueprint`.
        ExportError: See there.
    """
    contract = _of_windows(contract)
    return {network: checked_blueprint(network.factory, contract) for network in networks}


def train_networks(
    blueprints: dict[Network, Blueprint[torch.nn.Module]],
    windows: Windows,
    folds: Sequence[Fold],
    contract: Contract,
    *,
    seeds: int,
    engine: Engine | None = None,
    done: Callable[[], None] = lambda: None,
) -> list[Trained]:
    """Train networks in every fold and let them answer its tested trials.

    What was fitted stays on the disk: another evaluation under the same folds does not train it again.

    Args:
        blueprints: See :func:`check_networks`.
        windows: Unscaled windows in microvolts with their trials.
        folds: How trials are held out.
        contract: Of the model that they stand beside.
        seeds: Number of seeds, 0 to ``seeds - 1``.
        engine: Where the fits run; by default on all cores of this machine.
        done: Called after each fit.

    Raises:
        WorkerError: A worker was killed; the fits that were done are kept.
    """
    with as_file(windows.data) as data:
        of_windows = data, windows.labels, windows.trial_of, _of_windows(contract)
        shared = {
            (n, name): Shared(*of_windows, blueprint, recipe, None)
            for n, blueprint in blueprints.items()
            for name, recipe in n.recipes.items()
        }
        keys = [(*one, k, s) for one in shared for k in range(len(folds)) for s in range(seeds)]
        jobs = [(shared[n, name], FoldJob(folds[k], s)) for n, name, k, s in keys]
        kept = kept_fits(windows, jobs)
        jobs = [(own, dataclasses.replace(job, state=kept.state(i))) for i, (own, job) in enumerate(jobs)]
        fits = run_jobs(_fit, None, jobs, done=lambda _: done(), engine=engine, results=kept)
    fitted = dict(zip(keys, fits, strict=True))
    found = []
    for n in blueprints:
        predicted = np.full((seeds, len(windows.trials)), -1, dtype=np.int64)
        chosen = []
        for s in range(seeds):
            for k, fold in enumerate(folds):
                of_recipe = {name: fitted[n, name, k, s] for name in n.recipes}
                best = min(of_recipe.items(), key=lambda pair: _rank(pair[1]))
                chosen.append(best[0])
                predicted[s, fold.test] = best[1].test_logits.argmax(axis=1)
        found.append(Trained(n, predicted, chosen))
    return found


def _fit(shared: None, job: tuple[Shared, FoldJob]) -> FoldFit:
    """Fit as ``train`` does. Each job brings what it shares with others of its network and recipe."""
    return fit_fold(*job)


def _rank(fit: FoldFit) -> tuple[float, float]:
    """Return what is least for the best: by balanced accuracy on the validation group, then by its loss."""
    assert fit.fitted.validation_score is not None
    return -fit.fitted.validation_score, fit.fitted.history[fit.fitted.best_epoch - 1]["validation_loss"]


def _of_windows(contract: Contract) -> Contract:
    """Return what of a contract says which windows there are: the rest is of the model that it belongs to."""
    return dataclasses.replace(
        contract, family=FOREIGN_FAMILY, model={}, training={}, scaling=Scaling("none"), temperature=1.0
    )
