"""docs/extending.md is followed as it stands: its files are written, its lines added, and the part works."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from mimamba_edge.contract import Contract, Scaling
from mimamba_edge.data import dataset, recording
from mimamba_edge.data.labels import Trial, write_labels
from mimamba_edge.data.windows import recordings_of, sliding_windows, trial_windows
from mimamba_edge.errors import DataError
from mimamba_edge.signal.filters import default_filters
from mimamba_edge.stream.sources.spec import open_source

TEXT = (Path(__file__).resolve().parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")


def section(title: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return what a section shows: files by path, and lines by the table they belong to."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", TEXT, flags=re.DOTALL | re.MULTILINE)
    assert found is not None, title
    blocks = re.findall(r"^```(?:python)?\n# (.*?)\n(.*?)^```", found[1], flags=re.DOTALL | re.MULTILINE)
    files = {first: code for first, code in blocks if first.endswith(".py")}
    lines = {first.removeprefix("the line in "): code for first, code in blocks if first not in files}
    return files, lines


def put(files: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the files, and let Python find them in the package where they belong."""
    for name, code in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code, encoding="utf-8")
        package = importlib.import_module(".".join(Path(name).parent.parts))
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(path.parent)])
        module = ".".join(Path(name).with_suffix("").parts)
        monkeypatch.delitem(sys.modules, module, raising=False)


def contract_of(ch_names: tuple[str, ...], class_names: tuple[str, ...]) -> Contract:
    filters, scaling = default_filters(100.0, None), Scaling("none")
    return Contract(ch_names, 100.0, 100, 25, class_names, filters=filters, scaling=scaling)


def test_a_data_set_is_one_file_and_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, lines = section("A data set")
    assert list(files) == ["mimamba_edge/data/datasets/toy.py"]
    put(files, tmp_path, monkeypatch)
    for name, module in ast.literal_eval("{" + lines["DATASETS"] + "}").items():
        monkeypatch.setitem(dataset.DATASETS, name, module)
    toy = dataset.open_dataset(f"toy:{tmp_path}")
    assert (toy.spec, toy.licence) == (f"toy:{tmp_path}", "CC0-1.0")
    assert (toy.subjects, toy.sessions("s1"), toy.runs("s1", "1")) == (("s1", "s2"), ("1",), ("r1", "r2"))
    assert toy.labels_sha256() == dataset.open_dataset("toy:").labels_sha256()
    assert toy.recording_sha256("s1/r1") == toy.recording_sha256("s1/r1")
    contract = contract_of(("TP9", "AF7", "AF8", "TP10"), ("calm", "excited"))
    windows = trial_windows(toy, contract)
    assert windows.trials == toy.trials
    assert windows.data.shape == (len(toy.trials) * 4, 4, 100)


def test_a_file_format_is_one_file_and_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, lines = section("A file format")
    assert list(files) == ["mimamba_edge/data/formats/toy.py"]
    put(files, tmp_path / "code", monkeypatch)
    line = eval(lines["FORMATS"], {"Format": recording.Format})
    monkeypatch.setattr(recording, "FORMATS", (*recording.FORMATS, *line))
    samples = np.random.default_rng(0).normal(0, 10, (2000, 2)).astype("<f4")
    path = tmp_path / "eeg" / "a.b.TOY"
    path.parent.mkdir()
    path.write_bytes(samples.tobytes())
    found = recording.read_recording(path)
    assert (found.ch_names, found.sfreq) == (("C3", "C4"), 100.0)
    np.testing.assert_array_equal(found.samples, samples)
    assert recording.stem(path) == recording.stem(path.with_name("a.b.toy.gz")) == "a.b"
    source = open_source(str(path), speed="max")
    assert sum(len(chunk.samples) for chunk in source.chunks()) == 2000
    contract = contract_of(("C4",), ("a", "b"))
    assert recordings_of(path.parent) == [path]
    assert len(sliding_windows(path.parent, contract)) > 10
    write_labels(path.parent / "labels.csv", [Trial(path.name, 5, 9, "a", "s1", "1", "r1", "x")])
    assert recordings_of(path.parent) == [path]
    path.write_bytes(samples.tobytes()[:-4])
    with pytest.raises(DataError, match="is cut off"):
        recording.read_recording(path)
