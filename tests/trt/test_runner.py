"""The TensorRT runner on fakes of TensorRT 10.3 and 11: numbers, order of work, errors, leaks."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimamba_edge.artifact import manifest_path
from mimamba_edge.contract import LOGITS, WINDOWS
from mimamba_edge.errors import (
    ArtifactError,
    EngineError,
    MimambaError,
    PluginError,
    RunnerError,
    StaleEngineError,
)
from mimamba_edge.trt import runner as runner_module
from mimamba_edge.trt.runner import TensorRtRunner, describe_engine
from tests.fakes.tensorrt import FLAVOURS, library_bytes
from tests.fakes.world import World
from tests.modelfiles import answers, noise, tiny_contract
from tests.trt.machine import H200, ORIN, make_machine, write_plan, write_plugin

CONTRACT = tiny_contract()


@pytest.fixture(params=FLAVOURS)
def world(request: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    return make_machine(monkeypatch, tmp_path, request.param)


@pytest.fixture(params=FLAVOURS)
def discrete(request: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    return make_machine(monkeypatch, tmp_path, request.param, H200)


def check(runner: TensorRtRunner, n: int, seed: int = 1) -> None:
    windows = noise(CONTRACT, n, seed)
    np.testing.assert_array_equal(runner.infer({WINDOWS: windows})[LOGITS], answers(CONTRACT, windows))


@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize("device", [ORIN, H200], ids=lambda device: device.name)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_answers_are_those_of_the_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flavour: str, device: Any, graph: bool
) -> None:
    world = make_machine(monkeypatch, tmp_path, flavour, device)
    with TensorRtRunner(write_plan(tmp_path, world), graph=graph) as runner:
        for seed in range(5):
            check(runner, 1, seed)
        check(runner, 3)  # an engine for one window takes them one after the other
        assert runner.report["graph"] == ("yes" if graph else "off")
        assert runner.report["buffers"] == ("mapped" if device.integrated else "pinned")
    assert (world.cuda.calls["cudaGraphLaunch"] > 5) == graph
    assert (world.cuda.calls["cudaMemcpyAsync"] == 0) == device.integrated
    assert world.cuda.pageable_copies == 0
    world.cuda.assert_clean()


def test_answers_do_not_share_memory(world: World, tmp_path: Path) -> None:
    first, second = noise(CONTRACT, 1, 1), noise(CONTRACT, 1, 2)
    with TensorRtRunner(write_plan(tmp_path, world)) as runner:
        kept = runner.infer({WINDOWS: first})[LOGITS]
        runner.infer({WINDOWS: second})
    np.testing.assert_array_equal(kept, answers(CONTRACT, first))


def test_the_hot_path_allocates_nothing(discrete: World, tmp_path: Path) -> None:
    with TensorRtRunner(write_plan(tmp_path, discrete, "1,4,8")) as runner:
        check(runner, 1)
        before = discrete.cuda.calls.copy()
        for seed in range(20):
            check(runner, 1 if seed % 2 else 4, seed)
        new = {name: n - before[name] for name, n in discrete.cuda.calls.items() if n != before[name]}
    assert new == {"cudaGraphLaunch": 20, "cudaStreamSynchronize": 20}
    discrete.cuda.assert_clean()


def test_without_a_graph_a_run_is_one_copy_in_and_one_out(discrete: World, tmp_path: Path) -> None:
    with TensorRtRunner(write_plan(tmp_path, discrete), graph=False) as runner:
        before = discrete.cuda.calls.copy()
        check(runner, 1)
        new = {name: n - before[name] for name, n in discrete.cuda.calls.items() if n != before[name]}
    assert new == {"cudaMemcpyAsync": 2, "cudaStreamSynchronize": 1}


def test_each_batch_size_has_its_graph(world: World, tmp_path: Path) -> None:
    with TensorRtRunner(write_plan(tmp_path, world, "1,4,64")) as runner:
        assert runner.report["batches"] == [1, 4]
        assert (runner.least_batch, runner.most_batch) == (1, 64)
        for n in (1, 4, 2, 64, 4, 2, 1):
            check(runner, n, n)
        assert runner.report["batches"] == [1, 2, 4, 64]
        assert len(world.cuda.graphs) == 4
    world.cuda.assert_clean()


def test_many_batch_sizes_do_not_pile_up(world: World, tmp_path: Path) -> None:
    with TensorRtRunner(write_plan(tmp_path, world, "1,4,64")) as runner:
        for n in range(1, 30):
            check(runner, n)
        assert len(world.cuda.graphs) == 8
        check(runner, 1)
    world.cuda.assert_clean()


@pytest.mark.parametrize(
    ("batch", "n", "expected"), [("1,4,8", 9, "1 to 8"), ("4", 3, "exactly 4"), ("2,4,8", 1, "2 to 8")]
)
def test_other_batch_sizes_are_refused(
    world: World, tmp_path: Path, batch: str, n: int, expected: str
) -> None:
    with TensorRtRunner(write_plan(tmp_path, world, batch)) as runner:
        with pytest.raises(RunnerError, match=expected):
            runner.infer({WINDOWS: noise(CONTRACT, n)})
        check(runner, 4)
    world.cuda.assert_clean()


def test_wrong_windows_are_refused(world: World, tmp_path: Path) -> None:
    with TensorRtRunner(write_plan(tmp_path, world)) as runner:
        for feeds in (
            {},
            {WINDOWS: noise(CONTRACT, 1)[:, :, 1:]},
            {WINDOWS: noise(CONTRACT, 1).astype("f8")},
        ):
            with pytest.raises(RunnerError):
                runner.infer(feeds)


def test_it_must_be_active(world: World, tmp_path: Path) -> None:
    runner = TensorRtRunner(write_plan(tmp_path, world))
    for _ in range(2):
        with pytest.raises(RunnerError, match="activated"):
            check(runner, 1)
        with runner:
            check(runner, 1)
        world.cuda.assert_clean()


def test_nothing_of_the_engine_lives_on(world: World, tmp_path: Path) -> None:
    runner = TensorRtRunner(write_plan(tmp_path, world))
    with runner:
        assert len(world.engines) == 1
    gc.collect()
    assert world.engines == []


@pytest.mark.parametrize("call", ["cudaGraphInstantiate", "cudaStreamBeginCapture", "cudaStreamEndCapture"])
def test_without_a_graph_it_says_so_and_runs(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], call: str
) -> None:
    world.cuda.fail(call, "cudaErrorInvalidValue")
    with TensorRtRunner(write_plan(tmp_path, world)) as runner:
        check(runner, 1)
        assert runner.report["graph"] == "no"
        assert call in runner.report["graph_error"]
    said = capsys.readouterr()
    assert "warning: " in said.err
    assert "without a CUDA graph" in said.err
    assert call in said.err
    assert said.out == ""
    world.cuda.assert_clean()


def test_an_engine_that_cannot_be_captured_runs_without_a_graph(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world.faults.add("capture")
    with TensorRtRunner(write_plan(tmp_path, world)) as runner:
        check(runner, 1)
        check(runner, 1, 2)
        assert runner.report["graph"] == "no"
    assert "not permitted when stream is capturing" in capsys.readouterr().err
    world.cuda.assert_clean()


def test_no_warning_where_all_is_well(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with TensorRtRunner(write_plan(tmp_path, world, "1,2,4")) as runner:
        check(runner, 3)
    assert capsys.readouterr().err == ""


def test_load_and_warm_up_are_reported_apart(world: World, tmp_path: Path) -> None:
    with TensorRtRunner(write_plan(tmp_path, world)) as runner:
        assert runner.report["load_ms"] > 0
        assert runner.report["warm_up_ms"] > 0


# What goes wrong while loading: an error of ours, nothing left behind, nothing given to TensorRT too early.


def refuse(path: Path, world: World, kind: type[MimambaError], words: str) -> None:
    with pytest.raises(kind, match=words), TensorRtRunner(path):
        pass
    world.cuda.assert_clean()


def deserialised(world: World) -> bool:
    return any("deserializeCudaEngine" in text for _, text in world.messages) or bool(world.engines)


def test_a_truncated_plan_that_agrees_with_its_manifest(world: World, tmp_path: Path) -> None:
    whole = write_plan(tmp_path, world).read_bytes()
    refuse(write_plan(tmp_path, world, data=whole[:-9]), world, EngineError, "did not accept the engine")


def test_a_plan_that_is_something_else(world: World, tmp_path: Path) -> None:
    refuse(write_plan(tmp_path, world, data=b"ONNX" * 99), world, EngineError, "Magic tag does not match")


def test_a_plan_of_another_version_whose_manifest_does_not_know(world: World, tmp_path: Path) -> None:
    path = write_plan(tmp_path, world, head={"version": "10.0.1"})
    refuse(path, world, EngineError, f"expecting library version {world.version} got 10.0.1")


def test_a_plan_of_another_device_whose_manifest_does_not_know(world: World, tmp_path: Path) -> None:
    path = write_plan(tmp_path, world, head={"device": ["NVIDIA H200", 9, 0]})
    refuse(path, world, EngineError, "incompatible device, expecting compute 8.7 got compute 9.0")


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ({"sm": 90}, "90"),
        ({"tensorrt": "10.0.1"}, "10.0.1"),
        ({"sm_count": 16}, "16"),
        ({"plugin_sha256": "f" * 64}, "f" * 12),
    ],
)
def test_a_stale_plan_is_not_given_to_tensorrt(
    world: World, tmp_path: Path, engine: dict[str, Any], words: str
) -> None:
    refuse(write_plan(tmp_path, world, engine=engine), world, StaleEngineError, words)
    assert not deserialised(world)


def test_a_plan_that_disagrees_with_its_manifest(world: World, tmp_path: Path) -> None:
    path = write_plan(tmp_path, world)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ArtifactError, match="disagree"):
        TensorRtRunner(path)


def test_a_plan_without_manifest(world: World, tmp_path: Path) -> None:
    path = write_plan(tmp_path, world)
    manifest_path(path).unlink()
    with pytest.raises(ArtifactError, match="manifest"):
        TensorRtRunner(path)


def test_a_plan_that_changes_between_check_and_load(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = write_plan(tmp_path, world), runner_module.load_plugin

    def late(*args: Any, **kwargs: Any) -> Any:
        path.write_bytes(b"other code")
        return real(*args, **kwargs)

    runner = TensorRtRunner(path)
    monkeypatch.setattr(runner_module, "load_plugin", late)
    with pytest.raises(ArtifactError, match="changed"), runner:
        pass
    assert not deserialised(world)
    world.cuda.assert_clean()


def test_a_missing_plugin_library(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_plan(tmp_path, world)
    monkeypatch.setenv("MIMAMBA_PLUGIN", str(tmp_path / "none.so"))
    refuse(path, world, PluginError, "none.so")


def test_a_plugin_library_of_another_op_version(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_plugin(tmp_path / "libmimamba_plugin.so", library_bytes(version="2"))
    monkeypatch.setenv("MIMAMBA_PLUGIN", str(other))
    refuse(write_plan(tmp_path, world), world, PluginError, "SelectiveScan 2")


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ({"name": "signal"}, "signal"),
        ({"dtype": "HALF"}, "HALF"),
        ({"shape": [1, 4, 20]}, "4, 20"),
        ({"mode": "OUTPUT"}, "OUTPUT"),
    ],
)
def test_an_engine_with_other_tensors(world: World, tmp_path: Path, head: dict[str, Any], words: str) -> None:
    windows = {"name": "windows", "mode": "INPUT", "dtype": "FLOAT", "shape": [1, 3, 20]}
    logits = {"name": "logits", "mode": "OUTPUT", "dtype": "FLOAT", "shape": [1, 2]}
    path = write_plan(tmp_path, world, head={"tensors": [{**windows, **head}, logits]})
    refuse(path, world, EngineError, words)


def test_an_engine_with_another_profile(world: World, tmp_path: Path) -> None:
    shapes = {"windows": [[n, 3, 20] for n in (1, 2, 4)]}
    path = write_plan(tmp_path, world, "1,4,8", head={"profiles": [shapes]})
    refuse(path, world, EngineError, "do not match its manifest")


@pytest.mark.parametrize("fault", ["deserialize", "create_execution_context", "execute_async_v3"])
def test_what_tensorrt_refuses_is_told_in_its_words(world: World, tmp_path: Path, fault: str) -> None:
    path = write_plan(tmp_path, world)
    world.faults.add(fault)
    words = {
        "deserialize": "out of memory",
        "create_execution_context": "OutOfMemory",
        "execute_async_v3": "unspecified launch failure",
    }
    refuse(path, world, EngineError, words[fault])


CALLS = {
    "cudaStreamCreateWithFlags": 1,
    "cudaHostAlloc": 4,
    "cudaMalloc": 4,
    "cudaMemcpyAsync": 2,
    "cudaStreamSynchronize": 3,
    "cudaGraphLaunch": 2,
}


@pytest.mark.parametrize(("call", "after"), [(c, n) for c, times in CALLS.items() for n in range(times)])
def test_a_failing_cuda_call_leaves_nothing(discrete: World, tmp_path: Path, call: str, after: int) -> None:
    path = write_plan(tmp_path, discrete, "1,4,8")
    runner = TensorRtRunner(path)
    discrete.cuda.fail(call, after=after)
    with pytest.raises(EngineError, match=call), runner:
        pass
    discrete.cuda.assert_clean()
    with pytest.raises(RunnerError, match="activated"):
        check(runner, 4)
    with runner:
        check(runner, 4)
    discrete.cuda.assert_clean()


def test_a_failing_run_is_an_error_and_all_is_released(world: World, tmp_path: Path) -> None:
    with TensorRtRunner(write_plan(tmp_path, world), graph=False) as runner:
        world.faults.add("execute_async_v3")
        with pytest.raises(EngineError, match="unspecified launch failure"):
            check(runner, 1)
        check(runner, 1)
    world.cuda.assert_clean()


def test_a_device_that_breaks_while_running(world: World, tmp_path: Path) -> None:
    with TensorRtRunner(write_plan(tmp_path, world)) as runner:
        world.cuda.fail("cudaStreamSynchronize", "cudaErrorLaunchFailure")
        with pytest.raises(EngineError, match="cudaErrorLaunchFailure"):
            check(runner, 1)
    world.cuda.assert_clean()


def test_the_tensors_of_a_plan_are_described(world: World, tmp_path: Path) -> None:
    assert describe_engine(write_plan(tmp_path, world, "1,4,8")) == {
        "windows": {"mode": "INPUT", "type": "FLOAT", "shape": [-1, 3, 20]},
        "logits": {"mode": "OUTPUT", "type": "FLOAT", "shape": [-1, 2]},
    }
