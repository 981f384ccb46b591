"""One fit of a cross-validation, as a job that runs anywhere."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import mimamba_edge.export
import mimamba_edge.signal
from mimamba_edge.contract import Contract, Scaling
from mimamba_edge.data.windows import Windows
from mimamba_edge.export.jobs.arrays import ArrayFile
from mimamba_edge.export.jobs.results import Results, content_key
from mimamba_edge.export.network import Blueprint
from mimamba_edge.export.training.fit import FitResult, Hyperparameters, Start, fit, predict
from mimamba_edge.export.training.protocol import Fold
from mimamba_edge.export.training.selection import mean_of_trials, picked_on_test
from mimamba_edge.files import sha256_bytes, sha256_file
from mimamba_edge.signal.mapped import blocks
from mimamba_edge.signal.scaling import ScaledWindows, fit_scaling

__all__ = [
    "FoldFit",
    "FoldJob",
    "Shared",
    "data_mark",
    "digest",
    "fit_fold",
    "kept_fits",
    "own_scaling",
]


@dataclass(frozen=True)
class Shared:
    """What every fit of a run needs; windows travel as a path."""

    windows: ArrayFile
    labels: NDArray[np.int64]
    trial_of: NDArray[np.int64]
    contract: Contract
    blueprint: Blueprint[torch.nn.Module]
    recipe: Hyperparameters
    start: Start | None


@dataclass(frozen=True)
class FoldJob:
    """A fold and a seed.

    Attributes:
        fold: The split.
        seed: Of the fit.
        state: File that an unfinished fit may go on from; ``None`` where nothing is kept.
    """

    fold: Fold
    seed: int
    state: Path | None = None


@dataclass(frozen=True)
class FoldFit:
    """What a fit gives; it can be kept on the disk.

    Attributes:
        scaling: Of this fold's training part.
        fitted: Weights, best epoch, history.
        test_logits: Logits of the tested trials, mean over a trial's windows, ``(n_test, n_outputs)``.
        window_logits: Logits of their windows, in the order of the data set's windows.
        picked: Classes of the tested trials, had the epoch been chosen on them ``(n_test,)``.
    """

    scaling: Scaling
    fitted: FitResult
    test_logits: NDArray[np.float32]
    window_logits: NDArray[np.float32]
    picked: NDArray[np.int64]


def own_scaling(
    windows: NDArray[np.float64], rows: NDArray[np.int64], contract: Contract, start: Start | None
) -> Scaling:
    """Fit the scaling on the training part only, unless it is that of the weights started from."""
    if start is None:
        return fit_scaling(windows, "robust", rows)
    return fit_scaling(windows, contract.scaling.kind, rows) if start.own_scaling else contract.scaling


def fit_fold(shared: Shared, job: FoldJob) -> FoldFit:
    """Fit a fold with a seed, and score its tested trials."""
    windows = shared.windows.open()
    train, validation, test = (
        np.flatnonzero(np.isin(shared.trial_of, trials))
        for trials in (job.fold.train, job.fold.validation, job.fold.test)
    )
    scaling = own_scaling(windows, train, shared.contract, shared.start)

    def part(rows: NDArray[np.int64]) -> tuple[ScaledWindows, NDArray[np.int64]]:
        return ScaledWindows(windows, rows, scaling), shared.labels[rows]

    tested, labels = part(test)
    model, fitted = fit(
        shared.blueprint,
        shared.recipe,
        part(train),
        validation=part(validation),
        seed=job.seed,
        start=shared.start,
        watched=tested,
        state=job.state,
    )
    logits = predict(model, tested)
    owner = shared.trial_of[test]
    of_trial = np.array([labels[owner == t][0] for t in job.fold.test])
    assert fitted.watched is not None
    picked = picked_on_test(mean_of_trials(fitted.watched, owner, job.fold.test), of_trial)
    test_logits = mean_of_trials(logits, owner, job.fold.test)
    return FoldFit(scaling, dataclasses.replace(fitted, watched=None), test_logits, logits, picked)


def kept_fits(windows: Windows, fits: Sequence[tuple[Shared, FoldJob]]) -> Results[FoldFit]:
    """Return where the results of these fits are kept: by all that their bits depend on.

    One more place, the last, is for a fit of all trials that follows them.
    """
    of_all = data_mark(windows)
    runs: dict[int, str] = {}
    keys = []
    for shared, job in fits:
        run = runs.get(id(shared)) or runs.setdefault(id(shared), content_key(of_all, *_of_run(shared)))
        parts = (job.fold.train, job.fold.validation, job.fold.test)
        keys.append(content_key(run, job.seed, *map(digest, parts)))
    return Results(FoldFit, [*keys, content_key(keys)])


def _of_run(shared: Shared) -> list[Any]:
    start = shared.start
    return [
        shared.contract.to_dict(),
        dataclasses.asdict(shared.recipe),
        None if start is None else [start.frozen, start.own_scaling, _digest_all(start.state_dict)],
        _network_mark(shared.blueprint, shared.contract),
    ]


def data_mark(windows: Windows) -> str:
    """Return the hash of what every fit on some windows depends on: they, the code, the machine's kind."""
    return content_key(
        _code(),
        [torch.__version__, np.__version__, platform.machine(), torch.backends.cpu.get_cpu_capability()],
        _digest_windows(windows.data),
        digest(windows.labels),
        digest(windows.trial_of),
    )


@functools.cache
def _code() -> str:
    """Return the hash of the code that fits."""
    folders = (*mimamba_edge.export.__path__, *mimamba_edge.signal.__path__)
    files = (path for folder in folders for path in sorted(Path(folder).rglob("*.py")))
    return sha256_bytes("".join(map(sha256_file, files)).encode())


def digest(array: NDArray[Any]) -> str:
    """Return the hash of an array: type, shape and values."""
    sha256 = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    sha256.update(np.ascontiguousarray(array).tobytes())
    return sha256.hexdigest()


def _digest_windows(windows: NDArray[np.float64]) -> str:
    """Return the hash of windows, a few at a time: they may be larger than the memory."""
    digest = hashlib.sha256(str(windows.shape).encode())
    for block in blocks(windows):
        digest.update(block.tobytes())
    return digest.hexdigest()


def _digest_all(arrays: dict[str, NDArray[Any]]) -> list[str]:
    return [f"{name} {digest(value)}" for name, value in arrays.items()]


def _network_mark(blueprint: Blueprint[torch.nn.Module], contract: Contract) -> list[str]:
    """Return what tells a network from others: its first weights, and what one step would change.

    The code of a network may be a stranger's, in any number of files: what it does is what counts.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        network = blueprint.network().train()
        held = {name: value.detach().numpy() for name, value in network.state_dict().items()}
        weights = _digest_all(held)
        logits = network(torch.randn(4, contract.n_chans, contract.n_times))
        (logits * torch.arange(1.0, 1 + logits.numel()).reshape(logits.shape)).sum().backward()
    torch.set_num_threads(threads)
    steps = {name: p.grad.numpy() for name, p in network.named_parameters() if p.grad is not None}
    return [repr(network), *weights, *_digest_all(steps)]
