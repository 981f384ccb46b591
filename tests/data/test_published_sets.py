"""DEAP, DREAMER and SEED: files of their layouts read back by value; damaged and hostile ones are refused.

No file of theirs may be passed on: tests/data/sets.py writes some of the same form.
"""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import io

from mimamba_edge.data.dataset import Dataset, open_dataset
from mimamba_edge.data.labels import class_names
from mimamba_edge.data.numpy_pickle import read_arrays
from mimamba_edge.errors import ConfigError, DataError
from tests.data import sets
from tests.data.planted import accuracy_in_others


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    sets.write_deap(folder / "deap" / "data_preprocessed_python")
    sets.write_dreamer(folder / "DREAMER.mat")
    sets.write_dreamer(folder / "plain.mat", subjects=1, packed=False)
    sets.write_seed(folder / "seed" / "Preprocessed_EEG", seconds=8)
    return folder


def faults(dataset: Dataset, kind: str) -> list[str]:
    return [str(fault) for fault in dataset.faults if fault.kind == kind]


def test_deap_is_read_by_value(folder: Path) -> None:
    deap = open_dataset(f"deap:{folder / 'deap'}")
    assert len(deap.trials) == 8
    assert deap.subjects == ("s01", "s02")
    for subject in (1, 2):
        data = sets.deap_arrays(subject)["data"]
        for trial in range(4):
            recording = deap.read(f"s{subject:02}/{trial + 1:02}")
            np.testing.assert_array_equal(recording.samples, data[trial, :32].T)
            assert (recording.sfreq, recording.ch_names[:2], len(recording.ch_names)) == (
                128,
                ("FP1", "AF3"),
                32,
            )
    first = deap.trials[1]
    # The 384 samples of the baseline are in no window.
    assert (first.start_s, first.stop_s, first.stimulus, first.label) == (3, 63, "video-02", "high valence")
    assert deap.channels == ("FP1", "FP2", "AF3", "AF4")
    assert deap.processing.reference == "common average of the 32 channels"
    assert len(set(map(deap.recording_sha256, deap.files))) == 8


@pytest.mark.parametrize("name", ["DREAMER.mat", "plain.mat"])
def test_dreamer_is_read_by_value_in_any_order(folder: Path, name: str) -> None:
    dreamer = open_dataset(f"dreamer:{folder / name}")
    for file in sorted(dreamer.files, key=lambda file: file[::-1]):
        subject, clip = map(int, file.split("/"))
        np.testing.assert_array_equal(dreamer.read(file).samples, sets.dreamer_arrays(subject, clip))
    trial = dreamer.trials[1]
    assert (trial.stop_s, trial.start_s, trial.stimulus, trial.label) == (67, 7, "clip-02", "low valence")
    assert dreamer.channels == ("AF3", "AF4", "F7", "F8")


def test_seed_is_read_by_value_and_its_sessions_follow_the_dates(folder: Path) -> None:
    seed = open_dataset(f"seed:{folder / 'seed'}")
    assert len(seed.trials) == 2 * 3 * 15
    assert seed.sessions("2") == ("1", "2", "3")
    assert [f.split("/")[0] for f in seed.files[::15]][:3] == ["1_20131027", "1_20140404", "1_20140513"]
    # Clip 10 stands after clip 9, not after clip 1.
    assert [t.stimulus for t in seed.trials[:15]] == [f"clip-{k:02}" for k in range(1, 16)]
    written = {"20140404": 0, "20131027": 1, "20140513": 2}
    for file in seed.files[7::20]:
        stem, clip = file.split("/")
        subject, day = stem.split("_")
        expected = sets.seed_clip(int(subject), written[day], int(clip), 8).T
        np.testing.assert_array_equal(seed.read(file).samples, expected)
    assert class_names(seed.trials) == ("negative", "neutral", "positive")


OPTIONS = {
    "label=arousal": ("low arousal", "high arousal"),
    "label=valence&threshold=2": ("high valence", "high valence"),
    "threshold=2&tie=high": ("high valence", "high valence"),
    "threshold=4": ("low valence", "low valence"),
}


@pytest.mark.parametrize("query", OPTIONS)
def test_options_say_what_a_class_is(folder: Path, query: str) -> None:
    dreamer = open_dataset(f"dreamer:{folder / 'DREAMER.mat'}?{query}")
    scores = {"valence": (4, 2, 4, 2), "arousal": (1, 2, 3, 4)}[OPTIONS[query][0].split()[1]]
    threshold = float(query.partition("threshold=")[2].partition("&")[0] or 3)
    tie = "tie=high" in query
    name = OPTIONS[query][0].split()[1]
    expected = [f"{'high' if s > threshold or (tie and s == threshold) else 'low'} {name}" for s in scores]
    assert [t.label for t in dreamer.trials[:4]] == expected
    assert dreamer.labelling.startswith(f"high {name}: rating {'>=' if tie else '>'} {threshold:g}")


def test_the_length_of_a_dreamer_trial_is_an_option(folder: Path) -> None:
    dreamer = open_dataset(f"dreamer:{folder / 'DREAMER.mat'}?last=30")
    assert (dreamer.trials[0].start_s, dreamer.trials[0].stop_s) == (36, 66)


@pytest.mark.parametrize(
    ("query", "match"),
    [
        ("label=joy", "does not know this"),
        ("threshold=11", "not such a number"),
        ("lable=valence", "did you mean label"),
        ("label", "cannot be read"),
    ],
)
def test_options_that_cannot_be_understood_are_refused(folder: Path, query: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        open_dataset(f"deap:{folder / 'deap'}?{query}")


def test_who_is_missing_is_named(folder: Path) -> None:
    assert faults(open_dataset(f"deap:{folder / 'deap'}"), "missing")[0] == "s03.dat: not there"
    assert len(faults(open_dataset(f"dreamer:{folder / 'DREAMER.mat'}"), "missing")) == 21
    assert len(faults(open_dataset(f"seed:{folder / 'seed'}"), "missing")) == 13


Spoil = Callable[[Path], object]


def _pickled(**arrays: Any) -> Spoil:
    return lambda path: path.write_bytes(pickle.dumps(arrays, protocol=2))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


DATA = np.zeros((4, 40, 8064), np.float32)
RATINGS = np.full((4, 4), 5.0)
SPOILT: dict[str, tuple[Spoil, str]] = {
    "truncated": (_cut, "damaged or cut off"),
    "empty": (lambda path: path.write_bytes(b""), "an empty file"),
    "text": (lambda path: path.write_text("no pickle"), "damaged or cut off"),
    "no pickle": (lambda path: path.write_bytes(b"\xc9" * 9), "the byte 201 where a command of a pickle"),
    "other shape": (_pickled(data=DATA[:, :, :100], labels=RATINGS), "another shape"),
    "whole numbers": (_pickled(data=DATA.astype(int), labels=RATINGS), "another shape"),
    "no labels": (_pickled(data=DATA), "data and labels|is not a file of DEAP"),
    "ratings of 0": (_pickled(data=DATA, labels=0 * RATINGS), "outside of 1 to 9"),
    "ratings of nan": (_pickled(data=DATA, labels=np.nan * RATINGS), "outside of 1 to 9"),
    "objects": (_pickled(data=DATA.astype(object)[:1, :1, :1], labels=RATINGS), "something else than NumPy"),
    "a list": (lambda path: path.write_bytes(pickle.dumps([1, 2])), "something else than NumPy"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_damaged_deap_file_is_named_and_keeps_the_set_from_training(tmp_path: Path, name: str) -> None:
    sets.write_deap(tmp_path, subjects=1, trials=1)
    SPOILT[name][0](shutil.copy(tmp_path / "s01.dat", tmp_path / "s02.dat"))
    deap = open_dataset(f"deap:{tmp_path}", damaged=True)
    [found] = faults(deap, "damaged")
    assert found.startswith("s02.dat: ")
    with pytest.raises(DataError, match=SPOILT[name][1]):
        open_dataset(f"deap:{tmp_path}")
    assert deap.subjects == ("s01",)


class _Calls:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def _touch(path: Path) -> dict[str, Any]:
    return {"data": _Calls(Path.touch, path), "labels": RATINGS}


HOSTILE: dict[str, Callable[[Path], bytes]] = {
    "a call in place of an array": lambda path: pickle.dumps(_touch(path)),
    "a call in the old protocol": lambda path: pickle.dumps(_touch(path), protocol=0),
    "a command": lambda path: b"cos\nsystem\n(S'touch " + str(path).encode() + b"'\ntR.",
    "a name within numpy": lambda path: b"cnumpy.testing._private.utils\nrunstring\n(S'1'\n}tR.",
    "a function of builtins": lambda path: b"c__builtin__\neval\n(S'1'\ntR.",
    "an attribute of a function": lambda path: b"c_codecs\nencode\n}S'__code__'\nS'x'\nsb.",
    "a codec that runs on": lambda path: pickle.dumps({"data": b"x"}, protocol=2).replace(
        b"latin1", b"base64"
    ),
    "a memo of gigabytes": lambda path: b"\x80\x02}r\xff\xff\xff\x7f.",
    "a length of gigabytes": lambda path: b"\x80\x02T\xff\xff\xff\x7fabc.",
    "a type with another size": lambda path: sets.python2_pickle({"a": np.zeros(4)}).replace(b"f8", b"O8"),
    "another shape than bytes": lambda path: sets.python2_pickle({"a": np.zeros(4)}).replace(
        b"K\x04t", b"K\x7ft"
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_pickle_that_does_anything_is_refused(tmp_path: Path, name: str) -> None:
    mark = tmp_path / "touched"
    path = tmp_path / "s01.dat"
    path.write_bytes(HOSTILE[name](mark))
    with pytest.raises(DataError, match=r"something else than NumPy arrays|damaged or cut off|not a file of"):
        open_dataset(f"deap:{tmp_path}")
    assert not mark.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_that_python_3_saved_are_read_too(tmp_path: Path, protocol: int) -> None:
    arrays = {"f": np.arange(6.0).reshape(2, 3), "i": np.arange(3, dtype="<i2"), "b": np.array([True, False])}
    arrays["t"] = np.asfortranarray(arrays["f"])
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(arrays, protocol=protocol))
    found = read_arrays(path)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


@pytest.mark.parametrize("cut", [100, 128, 132, 200, 5000, -500])
def test_a_damaged_dreamer_is_refused(folder: Path, tmp_path: Path, cut: int) -> None:
    path = tmp_path / "DREAMER.mat"
    path.write_bytes((folder / "DREAMER.mat").read_bytes()[:cut])
    with pytest.raises(DataError, match=r"cannot read|cut off|holds no variable"):
        open_dataset(f"dreamer:{path}")


def test_a_mat_file_of_something_else_is_refused(tmp_path: Path) -> None:
    io.savemat(tmp_path / "DREAMER.mat", {"x": np.zeros(3)})
    with pytest.raises(DataError, match="is not DREAMER"):
        open_dataset(f"dreamer:{tmp_path}")


def test_damaged_files_of_seed_are_named(tmp_path: Path) -> None:
    sets.write_seed(tmp_path, subjects=1, sessions=3, clips=2)
    _cut(tmp_path / "1_20131027.mat")
    io.savemat(
        tmp_path / "1_20140404.mat", {"abc_eeg1": np.zeros((32, 900)), "abc_eeg2": np.zeros((62, 900))}
    )
    seed = open_dataset(f"seed:{tmp_path}", damaged=True)
    found = faults(seed, "damaged")
    assert any("1_20140404.mat" in one and "another shape" in one for one in found)
    assert any("clips that are not there: 3, 4" in one for one in faults(seed, "missing"))
    # What is cut off is found when the set is opened, and bytes that were lost within when they are read.
    assert any("1_20131027.mat" in one and "within a variable" in one for one in found)
    whole = (tmp_path / "1_20140513.mat").read_bytes()
    (tmp_path / "1_20140513.mat").write_bytes(whole[:100_000] + bytes(100) + whole[100_100:])
    assert np.isfinite(seed.read("1_20140513/01").samples).all()
    path = tmp_path / "packed.mat"
    io.savemat(path, {"a_eeg1": sets.noise((62, 900), 1)}, do_compression=True)
    path.write_bytes(path.read_bytes()[:100_000] + bytes(100) + path.read_bytes()[100_100:])
    path.rename(tmp_path / "1_20140513.mat")
    with pytest.raises(DataError, match="damaged or cut off"):
        open_dataset(f"seed:{tmp_path}", damaged=True).read("1_20140513/01")


@pytest.mark.parametrize("name", ["deap", "dreamer", "seed"])
def test_a_folder_of_something_else_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"is not|cannot read"):
        open_dataset(f"{name}:{tmp_path}")


@pytest.mark.torch
@pytest.mark.parametrize("spec", ["deap:{}/deap", "dreamer:{}/DREAMER.mat", "seed:{}/seed"])
def test_a_planted_class_is_found_in_people_who_were_not_trained_on(folder: Path, spec: str) -> None:
    pytest.importorskip("torch")
    assert accuracy_in_others(open_dataset(spec.format(folder))) > 0.9


@pytest.mark.torch
def test_training_takes_a_set_s_own_channels_and_tells_what_was_done_to_its_signal(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from mimamba_edge.export.training.pipeline import prepare

    sets.write_deap(tmp_path / "deap", subjects=3, trials=2)
    deap = open_dataset(f"deap:{tmp_path / 'deap'}?cache={tmp_path / 'cache'}")
    plan = prepare(deap, "cross-subject", window_s=1.0, sfreq=128.0, channels=None)
    assert plan.contract.ch_names == ("FP1", "FP2", "AF3", "AF4")
    assert plan.contract.reference == "common average of the 32 channels"
    # Its filter has taken the mains away: no notch is fitted to what is left there.
    assert plan.contract.mains_hz is None
    assert plan.windows.class_names == ("high valence", "low valence")
    assert len(plan.recordings) == 6
    assert len(list((tmp_path / "cache").glob("*/windows.f8"))) == 1
    chosen = prepare(deap, "cross-subject", window_s=1.0, sfreq=128.0, channels=("O1", "O2"))
    assert chosen.contract.ch_names == ("O1", "O2")
    with pytest.raises(DataError, match="no channel AF7"):
        prepare(deap, "cross-subject", window_s=1.0, sfreq=128.0, channels=("AF7",))
