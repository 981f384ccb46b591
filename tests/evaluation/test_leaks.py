"""Planted identities with random labels: at chance where a protocol excludes them, else far above.

The windows come by the product's own path and the splits are those of `train`; the classifier remembers every
window it saw.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from mimamba_edge.data.labels import Trial  # noqa: E402
from mimamba_edge.data.windows import Windows  # noqa: E402
from mimamba_edge.export.evaluation.baselines import out_of_fold  # noqa: E402
from mimamba_edge.export.families.msimamba.config import ModelConfig  # noqa: E402
from mimamba_edge.export.network import FamilyBlueprint  # noqa: E402
from mimamba_edge.export.training.fit import Hyperparameters, fit, predict  # noqa: E402
from mimamba_edge.export.training.protocol import LEAKY, PROTOCOLS, excluded, split  # noqa: E402
from mimamba_edge.export.training.scores import balanced_accuracy  # noqa: E402
from mimamba_edge.signal.scaling import apply_scaling, fit_scaling  # noqa: E402
from tests.evaluation.planted import Planted, nearest_neighbour, relabelled, windows_of  # noqa: E402

ALL = [LEAKY, *PROTOCOLS, *(f"{name}+cross-stimulus" for name in PROTOCOLS)]
SUBJECTS, SESSIONS, RUNS, PER_RUN, DRAWS = 3, 2, 3, 16, 6
CLIPS = RUNS * PER_RUN
STRETCH = 8
"""Neighbouring trials of one label, where the order in a session is planted."""


def table() -> list[Trial]:
    """Everybody sees all clips once a session, each time in another order."""
    rng = np.random.default_rng(0)
    out = []
    for subject in range(SUBJECTS):
        for session in range(SESSIONS):
            for i, clip in enumerate(rng.permutation(CLIPS)):
                who = f"s{subject}", f"d{session}", f"r{i // PER_RUN}"
                out.append(Trial("-".join(who), 0.0, 1.0, "ab"[i % 2], *who, f"clip{clip:02d}"))
    return out


@cache
def planted(what: str) -> Windows:
    trials = table()
    rng = np.random.default_rng(1)
    n, width = len(trials), 16
    if what == "trial":
        patterns = rng.standard_normal((n, width))
    elif what == "stimulus":
        clips = rng.standard_normal((CLIPS, width))
        patterns = clips[[int(t.stimulus[4:]) for t in trials]] + 0.2 * rng.standard_normal((n, width))
    else:  # slow drift through each session
        steps = 0.3 * rng.standard_normal((SUBJECTS * SESSIONS, CLIPS, width))
        steps[:, 0] = rng.standard_normal((SUBJECTS * SESSIONS, width))
        patterns = np.cumsum(steps, axis=1).reshape(n, width)
    return windows_of(Planted(trials, patterns, trial_s=2.0))


def random_labels(what: str, windows: Windows, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return labels that say nothing but which one it is: of a trial, a clip, a stretch of neighbours."""
    n = len(windows.trials)
    if what == "stimulus":
        return rng.permutation(CLIPS)[[int(t.stimulus[4:]) for t in windows.trials]] % 2
    if what == "order":
        return np.repeat(rng.integers(0, 2, n // STRETCH), STRETCH)
    return rng.integers(0, 2, n)


def score(what: str, protocol: str) -> float:
    """Return the balanced accuracy out of fold, the mean over several draws of labels."""
    rng, found = np.random.default_rng(2), []
    for _ in range(DRAWS):
        windows = planted(what)
        windows = relabelled(windows, random_labels(what, windows, rng))
        windows, folds = split(windows, protocol)
        guess = out_of_fold(windows, folds, nearest_neighbour, 64.0).argmax(axis=1)
        labels = np.array([windows.class_names.index(t.label) for t in windows.trials])
        found.append(balanced_accuracy(labels, (guess == labels).astype(np.float64)))
    return float(np.mean(found))


@pytest.mark.parametrize("protocol", ALL)
@pytest.mark.parametrize("what", ["trial", "stimulus", "order"])
def test_leak_of_a_planted_identity(what: str, protocol: str) -> None:
    found = score(what, protocol)
    if what in excluded(protocol):
        assert abs(found - 0.5) < 0.08
    else:
        assert found > (0.65 if what == "order" else 0.85)


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("protocol", "leaks"), [(LEAKY, True), ("leave-one-run-out", False)])
def test_leak_of_the_trial_is_what_ms_imamba_learns(protocol: str, leaks: bool, one_thread: None) -> None:
    """A small network remembers trials where it may, and finds nothing where it may not."""
    rng = np.random.default_rng(5)
    trials = [
        Trial(f"r{run}", 0.0, 1.0, "ab"[i % 2], "s0", "d0", f"r{run}", "x")
        for run in range(3)
        for i in range(10)
    ]
    windows = windows_of(Planted(trials, rng.standard_normal((30, 16)), trial_s=6.0))
    windows = relabelled(windows, np.concatenate([rng.permutation(10) % 2 for _ in range(3)]))
    windows, folds = split(windows, protocol)
    small = {"n_chans": 4, "n_times": 64, "n_outputs": 2, "sfreq": 64.0, "d_model": 16}
    small |= {"n_layers": 1, "d_ff": 4, "n_kernels": 2, "dropout": 0.0}
    blueprint = FamilyBlueprint(ModelConfig.from_dict(small))
    recipe = Hyperparameters(epochs=14, batch_size=16, learning_rate=1e-2)
    labels, right = [], []
    for fold in folds[: 1 if leaks else 3]:
        train = np.isin(windows.trial_of, np.concatenate([fold.train, fold.validation]))
        test = np.isin(windows.trial_of, fold.test)
        scaling = fit_scaling(windows.data[train])
        known = apply_scaling(windows.data[train], scaling), windows.labels[train]
        model, _ = fit(blueprint, recipe, known, seed=0)
        guess = predict(model, apply_scaling(windows.data[test], scaling)).argmax(axis=1)
        labels.append(windows.labels[test])
        right.append((guess == labels[-1]).astype(np.float64))
    score = balanced_accuracy(np.concatenate(labels), np.concatenate(right))
    assert score > 0.8 if leaks else abs(score - 0.5) < 0.15
