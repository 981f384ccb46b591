"""Runners, verbs and reports with a library of native ops: built, found, used, refused."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import zipfile
from email.parser import BytesParser
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

from mimamba_edge.artifact import manifest_path, sha256_file, write_json
from mimamba_edge.contract import OPS
from mimamba_edge.errors import DependencyError, PluginError
from mimamba_edge.load import builtin_model, load_model
from mimamba_edge.plugins.build_onnxruntime import build_native_ops
from mimamba_edge.plugins.ops_wheel import write_wheel
from mimamba_edge.runtime import native_ops, ort
from mimamba_edge.runtime.native_ops import LIBRARY, NativeInfo, describe_native_ops, find_native_ops
from mimamba_edge.runtime.ort import OrtRunner
from mimamba_edge.runtime.reference import Reference

pytestmark = [pytest.mark.torch, pytest.mark.ort]


@pytest.fixture
def built(native: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A library in an otherwise empty cache."""
    monkeypatch.setenv("MIMAMBA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MIMAMBA_ORT_OPS")
    folder = tmp_path / "cache" / "onnxruntime-ops" / "0123"
    folder.mkdir(parents=True)
    return Path(shutil.copy(native, folder / LIBRARY))


def test_a_model_runs_by_native_ops_and_answers_as_by_its_bodies(built: Path) -> None:
    reference = Reference.beside(builtin_model())
    windows = reference.windows[:32]
    with load_model(builtin_model(), threads=1) as runner:
        assert runner.kind == "onnxruntime-cpu-native"
        native = runner.logits(windows)
        assert runner.report["native_ops"]["sha256"] == describe_native_ops(built).sha256
    with load_model(builtin_model(), threads=1, native_ops=False) as runner:
        assert runner.kind == "onnxruntime-cpu"
        assert "native_ops" not in runner.report
        bodies = runner.logits(windows)
    # Other kernels, other roundings: otherwise the same code would have run twice.
    assert not np.array_equal(native, bodies)
    wanted = reference.outputs["logits"][:32]
    for got in (native, bodies):
        np.testing.assert_allclose(got, wanted, atol=1e-5 * np.abs(wanted).max())


def test_what_checks_a_file_runs_its_bodies(built: Path) -> None:
    assert OrtRunner(builtin_model()).kind == "onnxruntime-cpu"


def test_a_file_of_another_precision_runs_its_bodies(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As INT8 does inside them."""
    monkeypatch.setattr(ort, "PRECISIONS", ("fp16",))
    assert load_model(builtin_model()).kind == "onnxruntime-cpu"


def test_the_variable_names_a_library_or_none(
    native: Path, built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIMAMBA_ORT_OPS", str(native))
    found = find_native_ops()
    assert found is not None
    assert found.path == native
    monkeypatch.setenv("MIMAMBA_ORT_OPS", "none")
    assert find_native_ops() is None
    monkeypatch.setenv("MIMAMBA_ORT_OPS", str(native) + "x")
    with pytest.raises(PluginError, match="not there"):
        find_native_ops()


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200_000])


def _other_cpu(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[18:20] = (40).to_bytes(2, "little")  # e_machine: 32-bit ARM
    path.write_bytes(data)


def _text(path: Path) -> None:
    path.write_text("no library")


def _strange(path: Path) -> None:
    """A library of somebody else's."""
    from importlib.util import find_spec

    spec = find_spec("_ctypes")
    assert spec is not None
    shutil.copy(str(spec.origin), path)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_cut, "cut off"),
        (_other_cpu, "for another CPU"),
        (_text, "not a shared library"),
        (_strange, "cannot be loaded"),
    ],
)
def test_a_library_that_cannot_be_used_is_named_and_the_bodies_run(
    built: Path, capsys: pytest.CaptureFixture[str], spoil, says: str
) -> None:
    spoil(built)
    windows = Reference.beside(builtin_model()).windows[:2]
    with load_model(builtin_model(), threads=1) as runner:
        assert runner.kind == "onnxruntime-cpu"
        assert np.isfinite(runner.logits(windows)).all()
    warned = capsys.readouterr().err
    assert says in warned
    assert "function bodies" in warned
    assert "plugin build --host onnxruntime" in warned


def test_other_versions_of_the_ops_are_refused(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_ops, "OPS", {"SelectiveScan": 2, "MultiScaleTemporalBlock": 1})
    problem = describe_native_ops(Path(shutil.copy(built, built.with_name("other.so")))).problem
    assert problem is not None
    assert "SelectiveScan 1" in str(problem)
    assert "SelectiveScan 2" in str(problem)


def test_a_runtime_that_does_not_take_the_library_goes_on_with_the_bodies(
    built: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    def refuse(self: object, path: str) -> None:
        raise RuntimeError(f"{path}: too new")

    monkeypatch.setattr(onnxruntime.SessionOptions, "register_custom_ops_library", refuse)
    runner = load_model(builtin_model(), threads=1)
    with runner:
        assert runner.kind == "onnxruntime-cpu"
    assert "ONNX Runtime 1.20 or later" in capsys.readouterr().err


def test_a_damaged_model_is_not_blamed_on_the_library(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.modelfiles import write_manifest_for, write_model

    path = tmp_path / "m.onnx"
    contract = write_model(path)
    path.write_bytes(path.read_bytes()[:-100])
    write_manifest_for(path, contract, "fp32")
    with pytest.raises(Exception, match="not an ONNX file, or it is cut off"):
        load_model(path).activate()
    assert "function bodies" not in capsys.readouterr().err


def test_the_wheel_brings_the_library(native: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed by pip, found by its package's name; a library in the cache goes first."""
    info = NativeInfo(LIBRARY, sha256_file(native), "0", OPS, platform.machine(), "a compiler")
    made = tmp_path / "made"
    made.mkdir()
    library = Path(shutil.copy(native, made / LIBRARY))
    write_json(manifest_path(library), info.to_dict())
    wheel = write_wheel(describe_native_ops(library), tmp_path / "wheels")
    assert wheel.name.endswith(f"_{platform.machine()}.whl")
    assert wheel.name.startswith("mimamba_edge_ops-")
    assert "-py3-none-manylinux_2_" in wheel.name
    first = wheel.read_bytes()
    assert write_wheel(describe_native_ops(library), tmp_path / "wheels").read_bytes() == first
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        (folder,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        metadata = BytesParser().parsebytes(archive.read(f"{folder}/METADATA"))
        files = metadata.get_all("License-File", [])
        texts = [archive.read(f"{folder}/licenses/{name}").decode() for name in files]
    assert metadata["Name"] == "mimamba-edge-ops"
    assert "Apache License" in texts[0]
    assert "Runtime Library Exception" in texts[1]
    site = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", site, wheel]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    monkeypatch.setenv("MIMAMBA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MIMAMBA_ORT_OPS")
    assert find_native_ops() is None
    monkeypatch.syspath_prepend(str(site))
    found = find_native_ops()
    assert found is not None
    assert found.path == site / "mimamba_edge_ops" / LIBRARY
    assert found.info == info
    cached = tmp_path / "cache" / "onnxruntime-ops" / "0123"
    cached.mkdir(parents=True)
    shutil.copy(native, cached / LIBRARY)
    found = find_native_ops()
    assert found is not None
    assert found.path == cached / LIBRARY


def test_a_wheel_for_another_cpu(native: Path, tmp_path: Path) -> None:
    """Its library is not loaded, its tag is the file's; on this CPU it is refused."""
    library = Path(shutil.copy(native, tmp_path / LIBRARY))
    data = bytearray(library.read_bytes())
    there, number = ("x86_64", 62) if platform.machine() == "aarch64" else ("aarch64", 183)
    data[18:20] = number.to_bytes(2, "little")
    library.write_bytes(data)
    info = NativeInfo(LIBRARY, sha256_file(library), "0", OPS, there, "a compiler")
    write_json(manifest_path(library), info.to_dict())
    found = describe_native_ops(library, machine=there)
    assert found.problem is None
    assert found.target is None
    assert write_wheel(found, tmp_path / "wheels").name.endswith(f"_{there}.whl")
    with pytest.raises(PluginError, match="for another CPU"):
        write_wheel(describe_native_ops(library), tmp_path / "wheels")


def test_ops_for_another_cpu_need_a_compiler_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("cmake") is None:
        pytest.skip("needs CMake: apt install cmake")
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: None if name.endswith("g++") else f"/usr/bin/{name}")
    there = "x86_64" if platform.machine() == "aarch64" else "aarch64"
    with pytest.raises(DependencyError, match="pip install ziglang"):
        build_native_ops(tmp_path, machine=there)
