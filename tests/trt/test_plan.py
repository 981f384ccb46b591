"""The manifest beside a plan and the check before TensorRT sees it: every reason names both values."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from mimamba_edge.artifact import Manifest, manifest_path, sha256_file
from mimamba_edge.errors import ArtifactError, ConfigError, MimambaError, StaleEngineError
from mimamba_edge.runtime.reference import reference_path
from mimamba_edge.trt.batch import ONE, Batch
from mimamba_edge.trt.build_environment import BuildEnvironment
from mimamba_edge.trt.library import find_plugin
from mimamba_edge.trt.plan import PlanManifest, check_plan, engine_key, rebuild_command
from tests.modelfiles import tiny_contract, write_manifest_for
from tests.trt.machine import make_machine, write_plan, write_plugin

HERE = BuildEnvironment("Orin", 87, 8, "10.3.0", "12.6", "6.2")
KEY = {"onnx_sha256": "a" * 64, "plugin_sha256": "b" * 64, "shapes": {"windows": [[1, 3, 20]] * 3}}


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A plan of :data:`HERE`."""
    world = make_machine(monkeypatch, tmp_path)
    return write_plan(tmp_path, world, engine=HERE.to_dict())


def change(plan: Path, **values: Any) -> None:
    """Change what a manifest says."""
    path = manifest_path(plan)
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_plan_of_this_machine_fits(plan: Path) -> None:
    manifest = check_plan(plan, HERE, find_plugin(), batch=ONE)
    assert manifest.batch == ONE
    assert manifest.contract == tiny_contract()
    assert manifest.engine["onnx"] == "tiny.trt.onnx"


@pytest.mark.parametrize(
    ("field", "other", "words"),
    [
        ("device", "NVIDIA H200", ("Orin", "NVIDIA H200")),
        ("sm", 110, ("compute capability 87", "compute capability 110")),
        ("sm_count", 16, ("multiprocessors 8", "multiprocessors 16")),
        ("tensorrt", "10.13.3.9", ("TensorRT 10.3.0", "TensorRT 10.13.3.9")),
        ("cuda", "13.0", ("CUDA 12.6", "CUDA 13.0")),
        ("jetpack", "7.0", ("JetPack 6.2", "JetPack 7.0")),
        ("jetpack", None, ("JetPack 6.2", "JetPack none")),
    ],
)
def test_another_machine_is_stale(plan: Path, field: str, other: Any, words: tuple[str, str]) -> None:
    with pytest.raises(StaleEngineError) as caught:
        check_plan(plan, dataclasses.replace(HERE, **{field: other}), find_plugin())
    error = caught.value
    assert words[0] in str(error.got)
    assert words[1] in str(error.expected)
    assert error.do is not None
    assert f"mimamba-edge build tiny.trt.onnx -o {plan} --rebuild-if-stale" in error.do
    # What agrees is not told.
    assert str(error.got).count(";") == 0


def test_all_that_differs_is_told_at_once(plan: Path) -> None:
    there = BuildEnvironment("Thor", 110, 20, "11.4.0", "13.2", "7.2")
    with pytest.raises(StaleEngineError) as caught:
        check_plan(plan, there, find_plugin())
    for value in ("Thor", "110", "20", "11.4.0", "13.2", "7.2"):
        assert value in str(caught.value.expected)


def test_another_plugin_is_stale(plan: Path, tmp_path: Path) -> None:
    old = find_plugin().sha256
    write_plugin(tmp_path / "libmimamba_plugin.so", b"FAKE PLUGIN LIBRARY\n[]")
    new = find_plugin()
    with pytest.raises(StaleEngineError, match="plugin library") as caught:
        check_plan(plan, HERE, new)
    assert old[:12] in str(caught.value.got)
    assert new.sha256[:12] in str(caught.value.expected)
    assert str(new.path) in str(caught.value.expected)


def test_another_model_is_stale(plan: Path) -> None:
    held = PlanManifest.load(plan).engine["onnx_sha256"]
    check_plan(plan, HERE, find_plugin(), onnx_sha256=held)
    with pytest.raises(StaleEngineError, match=r"tiny\.trt\.onnx") as caught:
        check_plan(plan, HERE, find_plugin(), onnx_sha256="f" * 64)
    assert held[:12] in str(caught.value.got)
    assert "ffffffffffff" in str(caught.value.expected)


def test_another_batch_is_stale(plan: Path) -> None:
    with pytest.raises(StaleEngineError, match="batch") as caught:
        check_plan(plan, HERE, find_plugin(), batch=Batch(1, 8, 64))
    assert (caught.value.got, caught.value.expected) == ("batch 1", "batch 1,8,64")


def test_other_ops_are_stale(plan: Path) -> None:
    change(plan, ops={"SelectiveScan": 2, "MultiScaleTemporalBlock": 1})
    with pytest.raises(StaleEngineError, match="ops") as caught:
        check_plan(plan, HERE, find_plugin())
    assert "SelectiveScan 2" in str(caught.value.got)
    assert "SelectiveScan 1" in str(caught.value.expected)


def _truncate(plan: Path) -> None:
    plan.write_bytes(plan.read_bytes()[:-7])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_truncate, "disagree"),
        (lambda plan: plan.unlink(), "is not there"),
        (lambda plan: manifest_path(plan).unlink(), "no manifest beside it"),
        (lambda plan: manifest_path(plan).write_text("{"), "damaged"),
        (lambda plan: change(plan, engine={}), "without onnx, onnx_sha256"),
        (lambda plan: change(plan, engine=7), "damaged"),
        (lambda plan: change(plan, kind="trt.onnx"), "kind 'trt.onnx'"),
        (lambda plan: change(plan, manifest_format=9), "format"),
        (lambda plan: change(plan, engine={**PlanManifest.load(plan).engine, "batch": "x"}), "batch x"),
    ],
    ids=["truncated", "plan", "manifest", "JSON", "no facts", "a number", "kind", "format", "batch"],
)
def test_damage_is_found_before_the_plan_is_read(plan: Path, damage: Any, words: str) -> None:
    plugin = find_plugin()
    damage(plan)
    with pytest.raises(ArtifactError, match=words) as caught:
        check_plan(plan, HERE, plugin)
    assert caught.value.do is not None
    assert "mimamba-edge build tiny.trt.onnx" in caught.value.do


def test_the_remedy_repeats_the_batch() -> None:
    engine = {"onnx": "a.fp16.trt.onnx", "batch": "1,8,64"}
    assert (
        rebuild_command(Path("b.plan"), engine)
        == "mimamba-edge build a.fp16.trt.onnx -o b.plan --batch 1,8,64 --rebuild-if-stale"
    )


def test_the_key_changes_with_all_it_stands_for() -> None:
    keys = {engine_key(HERE, **KEY)}
    for field, other in BuildEnvironment("Thor", 110, 20, "11.4.0", "13.2", None).to_dict().items():
        keys.add(engine_key(dataclasses.replace(HERE, **{field: other}), **KEY))
    for name, other in (("onnx_sha256", "c" * 64), ("plugin_sha256", "c" * 64), ("shapes", {"windows": []})):
        keys.add(engine_key(HERE, **{**KEY, name: other}))
    assert len(keys) == 1 + 6 + 3
    assert engine_key(HERE, **KEY) == engine_key(dataclasses.replace(HERE), **KEY)


def test_manifests_of_other_artefacts_are_as_before(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"model")
    write_manifest_for(path, tiny_contract(), "onnx")
    assert "engine" not in json.loads(manifest_path(path).read_text())
    assert Manifest.load(path).engine == {}
    assert sha256_file(path) == Manifest.load(path).sha256


def test_the_reference_of_a_plan() -> None:
    for name in ("a.plan", "a.trt.onnx", "a.onnx"):
        assert reference_path(Path("x") / name) == Path("x/a.ref.npz")
    assert reference_path(Path("a.fp16.plan")) == Path("a.ref.npz")


@pytest.mark.parametrize(
    ("text", "batch"),
    [("1", Batch(1, 1, 1)), ("4", Batch(4, 4, 4)), ("1,8,64", Batch(1, 8, 64)), ("2,2,2", Batch(2, 2, 2))],
)
def test_batch_sizes(text: str, batch: Batch) -> None:
    assert Batch.parse(text) == batch
    assert Batch.parse(str(batch)) == batch


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "1.5", "1,8", "8,1,64", "1,64,8", "0,1,2", "1,2,3,4", "a", "1:8:64", " 1", "٣"]
)
def test_bad_batch_sizes(text: str) -> None:
    with pytest.raises(ConfigError, match="LEAST,BEST,MOST") as caught:
        Batch.parse(text)
    assert caught.value.got == text
    assert issubclass(ConfigError, MimambaError)
