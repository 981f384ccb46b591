"""A model packed for a device, and what doctor says of its files there."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mimamba_edge.artifact import Manifest, manifest_path
from mimamba_edge.load import builtin_model
from mimamba_edge.serving.device import SUMS, model_files

PARTS = ("m.onnx", "m.trt.onnx", "m.ref.npz")
Run = Callable[..., Any]


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """An export's files: the built-in model, and its portable file once more in the place of TensorRT's."""
    source = builtin_model()
    folder = tmp_path / "export"
    folder.mkdir()
    for name, held in zip(PARTS, (source, source, source.with_suffix(".ref.npz")), strict=True):
        shutil.copy(held, folder / name)
        manifest = json.loads(manifest_path(held).read_text(encoding="utf-8"))
        kind = name.removeprefix("m.")
        manifest_path(folder / name).write_text(json.dumps({**manifest, "file": name, "kind": kind}))
    return folder / "m.onnx"


def test_a_device_gets_every_file_and_can_check_them(exported: Path, tmp_path: Path, run: Run) -> None:
    done = run("pack", exported, "-o", tmp_path / "m.tar")
    assert done.code == 0, done.err
    assert all(name in done.out for name in PARTS)
    # What docs/jetson.md builds the engine from.
    assert "mimamba-edge doctor m/m.onnx\n" in done.out
    assert "mimamba-edge build m/m.trt.onnx\n" in done.out
    with tarfile.open(tmp_path / "m.tar") as archive:
        assert all(member.isfile() and member.mode == 0o644 for member in archive)
        archive.extractall(tmp_path / "device", filter="data")
    there = tmp_path / "device" / "m"
    names = {path.name for path in there.iterdir()}
    assert names == {*PARTS, *(f"{name}.json" for name in PARTS), SUMS}
    check = ["sha256sum", "--check", "--strict", SUMS]
    assert subprocess.run(check, cwd=there, capture_output=True, timeout=60).returncode == 0
    for name in PARTS:
        assert Manifest.load(there / name).file == name
    assert all(file.problem is None for file in model_files(there / "m.onnx"))


def test_the_same_files_give_the_same_bytes_and_replace_an_archive_only(
    exported: Path, tmp_path: Path, run: Run
) -> None:
    archives = []
    for _ in range(2):
        assert run("pack", exported, "-o", tmp_path / "m.tar.gz").code == 0
        archives.append((tmp_path / "m.tar.gz").read_bytes())
    assert archives[0] == archives[1]
    other = tmp_path / "mine.tar"
    with tarfile.open(other, "w") as archive:
        archive.add(exported, "mine")
    before = other.read_bytes()
    done = run("pack", exported, "-o", other)
    assert done.code == 2
    assert "did not write" in done.err
    assert other.read_bytes() == before


@pytest.mark.parametrize("missing", [*PARTS[1:], *(f"{name}.json" for name in PARTS)])
def test_what_is_missing_is_named_by_pack_and_by_doctor(
    exported: Path, tmp_path: Path, run: Run, missing: str
) -> None:
    exported.with_name(missing).unlink()
    done = run("pack", exported, "-o", tmp_path / "m.tar")
    assert done.code == 2
    assert missing in done.err
    assert not (tmp_path / "m.tar").exists()
    report = run("doctor", exported, "--json")
    rows = [row for row in json.loads(report.out)["checks"] if row["name"] == "model file"]
    wrong = [row for row in rows if row["state"] == "wrong"]
    assert report.code == 1
    assert len(rows) == 3
    assert len(wrong) == 1
    assert missing.removesuffix(".json") in wrong[0]["value"]


def test_files_of_two_exports_are_not_mixed(exported: Path, tmp_path: Path, run: Run) -> None:
    beside = manifest_path(exported.with_name("m.ref.npz"))
    beside.write_text(json.dumps({**json.loads(beside.read_text()), "source_sha256": "0" * 64}))
    done = run("pack", exported, "-o", tmp_path / "m.tar")
    assert done.code == 2
    assert "of another export" in done.err


@pytest.mark.parametrize(
    ("model", "output", "words"),
    [
        ("m.trt.onnx", "m.tar", "not the portable file"),
        ("m.pt", "m.tar", "not the portable file"),
        ("m.onnx", "m.zip", "not a name for an archive"),
        ("gone.onnx", "m.tar", "is not there"),
    ],
)
def test_names_that_cannot_be_packed(
    exported: Path, tmp_path: Path, run: Run, model: str, output: str, words: str
) -> None:
    done = run("pack", exported.with_name(model), "-o", tmp_path / output)
    assert done.code == 2
    assert words in done.err
    done = run("pack", exported, "-o", tmp_path / "m.tar", "--name", "x")
    assert done.code == 2
    assert "--host triton" in done.err


def test_a_model_for_the_cpu_alone_needs_no_form_for_tensorrt(exported: Path) -> None:
    names = [file.path.name for file in model_files(exported.with_name("m.int8-cpu.onnx"))]
    assert names == ["m.int8-cpu.onnx", "m.ref.npz"]
    names = [file.path.name for file in model_files(exported.with_name("m.fp16.onnx"))]
    assert names == ["m.fp16.onnx", "m.fp16.trt.onnx", "m.ref.npz"]
