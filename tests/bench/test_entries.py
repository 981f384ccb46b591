"""What `bench` sets beside a portable file: its checkpoint in PyTorch and other runtimes, or why not."""

from __future__ import annotations

import dataclasses
import importlib.machinery
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimamba_edge.artifact import Manifest, sha256_file, write_manifest
from mimamba_edge.bench.entries import ATTENTION, EAGER, Variant, entries_of
from mimamba_edge.contract import LOGITS, WINDOWS
from mimamba_edge.errors import ArtifactError, CheckpointError, RunnerError
from mimamba_edge.load import builtin_model
from mimamba_edge.parity.windows import WindowSet
from mimamba_edge.runtime.openvino import OpenVinoRunner
from mimamba_edge.runtime.reference import Reference

CONTRACT = Manifest.load(builtin_model()).contract
WINDOW_SET = WindowSet(Reference.beside(builtin_model()).windows, "the reference", "reference", None)


class _Request:
    def __init__(self, session: Any) -> None:
        self.session = session

    def infer(self, feeds: dict[str, Any], *, share_inputs: bool) -> dict[str, Any]:
        assert share_inputs
        return {LOGITS: self.session.run([LOGITS], feeds)[0]}


class _Core:
    """OpenVINO's core with ONNX Runtime behind it; like the real one it knows no functions."""

    settings: dict[str, str]

    def read_model(self, model: bytes) -> bytes:
        import onnx

        read = onnx.load_from_string(model)
        if read.functions or {node.domain for node in read.graph.node} - {""}:
            raise RuntimeError("first line\nNot supported ONNX op\n")
        return model

    def compile_model(self, model: bytes, device: str, settings: dict[str, str]) -> types.SimpleNamespace:
        import onnxruntime

        assert device == "CPU"
        type(self).settings = settings
        session = onnxruntime.InferenceSession(model)
        return types.SimpleNamespace(create_infer_request=lambda: _Request(session))


@pytest.fixture
def openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = types.ModuleType("openvino")
    fake.Core, fake.__version__ = _Core, "1.2"  # type: ignore[attr-defined]
    fake.__spec__ = importlib.machinery.ModuleSpec("openvino", None)
    monkeypatch.setitem(sys.modules, "openvino", fake)
    monkeypatch.delitem(sys.modules, "openvino_telemetry", raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path in builtin_model().parent.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def _rows(*models: str, provider: str = "cpu", others: bool = True) -> dict[str, str]:
    found = entries_of([Variant(m, provider) for m in models], WINDOW_SET, others=others)
    return {entry.label: entry.why_not for entry in found}


def test_openvino_runs_the_bodies_written_out(openvino: None) -> None:
    entry = entries_of([Variant(str(builtin_model()), "cpu")], WINDOW_SET, threads=3, others=True)[-1]
    assert (entry.label, entry.optional) == ("openvino", True)
    assert entry.runner is not None
    assert entry.expected is not None
    with entry.runner as runner:
        logits = runner.infer({WINDOWS: WINDOW_SET.data[:2]})[LOGITS]
    np.testing.assert_allclose(logits, entry.expected().outputs[LOGITS][:2], atol=1e-4)
    assert sys.modules["openvino_telemetry"] is None  # its client is not loaded
    assert _Core.settings["INFERENCE_NUM_THREADS"] == "3"
    assert _Core.settings["INFERENCE_PRECISION_HINT"] == "f32"


def test_the_scans_run_as_linear_attention() -> None:
    import onnxruntime

    if tuple(map(int, onnxruntime.__version__.split(".")[:3])) < (1, 25, 1):
        pytest.skip("needs ONNX Runtime 1.25.1: pip install -U onnxruntime")
    found = entries_of([Variant(str(builtin_model()), "cpu")], WINDOW_SET, others=True)
    (entry,) = [entry for entry in found if entry.label == ATTENTION]
    assert entry.optional
    assert entry.runner is not None
    assert entry.expected is not None
    with entry.runner as runner:
        logits = runner.infer({WINDOWS: WINDOW_SET.data[:2]})[LOGITS]
    assert runner.kind == ATTENTION
    np.testing.assert_allclose(logits, entry.expected().outputs[LOGITS][:2], atol=1e-4)


def test_a_model_that_openvino_does_not_read_says_why(openvino: None) -> None:
    runner = OpenVinoRunner(builtin_model().read_bytes, CONTRACT, artifact="m.onnx", threads=1)
    with pytest.raises(RunnerError, match="Not supported ONNX op"):
        runner.activate()
    with pytest.raises(RunnerError, match="not loaded"):
        runner.infer({WINDOWS: WINDOW_SET.data[:1]})


def test_what_is_not_installed_is_a_row_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    rows = _rows(str(builtin_model()))
    assert rows["openvino"] == "openvino and onnx not installed (pip install openvino onnx)"
    assert rows[ATTENTION] == "onnx and onnxruntime not installed (pip install onnx onnxruntime)"


def test_the_checkpoint_beside_a_file_is_found_by_its_hash(folder: Path) -> None:
    model, weights = folder / "reference.onnx", folder / "reference.safetensors"
    (folder / "reference.pt").write_bytes(b"of another model")
    assert "comes without its checkpoint" in _rows(str(model))[EAGER]
    with weights.open("wb") as endless:
        endless.truncate(1 << 42)  # a terabyte that is not on the disk
    assert "comes without its checkpoint" in _rows(str(model))[EAGER]
    weights.write_bytes(b"of this one, and damaged")
    for path in (model, folder / "reference.ref.npz"):
        manifest = Manifest.load(path)
        write_manifest(path, dataclasses.replace(manifest, source_sha256=sha256_file(weights)))
    with pytest.raises(CheckpointError, match=r"reference\.safetensors"):
        _rows(str(model))
    with pytest.raises(ArtifactError, match=r"named\.pt"):  # who names one gets that one alone
        _rows(str(model), str(folder / "named.pt"))
    weights.unlink()
    assert "is not beside it: name it" in _rows(str(model))[EAGER]


def test_others_stand_beside_portable_fp32_files_only() -> None:
    plain = set(_rows(str(builtin_model()), others=False))
    assert EAGER not in plain
    assert not {"openvino", ATTENTION} & plain
    lower = Variant("m.fp16.onnx", "cpu", why_not="not made")
    assert [entry.label for entry in entries_of([lower], WINDOW_SET, others=True)] == ["onnxruntime-cpu"]
