"""The fake TensorRT keeps the rules that the code under test must know; sources stand at its methods."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.tensorrt import FLAVOURS, Device, install, library_bytes, plan_bytes, plan_head
from tests.fakes.world import World
from tests.trt.models import write_trt_model


@pytest.fixture(params=FLAVOURS)
def world(request: Any, monkeypatch: pytest.MonkeyPatch) -> World:
    return install(monkeypatch, request.param)


@pytest.fixture
def trt(world: World) -> Any:
    return sys.modules["tensorrt"]


def words(world: World) -> str:
    return "\n".join(text for _, text in world.messages)


@pytest.fixture
def network(trt: Any, world: World, tmp_path: Path) -> Any:
    """A parsed network with a dynamic batch, and its builder."""
    pytest.importorskip("onnx", reason="needs onnx: pip install 'mimamba-edge[export]'")
    library = tmp_path / "plugin.so"
    library.write_bytes(library_bytes())
    assert trt.get_plugin_registry().load_library(str(library)) is not None
    builder = trt.Builder(trt.Logger())
    strong = int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    made = builder.create_network(1 << strong)
    parser = trt.OnnxParser(made, builder.logger)
    assert parser.parse(write_trt_model(tmp_path / "m.trt.onnx").read_bytes())
    return builder, made


def configured(builder: Any, *shapes: tuple[int, int, int]) -> Any:
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    profile.set_shape("windows", *shapes)
    assert config.add_optimization_profile(profile) == 0
    return config


SHAPES = ((1, 3, 20), (4, 3, 20), (8, 3, 20))


def test_a_logger_must_call_its_base(trt: Any) -> None:
    class Forgetful(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            self.kept: list[str] = []

    with pytest.raises(TypeError, match="must be called when overriding __init__"):
        Forgetful()


def test_what_a_logger_raises_is_lost(trt: Any, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            raise ValueError("mine")

    assert trt.Runtime(Broken()).deserialize_cuda_engine(b"x") is None
    assert "mine" in capsys.readouterr().out


def test_bound_objects_take_no_new_attributes(trt: Any) -> None:
    config = trt.Builder(trt.Logger()).create_builder_config()
    with pytest.raises(AttributeError):
        config.workspace_size = 1


def test_enums_are_no_integers(trt: Any) -> None:
    with pytest.raises(TypeError):
        1 << trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    with pytest.raises(TypeError):
        trt.Builder(trt.Logger()).create_builder_config().set_flag(0)


def test_a_network_of_11_is_strongly_typed_whatever_the_flag(trt: Any, world: World) -> None:
    flag = trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    builder = trt.Builder(trt.Logger())
    assert builder.create_network(0).get_flag(flag) == (world.flavour == "11")
    assert builder.create_network(1 << int(flag)).get_flag(flag)


def test_a_build_gives_a_plan_that_can_be_read(trt: Any, network: Any) -> None:
    builder, made = network
    plan = builder.build_serialized_network(made, configured(builder, *SHAPES))
    assert plan.nbytes == len(bytes(plan))
    with pytest.raises(TypeError):
        len(plan)
    engine = trt.Runtime(builder.logger).deserialize_cuda_engine(plan)
    assert [tuple(dims) for dims in engine.get_tensor_profile_shape("windows", 0)] == list(SHAPES)
    assert engine.create_execution_context().infer_shapes() == ["windows"]


def test_precision_flags_are_refused(trt: Any, network: Any, world: World) -> None:
    builder, made = network
    config = configured(builder, *SHAPES)
    if world.flavour == "11":
        assert not hasattr(trt.BuilderFlag, "FP16")
        return
    config.set_flag(trt.BuilderFlag.FP16)
    assert builder.build_serialized_network(made, config) is None
    assert "FP16" in words(world)


def test_a_dynamic_network_needs_a_profile(network: Any, world: World) -> None:
    builder, made = network
    assert builder.build_serialized_network(made, builder.create_builder_config()) is None
    assert "no optimization profile" in words(world)


def test_profiles_that_are_not_valid(network: Any) -> None:
    builder, _ = network
    profile = builder.create_optimization_profile()
    with pytest.raises(RuntimeError, match="inconsistent"):
        profile.set_shape("windows", (1, 3), (1, 3, 20), (1, 3, 20))
    profile.set_shape("windows", (8, 3, 20), (4, 3, 20), (1, 3, 20))
    assert builder.create_builder_config().add_optimization_profile(profile) == -1


def test_the_parser_answers_false_with_errors(trt: Any, world: World, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="needs onnx: pip install 'mimamba-edge[export]'")
    builder = trt.Builder(trt.Logger())
    parser = trt.OnnxParser(builder.create_network(0), builder.logger)
    assert not parser.parse(write_trt_model(tmp_path / "m.trt.onnx").read_bytes())
    assert "Plugin not found" in parser.get_error(0).desc()
    assert parser.get_error(0).node_operator() == "SelectiveScan"
    assert not parser.parse(b"not onnx")
    assert not parser.parse_from_file(str(tmp_path / "none"))
    assert parser.num_errors == 3
    with pytest.raises(TypeError):
        parser.parse_from_file(tmp_path / "m.trt.onnx")


def test_a_monitor_sees_every_phase_end_and_can_stop(trt: Any, network: Any) -> None:
    builder, made = network
    seen: list[tuple[str, str]] = []

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        stop = False

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            seen.append(("start", phase_name))

        def step_complete(self, phase_name: str, step: int) -> bool:
            return not self.stop

        def phase_finish(self, phase_name: str) -> None:
            seen.append(("finish", phase_name))

    for stop in (False, True):
        seen.clear()
        config = configured(builder, *SHAPES)
        monitor = config.progress_monitor = Monitor()
        monitor.stop = stop
        assert (builder.build_serialized_network(made, config) is None) == stop
        assert seen[0] == ("start", "Building Engine")
        assert sorted(n for what, n in seen if what == "start") == sorted(n for w, n in seen if w == "finish")


def test_a_timing_cache_of_another_device_is_refused_unless_told(
    trt: Any, monkeypatch: pytest.MonkeyPatch, world: World
) -> None:
    config = trt.Builder(trt.Logger()).create_builder_config()
    kept = bytes(config.create_timing_cache(b"").serialize())
    assert config.create_timing_cache(b"garbage") is None
    assert config.set_timing_cache(config.create_timing_cache(kept), False)
    install(monkeypatch, world.flavour, device=Device("NVIDIA H200", 9, 0))
    other = sys.modules["tensorrt"].Builder(trt.Logger()).create_builder_config()  # type: ignore[attr-defined]
    assert not other.set_timing_cache(other.create_timing_cache(kept), False)
    assert other.set_timing_cache(other.create_timing_cache(kept), True)


def test_a_memory_pool_larger_than_the_device_changes_nothing(trt: Any, world: World) -> None:
    config = trt.Builder(trt.Logger()).create_builder_config()
    pool = trt.MemoryPoolType.WORKSPACE
    config.set_memory_pool_limit(pool, 1 << 20)
    config.set_memory_pool_limit(pool, 1 << 50)
    assert config.get_memory_pool_limit(pool) == 1 << 20


def test_a_library_loads_once_and_must_outlive_engines(trt: Any, world: World, tmp_path: Path) -> None:
    registry, path = trt.get_plugin_registry(), tmp_path / "plugin.so"
    assert registry.load_library(str(path)) is None
    path.write_bytes(library_bytes())
    handle = registry.load_library(str(path))
    assert registry.load_library(str(path)) is None
    engine = trt.Runtime(trt.Logger()).deserialize_cuda_engine(
        plan_bytes(plan_head(world.version, world.cuda.device))
    )
    assert engine is not None
    registry.deregister_library(handle)
    assert world.cuda.violations == ["a plugin library was unloaded under a living engine"]


def test_a_context_without_shape_or_address_does_not_run(trt: Any, world: World) -> None:
    head = plan_head(world.version, world.cuda.device, batch=(1, 4, 8), plugins=())
    context = trt.Runtime(trt.Logger()).deserialize_cuda_engine(plan_bytes(head)).create_execution_context()
    assert not context.execute_async_v3(1)
    assert not context.set_input_shape("windows", (9, 3, 20))
    assert not context.set_input_shape("other", (1, 3, 20))
    assert not context.set_tensor_address("other", 256)
    assert context.set_input_shape("windows", (2, 3, 20))
    assert context.infer_shapes() == []
    assert tuple(context.get_tensor_shape("logits")) == (2, 2)
    with pytest.raises(TypeError):
        context.execute_async_v3(object())
