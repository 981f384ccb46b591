"""A data set of NumPy arrays, as docs/datasets.md types it: trained on, scored, the same as from files."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytestmark = pytest.mark.torch

from mimamba_edge import ArrayDataset, train_model  # noqa: E402
from mimamba_edge.data.dataset import open_dataset  # noqa: E402
from mimamba_edge.data.labels import write_labels  # noqa: E402
from mimamba_edge.data.simulate import simulate_recording  # noqa: E402
from mimamba_edge.data.windows import trial_windows  # noqa: E402
from mimamba_edge.export.checkpoint import load_checkpoint  # noqa: E402
from mimamba_edge.export.jobs import run as jobs  # noqa: E402
from tests.cli.conftest import run  # noqa: E402, F401

NAMES = ("TP9", "AF7", "AF8", "TP10")
CLASSES = ("calm", "excited")


def trials(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return trials of 6 s ``(6, c, l)``, two of each of three people, their labels and whose they are."""
    X = []
    for person in range(3):
        recording, spans = simulate_recording(CLASSES, trial_s=6.0, seed=seed + person)
        X += [recording.samples[round(256 * start) :][:1536].T for start, _ in spans]
    return np.stack(X), np.array(CLASSES * 3), np.repeat(["a", "b", "c"], 2)


def test_arrays_train_as_files_do_and_are_scored_out_of_fold(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run,  # noqa: F811
) -> None:
    X, y, subjects = trials(seed=1)
    file, checkpoints = tmp_path / "trials.npz", (tmp_path / "python.pt", tmp_path / "typed.pt")
    np.savez(file, X=X, y=y, ch_names=NAMES, sfreq=256, subject=subjects)
    monkeypatch.setattr(jobs, "available_cores", lambda: 1)  # no processes that import torch again
    dataset = ArrayDataset(X, y, NAMES, 256, subject=subjects)
    how = {"protocol": "cross-subject", "sfreq": 64.0, "epochs": 1}
    trained = train_model(dataset, checkpoints[0], **how)
    typed = [part for name, value in how.items() for part in (f"--{name}", value)]
    done = run("train", f"npz:{file}", *typed, "-o", checkpoints[1], "--report", tmp_path / "t.json")
    assert done.code == 0, done.err
    assert json.loads((tmp_path / "t.json").read_text())["balanced_accuracy"] == trained["balanced_accuracy"]
    weights, others = (load_checkpoint(path).state_dict for path in checkpoints)
    assert all(torch.equal(weights[name], others[name]) for name in weights)

    from_arrays = trial_windows(dataset, load_checkpoint(checkpoints[0]).contract)
    from_files = trial_windows(
        open_dataset(_written(tmp_path / "set", dataset)), load_checkpoint(checkpoints[0]).contract
    )
    assert len(from_arrays.data) >= 6
    for part in ("data", "labels", "trial_of"):
        assert np.array_equal(getattr(from_arrays, part), getattr(from_files, part)), part

    done = run("evaluate", checkpoints[0], f"npz:{file}", "--report", tmp_path / "e.json")
    assert done.code == 0, done.err
    report = json.loads((tmp_path / "e.json").read_text())
    assert report["trained_on"] == "out-of-fold"
    assert report["methods"][0]["balanced_accuracy"]["mean"] == trained["balanced_accuracy"]["mean"]
    assert [(t["subject"], t["label"]) for t in report["trials"]] == list(zip(subjects, y, strict=True))


def _written(folder: Path, dataset: ArrayDataset) -> Path:
    """Write the same trials as recordings and a label table."""
    folder.mkdir()
    for trial in dataset.trials:
        recording = dataset.read(trial.file)
        table = np.column_stack([recording.timestamps, recording.samples])
        header = ",".join(["timestamps", *recording.ch_names])
        np.savetxt(folder / f"{trial.file}.csv", table, "%.17g", ",", header=header, comments="")
    write_labels(
        folder / "labels.csv",
        [dataclasses.replace(trial, file=f"{trial.file}.csv") for trial in dataset.trials],
    )
    return folder


def test_other_arrays_of_the_same_labels_are_another_data_set(tmp_path: Path) -> None:
    sets = [ArrayDataset(X, y, NAMES, 256, subject=who) for X, y, who in (trials(1), trials(1), trials(4))]
    marks = [dataset.labels_sha256() for dataset in sets]
    assert marks[0] == marks[1] != marks[2]
    X, y, who = trials(1)
    paths = [tmp_path / "1.npz", tmp_path / "2.npz"]
    for path, samples in zip(paths, (X, 2 * X), strict=True):
        np.savez(path, X=samples, y=y, ch_names=NAMES, sfreq=256, subject=who)
    some = [open_dataset(f"npz:{path}?subjects=a,b").labels_sha256() for path in paths]
    assert some[0] != some[1] != marks[0]
