"""Every reader of outside data, as a function of bytes: what fuzzing feeds."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import io

from mimamba_edge.artifact import sha256_file
from tests.attack.seeds import NAMES, stdin_text, table
from tests.data import sets
from tests.evaluation.reports import as_json, make_report

__all__ = ["READERS", "Reader", "prepare"]


@dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes:
        name: What it reads.
        seeds: Good files, under the folder of seeds.
        put: Writes bytes where the reader looks: ``put(work, data) -> path``.
        read: Reads; :class:`mimamba_edge.errors.MimambaError` is the only exception it may raise.
    """

    name: str
    seeds: tuple[str, ...]
    put: Callable[[Path, bytes], Path]
    read: Callable[[Path], Any]


def prepare(seeds: Path) -> None:
    """Add the seeds that only fuzzing needs."""
    (seeds / "rec.xdf.gz").write_bytes(gzip.compress((seeds / "rec.xdf").read_bytes(), 1, mtime=0))
    (seeds / "stdin.txt").write_text(stdin_text(rows=40))
    arrays = {"labels": np.full((2, 4), 5.0), "data": np.ones((2, 3, 64), np.float32)}
    (seeds / "arrays.dat").write_bytes(sets.python2_pickle(arrays))
    people = {"Data": sets.cell([{"EEG": {"stimuli": sets.cell([np.ones((9, 14))], (1, 1))}}] * 2, (1, 2))}
    for packed in (False, True):
        io.savemat(seeds / f"tree{packed:d}.mat", {"DREAMER": people}, do_compression=packed)
    io.savemat(seeds / "seed.mat", {"ab_eeg1": np.ones((62, 300)), "ab_eeg2": np.ones((62, 300))})
    (seeds / "events.tsv").write_text(
        "onset\tduration\ttrial_type\tvalue\n1.5\t2\tcalm\t1\n5\tn/a\thappy\t2\n"
    )
    (seeds / "evaluation.json").write_text(json.dumps(as_json(make_report())))
    sets.write_brainvision(seeds / "rec.vhdr", table(2.0)[1], NAMES, 256.0)
    sets.write_eeglab(seeds / "rec.set", table(2.0)[1], NAMES, 256.0)


def _put(name: str, work: Path, data: bytes) -> Path:
    path = work / name
    path.write_bytes(data)
    return path


def _put_artefact(name: str, kind: str, work: Path, data: bytes) -> Path:
    """Write a model or reference with a manifest that names its bytes rightly."""
    path = _put(name, work, data)
    held = json.loads((work.parent / "seeds" / "model.onnx.json").read_text())
    held.update(file=name, kind=kind, sha256=sha256_file(path))
    path.with_name(name + ".json").write_text(json.dumps(held))
    return path


def _put_manifest(work: Path, data: bytes) -> Path:
    model = work / "model.onnx"
    if not model.exists():
        shutil.copyfile(work.parent / "seeds" / "model.onnx", model)
    (work / "model.onnx.json").write_bytes(data)
    return model


def _put_labels(work: Path, data: bytes) -> Path:
    if not (work / "run.csv").exists():
        shutil.copyfile(work.parent / "seeds" / "data" / "run.csv", work / "run.csv")
    _put("labels.csv", work, data)
    return work


def _put_seed(work: Path, data: bytes) -> Path:
    _put("1_20131027.mat", work, data)
    return work


def _put_events(work: Path, data: bytes) -> Path:
    folder = work / "sub-01" / "eeg"
    folder.mkdir(parents=True, exist_ok=True)
    (work / "dataset_description.json").write_text("{}")
    (folder / "sub-01_task-x_eeg.edf").touch()
    _put("sub-01_task-x_events.tsv", folder, data)
    return work


def _put_brainvision(work: Path, data: bytes) -> Path:
    for end in (".eeg", ".vmrk"):
        shutil.copyfile(work.parent / "seeds" / f"rec{end}", work / f"rec{end}")
    return _put("x.vhdr", work, data)


def _put_session(name: str, work: Path, data: bytes) -> Path:
    folder = work / "0123456789ab"
    if not folder.exists():
        shutil.copytree(work.parent / "seeds" / "sessions" / "0123456789ab", folder)
    (folder / name).write_bytes(data)
    return folder


def _checkpoint(path: Path) -> None:
    from mimamba_edge.export.checkpoint import load_checkpoint
    from mimamba_edge.inspection import describe

    load_checkpoint(path)
    describe(path)


def _onnx(path: Path) -> None:
    import numpy as np

    from mimamba_edge.inspection import describe
    from mimamba_edge.runtime.ort import OrtRunner

    describe(path)
    runner = OrtRunner(path, threads=1)
    c = runner.contract
    with runner:
        runner.logits(np.zeros((1, c.n_chans, c.n_times), np.float32))


def _manifest(path: Path) -> None:
    from mimamba_edge.artifact import Manifest
    from mimamba_edge.inspection import describe

    describe(path.with_name(path.name + ".json"))
    Manifest.load(path)


def _reference(path: Path) -> None:
    from mimamba_edge.runtime.reference import Reference

    Reference.load(path)


def _labels(folder: Path) -> None:
    from mimamba_edge.data.labels import read_labels

    read_labels(folder)


def _recording(path: Path) -> None:
    from mimamba_edge.data.recording import read_recording

    read_recording(path)


def _intervals(path: Path) -> None:
    from mimamba_edge.data.intervals import with_intervals

    recording = path.parent.parent / "seeds" / "label.csv"
    with_intervals(path, [recording])(recording)


def _npz(path: Path) -> None:
    from mimamba_edge.data.dataset import open_dataset

    open_dataset(f"npz:{path}").read("trial-2")


def _session(folder: Path) -> None:
    from mimamba_edge.data.recording import read_recording
    from mimamba_edge.sessions.describe import row
    from mimamba_edge.sessions.store import list_sessions

    for one in list_sessions(folder.parent):
        row(one)
        json.dumps(one.to_dict(), allow_nan=False)
    read_recording(folder)


def _profile(path: Path) -> None:
    from mimamba_edge.profile import Profile
    from tests.attack.seeds import CONTRACT

    profile = Profile.load(path)
    profile.apply(CONTRACT, profile.model["sha256"])


def _cues(path: Path) -> None:
    from mimamba_edge.sessions.trials import read_cues

    read_cues(path)


def _stdin(path: Path) -> None:
    from mimamba_edge.stream.sources.stdin import StdinSource

    handle = os.open(path, os.O_RDONLY)
    try:
        for _ in StdinSource(256.0, descriptor=handle).chunks():
            pass
    finally:
        os.close(handle)


def _arrays(path: Path) -> None:
    from mimamba_edge.data.numpy_pickle import read_arrays

    for array in read_arrays(path).values():
        array.sum()


def _mat_variable(path: Path) -> None:
    from mimamba_edge.data.mat5 import Leaf, mat_variables

    for variable in mat_variables(path):
        leaves: list[Leaf] = []
        variable.walk(leaves.append)
        for leaf in leaves:
            variable.values(leaf)


def _dataset(kind: str, folder: Path) -> None:
    from mimamba_edge.data.check import check_dataset
    from mimamba_edge.data.dataset import open_dataset

    check_dataset(open_dataset(f"{kind}:{folder}", damaged=True))


def _evaluation(path: Path) -> None:
    from mimamba_edge.export.evaluation.card import render_card
    from mimamba_edge.export.evaluation.page import render_page
    from mimamba_edge.export.evaluation.reading import read_report

    report = read_report(path)
    render_page(report)
    render_card(report)


_SESSION = "sessions/0123456789ab"
READERS = (
    Reader("checkpoint .pt", ("ckpt.pt",), partial(_put, "x.pt"), _checkpoint),
    Reader("checkpoint .safetensors", ("ckpt.safetensors",), partial(_put, "x.safetensors"), _checkpoint),
    Reader("ONNX", ("model.onnx",), partial(_put_artefact, "x.onnx", "onnx"), _onnx),
    Reader("manifest", ("model.onnx.json",), _put_manifest, _manifest),
    Reader("reference", ("model.ref.npz",), partial(_put_artefact, "x.ref.npz", "ref.npz"), _reference),
    Reader("labels", ("data/labels.csv",), _put_labels, _labels),
    Reader("CSV", ("short.csv",), partial(_put, "x.csv"), _recording),
    Reader("CSV with labels", ("label.csv",), partial(_put, "x.csv"), _recording),
    Reader("Mind Monitor", ("mind-monitor.csv",), partial(_put, "x.csv"), _recording),
    Reader("OpenBCI", ("openbci.txt",), partial(_put, "x.txt"), _recording),
    Reader("OpenBCI before 5", ("openbci-4.txt",), partial(_put, "x.txt"), _recording),
    Reader("intervals", ("intervals.csv",), partial(_put, "x.csv"), _intervals),
    Reader("arrays", ("trials.npz",), partial(_put, "x.npz"), _npz),
    Reader("EDF", ("rec.edf",), partial(_put, "x.edf"), _recording),
    Reader("BDF", ("rec.bdf",), partial(_put, "x.bdf"), _recording),
    Reader("FIF", ("rec.fif",), partial(_put, "x.fif"), _recording),
    Reader("XDF", ("rec.xdf",), partial(_put, "x.xdf"), _recording),
    Reader("XDF .gz", ("rec.xdf.gz",), partial(_put, "x.xdf.gz"), _recording),
    Reader("BrainVision", ("rec.vhdr",), _put_brainvision, _recording),
    Reader("EEGLAB", ("rec.set",), partial(_put, "x.set"), _recording),
    Reader("pickle of arrays", ("arrays.dat",), partial(_put, "s01.dat"), _arrays),
    Reader("MAT tree", ("tree0.mat",), partial(_put, "x.mat"), _mat_variable),
    Reader("MAT tree, packed", ("tree1.mat",), partial(_put, "x.mat"), _mat_variable),
    Reader("SEED", ("seed.mat",), _put_seed, partial(_dataset, "seed")),
    Reader("BIDS events", ("events.tsv",), _put_events, partial(_dataset, "bids")),
    Reader("session.json", (f"{_SESSION}/session.json",), partial(_put_session, "session.json"), _session),
    Reader("session signal", (f"{_SESSION}/signal.csv",), partial(_put_session, "signal.csv"), _session),
    Reader("session events", (f"{_SESSION}/events.jsonl",), partial(_put_session, "events.jsonl"), _session),
    Reader("session labels", (f"{_SESSION}/labels.csv",), partial(_put_session, "labels.csv"), _session),
    Reader("profile", ("profile.json",), partial(_put, "x.json"), _profile),
    Reader("evaluation", ("evaluation.json",), partial(_put, "x.json"), _evaluation),
    Reader("cue script", ("cues.csv",), partial(_put, "x.csv"), _cues),
    Reader("stdin", ("stdin.txt",), partial(_put, "x.txt"), _stdin),
)
