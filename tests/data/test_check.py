"""What `data check` finds: copies by content, and what is odd about a signal."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from mimamba_edge.data.check import check_dataset
from mimamba_edge.data.dataset import Dataset, open_dataset
from mimamba_edge.data.fingerprint import fingerprint, same_signals
from mimamba_edge.data.labels import Trial, write_labels
from tests.data import sets


def told(dataset: Dataset, kind: str) -> list[str]:
    return [str(fault) for fault in check_dataset(dataset).faults if fault.kind == kind]


def spoilt(samples: np.ndarray, cells: int, seed: int = 0) -> np.ndarray:
    """Return a copy with some cells changed."""
    rng = np.random.default_rng(seed)
    changed = samples.copy()
    changed[rng.integers(0, len(samples), cells), rng.integers(0, samples.shape[1], cells)] += 1.0
    return changed


@pytest.mark.parametrize("cells", [0, 1, 50])
@pytest.mark.parametrize("channels", [1, 4, 32])
def test_a_copy_is_known_though_cells_were_changed(cells: int, channels: int) -> None:
    samples = sets.noise((8000, channels), seed=1)
    copy = spoilt(samples, cells)[:, ::-1].astype(np.float32).astype(np.float64)
    sketches = {"a": fingerprint(samples), "b": fingerprint(copy), "c": fingerprint(samples + 1e-3)}
    assert list(same_signals(sketches)) == [("a", "b")]


def test_what_is_flat_or_missing_makes_no_two_recordings_alike() -> None:
    one, two = sets.noise((4000, 4), 1), sets.noise((4000, 4), 2)
    for samples in (one, two):
        samples[:2000] = 0.0
        samples[2000:3000] = np.nan
    assert not same_signals({"a": fingerprint(one), "b": fingerprint(two)})
    assert not len(fingerprint(np.zeros((4000, 2))))
    assert not len(fingerprint(np.zeros((10, 2))))


def test_a_person_under_two_names_is_found_in_deap(tmp_path: Path) -> None:
    sets.write_deap(tmp_path, subjects=2, trials=3)
    arrays = sets.deap_arrays(1, 3)
    arrays["data"][:, 4, ::400] += 1
    arrays["labels"] = arrays["labels"][::-1].copy()
    (tmp_path / "s20.dat").write_bytes(sets.python2_pickle(arrays))
    [found] = told(open_dataset(f"deap:{tmp_path}"), "doubled")
    assert found.startswith("s20: 3 recordings hold signals of s01: ")
    assert "under two people's names" in found
    shutil.copy(tmp_path / "s20.dat", tmp_path / "s21.dat")
    both, _ = told(open_dataset(f"deap:{tmp_path}"), "doubled")
    assert both.startswith("s20, s21: ")


def _folder(path: Path, **samples: np.ndarray) -> Dataset:
    trials = []
    for name, values in samples.items():
        rows = "".join(f"{k / 128},{','.join(map(str, row))}\n" for k, row in enumerate(values.tolist()))
        header = ",".join(["timestamps", *"ABCD"[: values.shape[1]]])
        (path / f"{name}.csv").write_text(f"{header}\n{rows}")
        trials += [Trial(f"{name}.csv", 0.0, 4.0, label, name, "1", "1", "x") for label in ("up",)]
        trials += [Trial(f"{name}.csv", 4.0, 8.0, "down", name, "1", "1", "y")]
    write_labels(path / "labels.csv", trials)
    return open_dataset(path)


def test_a_sound_folder_has_nothing_wrong_and_a_strange_one_is_told_of(tmp_path: Path) -> None:
    good = {"p1": sets.noise((1200, 2), 1), "p2": sets.noise((1200, 2), 2)}
    result = check_dataset(_folder(tmp_path, **good))
    assert result.faults == ()
    assert (result.rates, round(result.seconds, 2)) == ({128.0: 2}, 18.75)
    flat, holes, volts, short = (sets.noise((1200, 2), k) for k in range(3, 7))
    flat[:, 1] = 7.0
    holes[100:300, 0] = np.nan
    more = sets.noise((1200, 3), 7)
    strange = {"flat": flat, "holes": holes, "volts": volts * 1e-6, "short": short[:300], "more": more}
    found = told(_folder(tmp_path, **good, **strange), "odd")
    assert [one.partition(": ")[0] for one in found if "flat: B" in one] == ["flat.csv"]
    assert any(one.startswith("holes.csv: up to 17% of the samples are missing, in A") for one in found)
    assert any(one.startswith("volts.csv") and "microvolts?; like volts: multiply" in one for one in found)
    assert any(one.startswith("short.csv: 2 trials end after the recording") for one in found)
    assert any(
        one.startswith("more.csv: other channels than most: has C besides; all have A, B") for one in found
    )
    assert len(found) == 5


def test_one_class_and_a_class_of_one_person_are_odd(tmp_path: Path) -> None:
    _folder(tmp_path, p1=sets.noise((1200, 2), 1), p2=sets.noise((1200, 2), 2))
    trials = [
        Trial("p1.csv", 0, 4, "up", "p1", "1", "1", "x"),
        Trial("p2.csv", 0, 4, "down", "p2", "1", "1", "x"),
    ]
    write_labels(tmp_path / "labels.csv", trials)
    assert len(told(open_dataset(tmp_path), "odd")) == 2
    write_labels(tmp_path / "labels.csv", trials[:1])
    assert told(open_dataset(tmp_path), "odd") == ["labels: only one class: up"]
