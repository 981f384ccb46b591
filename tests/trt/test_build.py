"""``build`` from the command line to the builder's process: what is written, what is told, what stays."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimamba_edge.artifact import manifest_path, sha256_file
from mimamba_edge.contract import OPS
from mimamba_edge.errors import ArtifactError, GateError, OutputError, PluginError
from mimamba_edge.runtime.reference import Reference
from mimamba_edge.trt.batch import Batch
from mimamba_edge.trt.build import build_plan, engine_for
from mimamba_edge.trt.plan import PlanManifest
from mimamba_edge.trt.runner import TensorRtRunner
from mimamba_edge.trt.timings import read_timings
from tests.cli.conftest import Result, run
from tests.fakes.tensorrt import FLAVOURS, install
from tests.fakes.world import World
from tests.modelfiles import answers, noise, tiny_contract, write_manifest_for, write_model
from tests.trt.builder import files, quick_builder, stand_in
from tests.trt.machine import ORIN, make_machine, tiny_answers, write_plugin
from tests.trt.models import write_set, write_trt_model

pytestmark = pytest.mark.torch

__all__ = ["run"]  # The fixture of tests/cli serves here too.

Run = Callable[..., Result]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    return make_machine(monkeypatch, tmp_path)


@pytest.fixture
def onnx(tmp_path: Path) -> Path:
    return write_set(tmp_path / "m")


def judged_by(monkeypatch: pytest.MonkeyPatch, verify: Callable[..., dict[str, Any]]) -> None:
    """Let plans be judged by a function: a process that ran one plugin library cannot load another."""
    monkeypatch.setattr("mimamba_edge.trt.build.verify_plan", verify)


# From one end to the other, with the builder's own process.


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_build_writes_a_verified_plan(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flavour: str, onnx: Path
) -> None:
    make_machine(monkeypatch, tmp_path, flavour)
    world = install(monkeypatch, flavour, run="tests.trt.machine:tiny_answers", children=True)
    report, batch = tmp_path / "report.json", {"10.3": "1", "11": "1,3,4"}[flavour]
    code, out, err = run("build", onnx, "-o", tmp_path / "b" / "x.plan", "--batch", batch, "--report", report)
    assert (code, err) == (0, "")
    assert "passed" in out
    assert "built and verified" in out
    assert set(files(tmp_path / "b")) == {"x.plan", "x.plan.json", "x.ref.npz", "x.ref.npz.json"}
    manifest = PlanManifest.load(tmp_path / "b" / "x.plan")
    assert (manifest.kind, manifest.precision, manifest.ops) == ("plan", "fp32", OPS)
    assert manifest.engine["tensorrt"] == world.version
    assert manifest.engine["onnx_sha256"] == sha256_file(onnx)
    assert manifest.engine["plugin_sha256"] == sha256_file(tmp_path / "libmimamba_plugin.so")
    assert (manifest.engine["device"], manifest.engine["sm_count"]) == ("Orin", 8)
    assert manifest.verification["passed"]
    sizes = Batch.parse(batch)
    assert manifest.verification["n_windows"] == 9 * len({sizes.least, sizes.best, sizes.most})
    told = json.loads(report.read_text())
    assert (told["built"], told["engine"]) == (True, manifest.engine)
    windows = noise(tiny_contract(), sizes.most)
    with TensorRtRunner(tmp_path / "b" / "x.plan") as runner:
        np.testing.assert_array_equal(runner.logits(windows), answers(tiny_contract(), windows))
    held, logs = tmp_path / "cache" / "timings", tmp_path / "cache" / "logs"
    (timings,) = held.iterdir()
    assert read_timings(timings)[0].startswith(b"FAKECACHE")
    (log,) = logs.iterdir()
    assert "workspace" in log.read_text()


def test_parse_errors_reach_the_user(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    make_machine(monkeypatch, tmp_path)
    install(monkeypatch, "11", run="tests.trt.machine:tiny_answers", children=True)
    onnx = write_set(tmp_path / "m")
    write_trt_model(onnx, op="NoSuchOp")
    code, _, err = run("build", onnx)
    assert code == 2
    assert "node 0 /layers.0/scan (NoSuchOp)" in err
    assert "Plugin not found" in err
    (log,) = (tmp_path / "cache" / "logs").iterdir()
    assert str(log) in err
    assert "[ERROR] In node 0" in log.read_text()
    assert not (tmp_path / "m" / "tiny.plan").exists()


# Verification.


def test_wrong_answers_leave_no_file_and_show_the_table(
    run: Run, monkeypatch: pytest.MonkeyPatch, world: World, tmp_path: Path
) -> None:
    onnx = write_set(tmp_path / "m", scale=1.01)
    quick_builder(monkeypatch, tmp_path, world)
    before = files(onnx.parent)
    code, out, err = run("build", onnx)
    assert code == 1
    assert "SQNR" in out
    assert "missed" in out
    assert "tiny.plan was not written" in err
    assert files(onnx.parent) == before


def test_gates_are_those_of_the_precision(
    monkeypatch: pytest.MonkeyPatch, world: World, tmp_path: Path
) -> None:
    """An error of 1e-3 (60 dB) is too much for fp32 and not for fp16."""
    onnx = write_set(tmp_path / "m", scale=1.001)
    quick_builder(monkeypatch, tmp_path, world)
    with pytest.raises(GateError, match="SQNR"):
        build_plan(onnx)
    path = manifest_path(onnx)
    path.write_text(json.dumps({**json.loads(path.read_text()), "precision": "fp16"}))
    engine = build_plan(onnx)
    assert engine.manifest.precision == "fp16"
    assert 59 < engine.manifest.verification["sqnr_db"] < 61


def test_all_windows_are_verified_at_a_batch_that_does_not_divide_them(
    monkeypatch: pytest.MonkeyPatch, world: World, tmp_path: Path, onnx: Path
) -> None:
    quick_builder(monkeypatch, tmp_path, world, batch=4)
    seen: list[int] = []

    def model(inputs: Any) -> Any:
        seen.append(len(inputs["windows"]))
        return {"logits": tiny_answers(inputs["windows"])}

    world.model = model
    engine = build_plan(onnx, batch=Batch(4, 4, 4))
    assert set(seen) == {4}
    assert engine.manifest.verification["n_windows"] == 9


# What is there already.


def test_a_plan_that_fits_is_left_alone(
    run: Run, monkeypatch: pytest.MonkeyPatch, world: World, tmp_path: Path, onnx: Path
) -> None:
    quick_builder(monkeypatch, tmp_path, world)
    assert run("build", onnx, "--rebuild-if-stale").code == 0
    before = files(onnx.parent)
    stand_in(monkeypatch, "os.kill(os.getpid(), 11)")
    code, out, _ = run("build", onnx, "--rebuild-if-stale", "--report", tmp_path / "r.json")
    assert code == 0
    assert "nothing to do" in out
    assert files(onnx.parent) == before
    assert json.loads((tmp_path / "r.json").read_text())["built"] is False


def test_a_stale_plan_serves_until_the_new_one_is_verified(
    monkeypatch: pytest.MonkeyPatch, world: World, tmp_path: Path, onnx: Path
) -> None:
    quick_builder(monkeypatch, tmp_path, world)
    plan = build_plan(onnx).plan
    old = files(plan.parent)
    plugin = tmp_path / "libmimamba_plugin.so"
    held = sha256_file(plugin)
    write_plugin(plugin, plugin.read_bytes() + b" ")
    notes: list[str] = []

    def verify(staged: Path, reference: Reference, *, show: bool) -> dict[str, Any]:
        assert {name: digest for name, digest in files(plan.parent).items() if "/" not in name} == old
        assert staged != plan
        return {"passed": True, "again": True}

    judged_by(monkeypatch, verify)
    engine = build_plan(onnx, only_if_stale=True, on_note=notes.append)
    assert engine.built
    assert PlanManifest.load(plan).verification == {"passed": True, "again": True}
    assert held[:12] in notes[0]
    assert sha256_file(plugin)[:12] in notes[0]
    assert not list(plan.parent.glob(".*"))


@pytest.mark.parametrize("failure", ["builder", "verification"])
def test_a_failed_rebuild_leaves_the_old_plan(
    run: Run, monkeypatch: pytest.MonkeyPatch, world: World, tmp_path: Path, onnx: Path, failure: str
) -> None:
    quick_builder(monkeypatch, tmp_path, world)
    assert run("build", onnx).code == 0
    old = files(onnx.parent)
    world = make_machine(monkeypatch, tmp_path, device=replace(ORIN, driver=12080))  # after an upgrade
    if failure == "builder":
        stand_in(monkeypatch, "os.kill(os.getpid(), 9)")
    else:
        world.model = lambda inputs: {"logits": -tiny_answers(inputs["windows"])}
    code, out, _ = run("build", onnx, "--rebuild-if-stale")
    assert code == {"builder": 2, "verification": 1}[failure]
    assert "CUDA 12.6; now CUDA 12.8" in out
    assert "tiny.plan is unchanged" in out
    assert files(onnx.parent) == old


def test_a_damaged_plan_is_built_again(
    run: Run, monkeypatch: pytest.MonkeyPatch, world: World, tmp_path: Path, onnx: Path
) -> None:
    quick_builder(monkeypatch, tmp_path, world)
    assert run("build", onnx).code == 0
    good = sha256_file(onnx.parent / "tiny.plan")
    (onnx.parent / "tiny.plan").write_bytes(b"half")
    code, out, _ = run("build", onnx, "--rebuild-if-stale")
    assert code == 0
    assert "disagree" in out
    assert sha256_file(onnx.parent / "tiny.plan") == good


def test_another_batch_or_model_is_stale(
    monkeypatch: pytest.MonkeyPatch, world: World, tmp_path: Path, onnx: Path
) -> None:
    quick_builder(monkeypatch, tmp_path, world)
    judged_by(monkeypatch, lambda plan, reference, *, show: {"passed": True})
    build_plan(onnx)
    for change in (
        {"batch": Batch(2, 2, 2)},
        {"onnx": write_trt_model(onnx, op="MultiScaleTemporalBlock")},
    ):
        given = {"onnx": onnx, **change}
        assert build_plan(given.pop("onnx"), only_if_stale=True, **given).built


# The cache.


def test_the_cache_keeps_an_engine_for_all_it_depends_on(
    monkeypatch: pytest.MonkeyPatch, world: World, tmp_path: Path, onnx: Path
) -> None:
    quick_builder(monkeypatch, tmp_path, world)
    judged_by(monkeypatch, lambda plan, reference, *, show: {"passed": True})
    first = engine_for(onnx)
    assert first.is_relative_to(tmp_path / "cache" / "engines")
    assert Reference.beside(first).source_sha256 == Reference.beside(onnx).source_sha256
    stand_in(monkeypatch, "os.kill(os.getpid(), 11)")
    assert engine_for(onnx) == first
    quick_builder(monkeypatch, tmp_path, world)
    plugin = tmp_path / "libmimamba_plugin.so"
    write_plugin(plugin, plugin.read_bytes() + b" ")
    others = {engine_for(onnx), engine_for(onnx, batch=Batch(1, 8, 64))}
    write_trt_model(onnx, op="MultiScaleTemporalBlock")
    others.add(engine_for(onnx))
    assert len(others - {first}) == 3


def test_a_damaged_engine_in_the_cache_is_built_again(
    monkeypatch: pytest.MonkeyPatch, world: World, tmp_path: Path, onnx: Path
) -> None:
    quick_builder(monkeypatch, tmp_path, world)
    plan = engine_for(onnx)
    good = plan.read_bytes()
    plan.write_bytes(good[:-1])
    notes: list[str] = []
    assert engine_for(onnx, on_note=notes.append) == plan
    assert plan.read_bytes() == good
    assert "disagree" in notes[0]


# What cannot work.


@pytest.mark.parametrize("text", ["0", "8,1", "1,64,8", "many"])
def test_bad_batch_sizes_are_refused(run: Run, world: World, onnx: Path, text: str) -> None:
    code, _, err = run("build", onnx, "--batch", text)
    assert code == 2
    assert "LEAST,BEST,MOST" in err


def test_without_tensorrt(run: Run, monkeypatch: pytest.MonkeyPatch, world: World, onnx: Path) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    code, _, err = run("build", onnx)
    assert code == 2
    assert "JetPack" in err or "lean" in err


def test_without_plugin(run: Run, monkeypatch: pytest.MonkeyPatch, world: World, onnx: Path) -> None:
    monkeypatch.delenv("MIMAMBA_PLUGIN")
    code, _, err = run("build", onnx)
    assert code == 2
    assert "mimamba-edge plugin build" in err


def test_the_portable_file_stands_for_the_one_beside_it(
    run: Run, monkeypatch: pytest.MonkeyPatch, world: World, tmp_path: Path
) -> None:
    onnx = write_set(tmp_path / "m", portable=True)
    quick_builder(monkeypatch, tmp_path, world)
    code, out, _ = run("build", onnx.with_name("tiny.onnx"))
    assert code == 0
    assert "tiny.onnx is the portable file: building from tiny.trt.onnx" in out
    assert PlanManifest.load(onnx.with_name("tiny.plan")).engine["onnx"] == "tiny.trt.onnx"


def test_a_portable_file_alone_is_refused(run: Run, world: World, tmp_path: Path) -> None:
    write_model(tmp_path / "a.onnx")
    code, _, err = run("build", tmp_path / "a.onnx")
    assert code == 2
    assert "portable" in err
    assert str(tmp_path / "a.trt.onnx") in err


def test_a_portable_file_of_another_model_is_refused(world: World, tmp_path: Path) -> None:
    write_set(tmp_path / "m", portable=True)
    write_trt_model(tmp_path / "m" / "tiny.trt.onnx", source="d" * 64)
    with pytest.raises(ArtifactError, match="different checkpoints"):
        build_plan(tmp_path / "m" / "tiny.onnx")


def test_function_bodies_under_a_name_for_tensorrt_are_refused(world: World, onnx: Path) -> None:
    write_manifest_for(onnx, tiny_contract(), "onnx")
    with pytest.raises(ArtifactError, match="function bodies"):
        build_plan(onnx)


@pytest.mark.parametrize("name", ["a.engine", ".plan", "a"])
def test_a_plan_is_called_plan(run: Run, world: World, onnx: Path, tmp_path: Path, name: str) -> None:
    code, _, err = run("build", onnx, "-o", tmp_path / name)
    assert code == 2
    assert "NAME.plan" in err


@pytest.mark.parametrize("name", ["nothing.trt.onnx", "a.pt"])
def test_models_that_are_none(run: Run, world: World, tmp_path: Path, name: str) -> None:
    code, _, err = run("build", tmp_path / name)
    assert code == 2
    assert name in err


def test_without_reference(run: Run, world: World, onnx: Path) -> None:
    onnx.with_name("tiny.ref.npz").unlink()
    code, _, err = run("build", onnx)
    assert code == 2
    assert "no reference outputs" in err


def test_outputs_that_cannot_be_written(
    run: Run, monkeypatch: pytest.MonkeyPatch, world: World, tmp_path: Path, onnx: Path
) -> None:
    quick_builder(monkeypatch, tmp_path, world)
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.plan").mkdir()
    for out in ("file/x.plan", "folder.plan"):
        code, _, err = run("build", onnx, "-o", tmp_path / out)
        assert code == 2
        assert "cannot write" in err


def test_a_cache_that_cannot_be_written(
    run: Run, monkeypatch: pytest.MonkeyPatch, world: World, tmp_path: Path, onnx: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MIMAMBA_CACHE", str(tmp_path / "file" / "cache"))
    before = files(onnx.parent)
    code, _, err = run("build", onnx)
    assert code == 2
    assert "MIMAMBA_CACHE" in err
    assert files(onnx.parent) == before
    with pytest.raises(OutputError):
        engine_for(onnx)


def test_a_full_disk_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, world: World, tmp_path: Path, onnx: Path
) -> None:
    quick_builder(monkeypatch, tmp_path, world)
    before = files(onnx.parent)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="disk is full"):
        build_plan(onnx, tmp_path / "new" / "x.plan")
    assert files(onnx.parent) == before
    assert not (tmp_path / "new").exists()


def test_the_reference_of_another_model_is_not_overwritten(
    monkeypatch: pytest.MonkeyPatch, world: World, tmp_path: Path, onnx: Path
) -> None:
    (tmp_path / "o").mkdir()
    other = tmp_path / "o" / "x.ref.npz"
    other.write_bytes(b"of another model")
    write_manifest_for(other, tiny_contract(), "ref.npz", source="e" * 64)
    with pytest.raises(OutputError, match="belongs to another model"):
        build_plan(onnx, tmp_path / "o" / "x.plan")
    assert other.read_bytes() == b"of another model"


def test_a_plugin_without_code_for_the_device(
    monkeypatch: pytest.MonkeyPatch, world: World, tmp_path: Path, onnx: Path
) -> None:
    monkeypatch.delenv("MIMAMBA_PLUGIN")
    folder = tmp_path / "cache" / "plugin" / "key"
    folder.mkdir(parents=True)
    write_plugin(folder / "libmimamba_plugin.so", architectures=[90])
    with pytest.raises(PluginError, match="no code for this GPU"):
        build_plan(onnx)
