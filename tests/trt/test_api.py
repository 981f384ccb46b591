"""The one face of TensorRT 10.3 and 11, on fakes that hold the real ones' rules."""

from __future__ import annotations

import importlib
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from mimamba_edge.errors import DependencyError, EngineError
from mimamba_edge.trt.api import Api, load_tensorrt
from mimamba_edge.trt.plugin import load_plugin
from tests.fakes.tensorrt import FLAVOURS, VERSIONS
from tests.fakes.world import World
from tests.trt.machine import H200, make_machine
from tests.trt.models import write_trt_model

pytestmark = pytest.mark.torch

ROOM = 64 << 20


def shapes(least: int, best: int, most: int) -> dict[str, Any]:
    return {"windows": tuple((n, 3, 20) for n in (least, best, most))}


@pytest.fixture(params=FLAVOURS)
def world(request: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    return make_machine(monkeypatch, tmp_path, request.param)


@pytest.fixture
def api(world: World, tmp_path: Path) -> Api:
    api = load_tensorrt()
    load_plugin(api.trt, tmp_path / "libmimamba_plugin.so", logger=api.logger)
    return api


@pytest.fixture
def onnx(tmp_path: Path) -> bytes:
    return write_trt_model(tmp_path / "tiny.trt.onnx").read_bytes()


def head(plan: bytes) -> dict[str, Any]:
    size = int.from_bytes(plan[8:16], "little")
    return json.loads(plan[16 : 16 + size])


def spy(monkeypatch: pytest.MonkeyPatch, api: Api, kind: str, method: str) -> list[Any]:
    """Return the list of what a method of the fake is called on and with."""
    cls, calls = getattr(api.trt, kind), []
    real = getattr(cls, method)

    def call(self: Any, *args: Any) -> Any:
        calls.append((self, *args))
        return real(self, *args)

    monkeypatch.setattr(cls, method, call)
    return calls


def test_version_and_one_logger_for_a_process(world: World) -> None:
    api = load_tensorrt()
    assert api.version_text == VERSIONS[world.flavour]
    assert api.version[0] == int(world.version.split(".")[0])
    assert load_tensorrt() is api


def test_absent_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(importlib, "import_module", lambda name: _raise(ModuleNotFoundError("no", name=name)))
    with pytest.raises(
        DependencyError, match="JetPack: python3 -m venv --system-site-packages, not with pip"
    ):
        load_tensorrt()


def _raise(error: Exception) -> Any:
    raise error


def test_a_library_that_is_missing_below_it_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    words = "libnvinfer.so.10: cannot open shared object file"
    monkeypatch.setattr(importlib, "import_module", lambda name: _raise(ImportError(words)))
    with pytest.raises(DependencyError, match=words) as caught:
        load_tensorrt()
    assert "cannot be imported" in caught.value.what


def test_the_lean_runtime_alone_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib, "import_module", lambda name: _raise(ModuleNotFoundError("no", name=name)))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "tensorrt_lean" or None)
    with pytest.raises(EngineError, match="lean or dispatch") as caught:
        load_tensorrt()
    assert caught.value.got == "tensorrt_lean"


@pytest.mark.parametrize("version", ["8.6.1", "10.0.1", "10.2.0"])
def test_older_versions_are_refused(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    old = types.ModuleType("tensorrt")
    old.__version__ = version  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorrt", old)
    with pytest.raises(EngineError, match=r"10\.3 or later") as caught:
        load_tensorrt()
    assert version in str(caught.value.got)


def test_a_plan_that_is_refused_is_told_with_tensorrts_words(world: World) -> None:
    with pytest.raises(EngineError, match="Magic tag does not match"):
        load_tensorrt().deserialize(b"no plan")


def test_a_runtime_that_does_not_start_is_told_with_tensorrts_words(world: World) -> None:
    world.faults.add("createInferRuntime")
    with pytest.raises(EngineError, match="CUDA initialization failure with error: 35") as caught:
        load_tensorrt().deserialize(b"no plan")
    assert "cannot start its runtime" in caught.value.what


def test_old_words_are_not_quoted_for_a_new_error(world: World) -> None:
    api = load_tensorrt()
    api.logger.log(api.trt.ILogger.Severity.ERROR, "of long ago")
    with pytest.raises(EngineError) as caught:
        api.deserialize(b"no plan")
    assert "of long ago" not in str(caught.value)


def test_static_batch_gives_static_tensors_and_no_profile(api: Api, onnx: bytes) -> None:
    plan = head(api.build(onnx, shapes=shapes(4, 4, 4), workspace_bytes=ROOM).plan)
    assert [tensor["shape"] for tensor in plan["tensors"]] == [[4, 3, 20], [4, 2]]
    assert plan["profiles"] == [{}]


def test_dynamic_batch_gives_a_profile(api: Api, onnx: bytes) -> None:
    plan = head(api.build(onnx, shapes=shapes(1, 8, 64), workspace_bytes=ROOM).plan)
    assert [tensor["shape"] for tensor in plan["tensors"]] == [[-1, 3, 20], [-1, 2]]
    assert plan["profiles"] == [{"windows": [[1, 3, 20], [8, 3, 20], [64, 3, 20]]}]


def test_types_are_the_files_own(
    monkeypatch: pytest.MonkeyPatch, world: World, api: Api, onnx: bytes
) -> None:
    networks = spy(monkeypatch, api, "Builder", "create_network")
    builds = spy(monkeypatch, api, "Builder", "build_serialized_network")
    api.build(onnx, shapes=shapes(1, 1, 1), workspace_bytes=ROOM)
    # kSTRONGLY_TYPED is bit 1 in 10 (NvInfer.h); in 11 it is bit 0, deprecated, and nothing is passed.
    assert networks[0][1] == {"10.3": 2, "11": 0}[world.flavour]
    _, network, config = builds[0]
    assert network.get_flag(api.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    assert not config.get_flag(api.trt.BuilderFlag.TF32), "fp32 would be rounded to 10 bits"
    assert config.get_memory_pool_limit(api.trt.MemoryPoolType.WORKSPACE) == ROOM


def test_a_node_without_plugin_is_named(api: Api, tmp_path: Path) -> None:
    onnx = write_trt_model(tmp_path / "other.trt.onnx", op="NoSuchOp").read_bytes()
    with pytest.raises(EngineError, match=r"node 0 /layers.0/scan \(NoSuchOp\): .*Plugin not found"):
        api.build(onnx, shapes=shapes(1, 1, 1), workspace_bytes=ROOM)


def test_a_damaged_file_is_refused_by_the_parser(api: Api, onnx: bytes) -> None:
    with pytest.raises(EngineError, match="Failed to parse ONNX model"):
        api.build(onnx[: len(onnx) // 2], shapes=shapes(1, 1, 1), workspace_bytes=ROOM)


def test_none_from_the_builder_is_told_with_tensorrts_words(world: World, api: Api, onnx: bytes) -> None:
    world.faults.add("build_serialized_network")
    with pytest.raises(EngineError, match="Could not find any implementation for node"):
        api.build(onnx, shapes=shapes(1, 1, 1), workspace_bytes=ROOM)


def test_a_builder_that_does_not_start(world: World, api: Api, onnx: bytes) -> None:
    world.faults.add("createInferBuilder")
    with pytest.raises(EngineError, match="error: 35"):
        api.build(onnx, shapes=shapes(1, 1, 1), workspace_bytes=ROOM)


def test_shapes_that_the_model_does_not_take(api: Api, onnx: bytes, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"\(-1, 3, 20\)"):
        api.build(onnx, shapes={"windows": ((1, 3, 21),) * 3}, workspace_bytes=ROOM)
    with pytest.raises(EngineError, match="different inputs"):
        api.build(onnx, shapes={"signal": ((1, 3, 20),) * 3}, workspace_bytes=ROOM)
    fixed = write_trt_model(tmp_path / "fixed.trt.onnx", batch=2).read_bytes()
    with pytest.raises(EngineError, match="does not take this shape"):
        api.build(fixed, shapes=shapes(1, 8, 64), workspace_bytes=ROOM)


def test_timings_are_used_again(monkeypatch: pytest.MonkeyPatch, api: Api, onnx: bytes) -> None:
    first = api.build(onnx, shapes=shapes(1, 1, 1), workspace_bytes=ROOM)
    given = spy(monkeypatch, api, "IBuilderConfig", "create_timing_cache")
    second = api.build(onnx, shapes=shapes(1, 1, 1), workspace_bytes=ROOM, timings=first.timings)
    assert [data for _, data in given] == [first.timings]
    assert not second.notes
    assert len(second.timings) > len(first.timings) > 0


def test_timings_that_are_no_cache_are_ignored_with_a_note(api: Api, onnx: bytes) -> None:
    built = api.build(onnx, shapes=shapes(1, 1, 1), workspace_bytes=ROOM, timings=b"garbage")
    assert built.notes == [note for note in built.notes if "magicTag mismatch" in note]
    assert len(built.notes) == 1
    assert built.timings


def test_timings_of_another_device_are_ignored_with_a_note(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, onnx: bytes
) -> None:
    made = []
    for folder, device in (("a", None), ("b", H200)):
        (tmp_path / folder).mkdir()
        more = {} if device is None else {"device": device}
        make_machine(monkeypatch, tmp_path / folder, **more)
        api = load_tensorrt()
        load_plugin(api.trt, tmp_path / folder / "libmimamba_plugin.so", logger=api.logger)
        timings = made[0].timings if made else b""
        made.append(api.build(onnx, shapes=shapes(1, 1, 1), workspace_bytes=ROOM, timings=timings))
    assert ["timing cache: ignored" in note for note in made[1].notes] == [True]
    assert made[1].plan


def test_progress_only_goes_up_and_ends_at_one(api: Api, onnx: bytes) -> None:
    seen: list[tuple[str, float]] = []
    api.build(
        onnx,
        shapes=shapes(1, 1, 1),
        workspace_bytes=ROOM,
        on_progress=lambda phase, share: seen.append((phase, share)) or True,
    )
    shares = [share for _, share in seen]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    # Half of four steps inside the second of three.
    assert any(phase == "Tactic selection" and abs(share - (1 + 2 / 4) / 3) < 1e-9 for phase, share in seen)


def test_the_monitor_can_end_a_build(api: Api, onnx: bytes) -> None:
    with pytest.raises(EngineError, match="cancelled"):
        api.build(onnx, shapes=shapes(1, 1, 1), workspace_bytes=ROOM, on_progress=lambda *_: False)


def test_the_sink_hears_everything(api: Api) -> None:
    heard: list[tuple[str, str]] = []
    api.logger.sink = lambda severity, text: heard.append((severity, text))
    severity = api.trt.ILogger.Severity
    for name in ("VERBOSE", "INFO", "WARNING", "ERROR", "INTERNAL_ERROR"):
        api.logger.log(severity.__members__[name], name.lower())
    assert heard == [(n, n.lower()) for n in ("VERBOSE", "INFO", "WARNING", "ERROR", "INTERNAL_ERROR")]
    assert api.logger.words() == "error; internal_error"
    api.logger.forget()
    assert api.logger.words() is None
