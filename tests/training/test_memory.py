"""What a data set takes does not grow with its recordings: training and baselines go through the cache."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from mimamba_edge.data.labels import Trial  # noqa: E402
from mimamba_edge.data.windows import Windows  # noqa: E402
from mimamba_edge.export.evaluation.baselines import BASELINES, out_of_fold  # noqa: E402
from mimamba_edge.export.jobs.arrays import as_file  # noqa: E402
from mimamba_edge.export.training.fit import Hyperparameters, Scaled  # noqa: E402
from mimamba_edge.export.training.folds import FoldJob, Shared, fit_fold  # noqa: E402
from mimamba_edge.export.training.protocol import make_folds  # noqa: E402
from mimamba_edge.signal import mapped  # noqa: E402
from mimamba_edge.signal.scaling import ScaledWindows, apply_scaling, fit_scaling  # noqa: E402
from tests.modelfiles import tiny_contract  # noqa: E402

CONTRACT = tiny_contract(ch_names=("A", "B", "C", "D"), n_times=512, class_names=("a", "b"))
SHAPE = (4, 512)
PER_TRIAL = 10


class Line(torch.nn.Module):
    """The least that can be fitted."""

    def __init__(self) -> None:
        super().__init__()
        self.final_layer = torch.nn.Linear(4, 2)

    def forward(self, x):
        return self.final_layer(x.std(dim=-1))


def recordings(folder: Path, n_trials: int) -> Windows:
    """Write windows of 16 kB to a file and map it, as a cache does: of four people."""
    rng, path = np.random.default_rng(0), folder / f"{n_trials}.f8"
    with path.open("wb") as file:
        for _ in range(n_trials):
            file.write(rng.standard_normal((PER_TRIAL, *SHAPE)).tobytes())
    trials = tuple(
        Trial(f"{k}", 0.0, 1.0, "ab"[k % 2], f"s{k // 2 % 4}", "1", "1", "") for k in range(n_trials)
    )
    owner = np.repeat(np.arange(n_trials), PER_TRIAL)
    data = mapped.MappedWindows(path, "<f8", "r", shape=(len(owner), *SHAPE))
    return Windows(data, owner % 2, owner, ("a", "b"), trials)


def fit_one(windows: Windows) -> None:
    blueprint = SimpleNamespace(network=Line, config=SimpleNamespace(n_outputs=2))
    with as_file(windows.data) as file:
        held = (file, windows.labels, windows.trial_of, CONTRACT, blueprint, Hyperparameters(epochs=1), None)
        fit_fold(Shared(*held), FoldJob(make_folds(windows.trials, "cross-subject")[0], 0))  # type: ignore[arg-type]


def score_baselines(windows: Windows) -> None:
    folds = make_folds(windows.trials, "cross-subject")
    for baseline in BASELINES.values():
        out_of_fold(windows, folds, baseline, 128.0)


def peak_bytes(function: Callable[[Windows], None], windows: Windows) -> int:
    tracemalloc.start()
    try:
        function(windows)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("function", [fit_one, score_baselines])
def test_memory_does_not_grow_with_the_recordings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: Callable[[Windows], None]
) -> None:
    monkeypatch.setattr(mapped, "BLOCK_BYTES", 1 << 20)
    few, many = recordings(tmp_path, 24), recordings(tmp_path, 120)
    function(few)  # what is made once, and kept
    less, more = peak_bytes(function, few), peak_bytes(function, many)
    added = many.data.nbytes - few.data.nbytes
    assert added > 15e6
    # Features of the baselines: 70 numbers a window of 2048, some times.
    assert more - less < 0.15 * added


def test_windows_of_a_file_leave_the_process(tmp_path: Path) -> None:
    windows = recordings(tmp_path, 120)
    scaling = fit_scaling(windows.data)
    scaled = ScaledWindows(windows.data, None, scaling)

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[2]) * 4096  # pages of files

    def through(source: Scaled) -> None:
        for start in range(0, len(windows.data), 64):
            assert source[start : start + 64].shape[1:] == SHAPE

    before = resident()
    through(scaled)
    assert resident() - before < 5e6
    through(apply_scaling(windows.data, scaling))
    assert resident() - before > 15e6, "a test that cannot fail: the map is larger than this"
