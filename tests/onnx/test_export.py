"""From a checkpoint to its files: whole sets, verified, or nothing."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from mimamba_edge.artifact import Manifest, sha256_file
from mimamba_edge.errors import (
    CheckpointError,
    ConfigError,
    DependencyError,
    ExportError,
    GateError,
    OutputError,
)
from mimamba_edge.export.onnx import export as exporting
from mimamba_edge.export.onnx.export import export_checkpoint
from mimamba_edge.export.onnx.intermediate_outputs import runner_with_auxiliary
from mimamba_edge.export.runner import OracleRunner
from mimamba_edge.files import staging
from mimamba_edge.parity.verify import compare
from mimamba_edge.runtime.ort import OrtRunner
from mimamba_edge.runtime.reference import Reference
from tests.onnx.conftest import make_checkpoint

pytestmark = [pytest.mark.torch, pytest.mark.ort]
SET = {"small.onnx", "small.trt.onnx", "small.ref.npz"}


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_whole_set_with_manifests(exported, checkpoint):
    assert set(files(exported.parent)) == SET | {f"{name}.json" for name in SET}
    for name, kind in (("small.onnx", "onnx"), ("small.trt.onnx", "trt.onnx"), ("small.ref.npz", "ref.npz")):
        manifest = Manifest.load(exported.with_name(name))
        assert (manifest.kind, manifest.precision) == (kind, "fp32")
        assert manifest.source_sha256 == sha256_file(checkpoint)
        assert set(manifest.versions) == {"mimamba-edge", "torch", "onnx", "onnxscript", "onnxruntime"}
        checks = manifest.verification["checks"]
        assert len(checks) == 5
        assert all(check["passed"] for check in checks)


def test_the_form_with_linear_attention(checkpoint, exported, tmp_path):
    import onnx

    from mimamba_edge.export.quantize.fp16 import to_fp16
    from mimamba_edge.inspection import describe

    try:
        out = export_checkpoint(checkpoint, tmp_path / "small.onnx", form="linear-attention").files[0]
    except DependencyError as error:
        pytest.skip(f"{error.what}: {error.expected}")
    assert Manifest.load(out).form == describe(out)["manifest"]["form"] == "linear-attention"
    assert "form" not in Manifest.load(exported).to_dict()
    model, plain = onnx.load(out), onnx.load(exported)
    used = [{n.op_type for f in m.functions for n in f.node} for m in (model, plain)]
    assert ["LinearAttention" in ops for ops in used] == [True, False]
    assert model.graph == plain.graph
    trt = [path.with_name("small.trt.onnx").read_bytes() for path in (out, exported)]
    assert trt[0] == trt[1]
    half = to_fp16(model)
    assert any(n.op_type == "LinearAttention" for f in half.functions for n in f.node)
    reference = Reference.beside(out)
    with OrtRunner(out) as runner:
        assert np.abs(runner.logits(reference.windows) - reference.outputs["logits"]).max() < 1e-4


def test_a_runtime_without_linear_attention_says_so(checkpoint, exported, tmp_path, monkeypatch):
    from mimamba_edge.errors import ArtifactError
    from mimamba_edge.export.onnx import linear_attention
    from mimamba_edge.runtime import ort

    with pytest.raises(ConfigError, match="--form linear-attention with --inline"):
        export_checkpoint(checkpoint, tmp_path / "small.onnx", form="linear-attention", inline=True)
    monkeypatch.setattr(linear_attention, "SINCE", (1000, 0))
    with pytest.raises(DependencyError, match=r"1\.25\.1 or later"):
        export_checkpoint(checkpoint, tmp_path / "small.onnx", form="linear-attention")
    with pytest.raises(ConfigError, match="standard or linear-attention"):
        export_checkpoint(checkpoint, tmp_path / "small.onnx", form="other")

    class Old:
        def __init__(self, *_, **__):
            # The words of ONNX Runtime 1.23.2.
            raise RuntimeError(
                "Fatal error: com.microsoft:LinearAttention(-1) is not a registered function/op"
            )

    monkeypatch.setattr(ort.load_onnxruntime(), "InferenceSession", Old)
    with pytest.raises(ArtifactError, match=r"(?s)linear-attention.*1\.25\.1 or later"):
        OrtRunner(exported).activate()


@pytest.mark.parametrize("which", ["exported", "exported_both_ways"])
def test_file_agrees_with_the_oracle_and_its_own_reference(which, request):
    """The oracle computes the network in float64 from the trained parameters, by other code."""
    path = request.getfixturevalue(which)
    reference = Reference.beside(path)
    assert len(reference.windows) >= 64
    source = next(iter(path.parent.glob("*.pt")), None) or request.getfixturevalue("checkpoint")
    with OracleRunner(source) as oracle, runner_with_auxiliary(path, threads=1) as onnx_runner:
        parity = compare(oracle, onnx_runner, reference.windows)
        got = onnx_runner.infer({"windows": reference.windows})
    assert parity.passed, parity.checks
    np.testing.assert_array_equal(got["periods"], reference.outputs["periods"])
    np.testing.assert_allclose(got["logits"], reference.logits, atol=1e-5 * np.abs(reference.logits).max())


def test_one_window_and_many_give_the_same_answer(exported):
    windows = Reference.beside(exported).windows[:7]
    with OrtRunner(exported, threads=1) as runner:
        whole = runner.logits(windows)
        for part in (slice(0, 1), slice(1, 2), slice(2, 5), slice(0, 3)):
            np.testing.assert_allclose(runner.logits(windows[part]), whole[part], rtol=0, atol=1e-6)


def test_exporting_again_gives_the_same_graph(exported, checkpoint, tmp_path):
    again = export_checkpoint(checkpoint, tmp_path / "small.onnx").files[0]
    assert again.read_bytes() == exported.read_bytes()


def test_batch_wide_periods_are_refused(tmp_path):
    source = make_checkpoint(tmp_path / "m.pt", period_selection="batch", n_layers=1)
    with pytest.raises(ExportError, match=r"whole batch.*\n.*period_selection='batch'"):
        export_checkpoint(source, tmp_path / "m.onnx")
    assert set(files(tmp_path)) == {"m.pt"}


@pytest.mark.parametrize("name", ["m.pt", "m.trt.onnx", ".onnx", "m"])
def test_names_that_are_not_for_portable_files(checkpoint, tmp_path, name):
    with pytest.raises(ConfigError, match="not a name"):
        export_checkpoint(checkpoint, tmp_path / name)
    assert not files(tmp_path)


@pytest.fixture
def old_set(exported, tmp_path):
    """A folder with an earlier set of the same name: its bytes must stay when an export fails."""
    for name, content in files(exported.parent).items():
        (tmp_path / name).write_bytes(b"old " + content[:10])
    return tmp_path


def test_old_set_is_replaced(checkpoint, exported, old_set):
    export_checkpoint(checkpoint, old_set / "small.onnx")
    assert files(old_set)["small.onnx"] == files(exported.parent)["small.onnx"]
    assert set(files(old_set)) == set(files(exported.parent))
    assert Manifest.load(old_set / "small.ref.npz").kind == "ref.npz"


def test_file_that_disagrees_is_not_published(checkpoint, old_set, monkeypatch):
    """A weight that changes between the checkpoint's answers and the file."""
    before, plain = files(old_set), exporting.to_onnx

    def spoilt(model, contract, form):
        proto = plain(model, contract, form)
        kernel = next(i for i in proto.graph.initializer if i.name == "final_layer.bias")
        values = np.frombuffer(kernel.raw_data, np.float32).copy()
        values[0] += 0.01
        kernel.raw_data = values.tobytes()
        return proto

    monkeypatch.setattr(exporting, "to_onnx", spoilt)
    with pytest.raises(GateError, match=r"nothing was written\n(.*\n)*.*missed +SQNR") as info:
        export_checkpoint(checkpoint, old_set / "small.onnx")
    assert info.value.exit_code == 1
    assert files(old_set) == before


@pytest.mark.parametrize("stage", ["tracing", "running", "verifying"])
def test_ctrl_c_leaves_the_old_set(checkpoint, old_set, stage):
    before = files(old_set)

    def progress(text: str) -> None:
        if text.startswith(stage):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_checkpoint(checkpoint, old_set / "small.onnx", progress=progress)
    assert files(old_set) == before


def test_ctrl_c_during_the_moves_does_not_split_a_set(tmp_path, monkeypatch):
    import signal

    targets = [tmp_path / "a.onnx", tmp_path / "a.ref.npz"]
    plain = Path.replace

    def replace(self, target):
        signal.raise_signal(signal.SIGINT)
        return plain(self, target)

    with staging(targets) as folder:
        for target in targets:
            (folder / target.name).write_bytes(b"new")
            (folder / f"{target.name}.json").write_bytes(b"new")
        monkeypatch.setattr(Path, "replace", replace)
    assert set(files(tmp_path)) == {"a.onnx", "a.onnx.json", "a.ref.npz", "a.ref.npz.json"}
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_export_works_in_another_thread(tmp_path):
    """Where no signal handler can be set."""

    def publish() -> None:
        with staging([tmp_path / "a.onnx"]) as folder:
            (folder / "a.onnx").write_bytes(b"new")
            (folder / "a.onnx.json").write_bytes(b"new")

    thread = threading.Thread(target=publish)
    thread.start()
    thread.join()
    assert set(files(tmp_path)) == {"a.onnx", "a.onnx.json"}


def test_an_export_that_fails_leaves_no_empty_folder(tmp_path):
    def fail() -> None:
        with staging([tmp_path / "new" / "below" / "a.onnx"]) as folder:
            (folder / "a.onnx").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("written", [0, 2, 5])
def test_full_disk_leaves_the_old_set(checkpoint, old_set, monkeypatch, written):
    before, plain, calls = files(old_set), os.fsync, []

    def fsync(handle):
        calls.append(handle)
        if len(calls) > written:
            raise OSError(errno.ENOSPC, "No space left on device")
        plain(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OutputError, match="the disk is full") as info:
        export_checkpoint(checkpoint, old_set / "small.onnx")
    assert ".part" not in str(info.value)
    assert files(old_set) == before


def test_folder_that_cannot_be_written(checkpoint, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    for out in (blocked / "small.onnx", Path("/proc/nowhere/small.onnx")):
        with pytest.raises(OutputError, match="cannot write"):
            export_checkpoint(checkpoint, out)
    with pytest.raises(OutputError, match="cannot write"):
        export_checkpoint(checkpoint, tmp_path / ("n" * 240 + ".onnx"))  # too long with a suffix only
    (tmp_path / "small.ref.npz.json").mkdir()
    with pytest.raises(OutputError, match=r"small\.ref\.npz\.json"):
        export_checkpoint(checkpoint, tmp_path / "small.onnx")
    assert {path.name for path in tmp_path.iterdir()} == {"file", "small.ref.npz.json"}


def test_without_a_runtime_nothing_is_written(checkpoint, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(DependencyError, match="onnxruntime"):
        export_checkpoint(checkpoint, tmp_path / "small.onnx")
    assert not files(tmp_path)


def test_bad_checkpoint_makes_no_folder(tmp_path):
    source = tmp_path / "bad.pt"
    source.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(CheckpointError):
        export_checkpoint(source, tmp_path / "new" / "m.onnx")
    assert set(files(tmp_path)) == {"bad.pt"}


def test_command(checkpoint, tmp_path, monkeypatch, capsys):
    from mimamba_edge.cli import main

    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as leaving:
        main(["export", str(checkpoint), "-o", "out/small.onnx"])
    assert leaving.value.code == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    for text in (
        "out/small.onnx",
        "out/small.trt.onnx",
        "out/small.ref.npz",
        "SQNR",
        "same periods",
        "exported in",
    ):
        assert text in shown.out
    held = json.loads((tmp_path / "out/small.onnx.json").read_text())
    assert held["file"] == "small.onnx"


def test_command_names_the_files_after_the_checkpoint(tmp_path, capsys):
    from mimamba_edge.cli import main

    source = make_checkpoint(tmp_path / "mine.v2.pt", n_layers=1)
    with pytest.raises(SystemExit) as leaving:
        main(["export", str(source)])
    assert leaving.value.code == 0
    assert (tmp_path / "mine.v2.trt.onnx").is_file()
    with pytest.raises(SystemExit) as leaving:
        main(["export", str(tmp_path / "absent.pt")])
    assert leaving.value.code == 2
    assert "absent.pt" in capsys.readouterr().err


@pytest.mark.data
@pytest.mark.slow
def test_verified_on_real_windows(recordings, tmp_path):
    import dataclasses

    from mimamba_edge.export.checkpoint import load_checkpoint, save_checkpoint

    source = make_checkpoint(tmp_path / "m.pt", n_chans=4, n_times=128, sfreq=128.0)
    held = load_checkpoint(source)
    contract = dataclasses.replace(held.contract, ch_names=("TP9", "AF7", "AF8", "TP10"), filters=())
    save_checkpoint(source, held.build(), contract)
    result = export_checkpoint(source, tmp_path / "m.onnx", data=recordings / "run-01.csv")
    assert result.windows.kind == "recordings"
    assert result.parity.n_windows == 128
