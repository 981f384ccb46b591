"""bench, parity, stream and inspect on engines, with the fakes in TensorRT's place."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from mimamba_edge.artifact import manifest_path
from mimamba_edge.bench.measure import Budget
from tests.fakes.tensorrt import FLAVOURS
from tests.fakes.world import World
from tests.modelfiles import tiny_contract, write_model, write_reference
from tests.trt.machine import make_machine, write_plan
from tests.trt.models import write_trt_model


@pytest.fixture(params=FLAVOURS)
def world(request: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    world = make_machine(monkeypatch, tmp_path, request.param)
    quick = Budget(runs=5, least_s=0.0, most_s=0.05, block_s=0.005, warm_s=0.0, paced_runs=1)
    monkeypatch.setattr("mimamba_edge.bench.run.Budget", lambda: quick)
    monkeypatch.chdir(tmp_path)
    return world


@pytest.fixture
def plan(world: World, tmp_path: Path) -> Path:
    write_reference(tmp_path / "tiny.ref.npz", tiny_contract())
    return write_plan(tmp_path, world)


def test_bench_times_an_engine_with_and_without_graphs(run: Any, plan: Path, world: World) -> None:
    done = run("bench", plan, "--report", "b.json")
    assert done.code == 0, done.err
    rows = json.loads(Path("b.json").read_text())["rows"]
    assert [(row["runner"], row["verified"]) for row in rows] == [
        ("tensorrt", True),
        ("tensorrt-no-graph", True),
    ]
    assert [row["runner_report"]["graph"] for row in rows] == ["yes", "off"]
    assert rows[0]["runner_report"]["buffers"] == "mapped"
    assert "tensorrt-no-graph" in done.out
    world.cuda.assert_clean()


def test_bench_says_so_where_there_is_no_graph(run: Any, plan: Path, world: World) -> None:
    world.cuda.fail("cudaGraphInstantiate", "cudaErrorInvalidValue")
    done = run("bench", plan)
    assert done.code == 0
    assert "without the requested CUDA graph" in done.out
    assert "warning: " in done.err


def test_bench_at_batch_sizes_of_the_engine_only(run: Any, world: World, tmp_path: Path) -> None:
    write_reference(tmp_path / "tiny.ref.npz", tiny_contract())
    plan = write_plan(tmp_path, world, "1,4,8")
    assert run("bench", plan, "--batch", "1,8").code == 0
    done = run("bench", plan, "--batch", "16")
    assert done.code == 2
    assert "1 to 8" in done.err
    world.cuda.assert_clean()


def test_bench_and_parity_at_a_fixed_batch_that_does_not_divide_the_windows(
    run: Any, world: World, tmp_path: Path
) -> None:
    write_reference(tmp_path / "tiny.ref.npz", tiny_contract(), n=10)
    plan = write_plan(tmp_path, world, "4")
    assert run("bench", plan, "--batch", "4").code == 0
    done = run("parity", plan, plan, "--report", "p.json")
    assert done.code == 0, done.err
    assert json.loads(Path("p.json").read_text())["n_windows"] == 10


def test_a_wrong_engine_is_not_timed(run: Any, plan: Path, world: World) -> None:
    model = world.model
    assert model is not None
    world.model = lambda inputs: {"logits": model(inputs)["logits"] * 1.1}
    done = run("bench", plan)
    assert done.code == 1
    assert "not timed" in done.err


@pytest.mark.ort
def test_parity_of_an_engine_and_onnx_runtime(run: Any, plan: Path, world: World, tmp_path: Path) -> None:
    write_model(tmp_path / "tiny.onnx")
    done = run("parity", "tiny.onnx", plan, "--report", "p.json")
    assert done.code == 0, done.err
    report = json.loads(Path("p.json").read_text())
    assert [held["kind"] for held in report["runners"]] == ["onnxruntime-cpu", "tensorrt"]
    assert report["n_windows"] == 70
    world.cuda.assert_clean()


def test_parity_finds_nan(run: Any, plan: Path, world: World) -> None:
    model, calls = world.model, []
    assert model is not None

    def broken(inputs: Any) -> Any:
        calls.append(1)
        return {"logits": model(inputs)["logits"] * (float("nan") if len(calls) > 80 else 1)}

    world.model = broken
    done = run("parity", plan, plan)
    assert done.code == 1
    assert "finite" in done.out


@pytest.mark.torch
def test_an_onnx_file_by_tensorrt_builds_its_engine_once(
    run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    world = make_machine(monkeypatch, tmp_path, run="tests.trt.machine:tiny_answers", children=True)
    monkeypatch.chdir(tmp_path)
    write_reference(tmp_path / "tiny.ref.npz", tiny_contract())
    write_trt_model(tmp_path / "tiny.trt.onnx")
    for times in range(2):
        done = run("parity", "tiny.trt.onnx", "tiny.trt.onnx", "--provider", "tensorrt", "--report", "p.json")
        assert done.code == 0, done.err
        assert json.loads(Path("p.json").read_text())["runners"][1] == {
            "artifact": "tiny.trt.onnx",
            "kind": "tensorrt",
            "precision": "fp32",
        }
        plans = list((tmp_path / "cache" / "engines").rglob("*.plan"))
        assert len(plans) == 1
        if times == 0:
            stamp = plans[0].stat().st_mtime_ns
        assert plans[0].stat().st_mtime_ns == stamp
    world.cuda.assert_clean()


def test_stream_decides_with_an_engine(run: Any, world: World, tmp_path: Path) -> None:
    contract = tiny_contract()
    plan = write_plan(tmp_path, world)
    rows = ["timestamps," + ",".join(contract.ch_names)]
    rows += [f"{1000 + i / 32.0:.6f}," + ",".join(["1.5"] * contract.n_chans) for i in range(200)]
    (tmp_path / "r.csv").write_text("\n".join(rows) + "\n")
    done = run("stream", plan, "--source", "r.csv", "--speed", "max")
    assert done.code == 0, done.err
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert len(lines) > 20
    world.cuda.assert_clean()


def test_inspect_shows_tensors_and_contract(run: Any, plan: Path, world: World) -> None:
    done = run("inspect", plan, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["tensorrt"] == "loads"
    assert found["inputs"] == {"windows": {"type": "FLOAT", "shape": [1, 3, 20]}}
    assert found["outputs"] == {"logits": {"type": "FLOAT", "shape": [1, 2]}}
    assert found["manifest"]["engine"]["device"] == "Orin"
    assert found["contract"]["n_times"] == 20
    assert "Orin" in run("inspect", plan).out
    world.cuda.assert_clean()


def test_inspect_without_tensorrt_shows_the_manifest(
    run: Any, plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    done = run("inspect", plan, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["tensorrt"].startswith("not loaded")
    assert found["manifest"]["engine"]["batch"] == "1"


def test_inspect_of_a_plan_of_another_machine(run: Any, world: World, tmp_path: Path) -> None:
    plan = write_plan(tmp_path, world, engine={"sm": 90})
    done = run("inspect", plan)
    assert done.code == 0
    assert "not loaded" in done.out


def test_unsound_plans_are_exit_2(run: Any, world: World, tmp_path: Path) -> None:
    assert run("inspect", write_plan(tmp_path, world, data=b"something else")).code == 2
    lone = write_plan(tmp_path, world, name="lone.plan")
    manifest_path(lone).unlink()
    for verb in ("inspect", "bench"):
        done = run(verb, lone)
        assert done.code == 2
        assert "manifest" in done.err


def test_without_tensorrt_the_remedy_is_told(run: Any, plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    done = run("parity", plan, plan)
    assert done.code == 2
    assert "TensorRT" in done.err
    assert "do this:" in done.err
