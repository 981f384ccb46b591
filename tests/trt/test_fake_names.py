"""The fake tensorrt has no name and no parameter that the real one of its version lacks."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import types
from typing import Any

import pytest

from tests.fakes.names import snapshot
from tests.fakes.tensorrt import CLASSES, FLAVOURS, Creator, make_tensorrt

NAMES = {Creator: "IPluginCreatorV3One"}


def own(cls: type) -> dict[str, Any]:
    """Return the public names that a fake class has of its own or from fake bases."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("tests.fakes") and base.__name__ not in ("Bound", "TrtEnum"):
            held = {n: v for n, v in vars(base).items() if not n.startswith("_")}
            found |= {n: v for n, v in held.items() if not isinstance(v, type)}
    return found


def misfits(flavour: str, cls: type) -> list[str]:
    """Return what a fake class has and the real one has not."""
    name = NAMES.get(cls, cls.__name__)
    real = snapshot(flavour)["classes"][name]
    wrong = []
    for member, value in own(cls).items():
        if not isinstance(value, types.FunctionType):
            if member not in real["properties"]:
                wrong.append(f"{name}.{member}")
        elif member not in real["methods"]:
            wrong.append(f"{name}.{member}()")
        else:
            mine = list(inspect.signature(value).parameters)[1:]
            if not any(mine == theirs[: len(mine)] for theirs in real["methods"][member]):
                wrong.append(f"{name}.{member}({mine}): {real['methods'][member]}")
    return wrong


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_every_member_is_one_of_the_real_class(flavour: str) -> None:
    make_tensorrt(flavour)  # gives the loggers their severities
    assert [wrong for cls in (*CLASSES, Creator) for wrong in misfits(flavour, cls)] == []


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_every_name_of_the_module_is_one_of_the_real_module(flavour: str) -> None:
    module = make_tensorrt(flavour)
    names = {name for name in vars(module) if not name.startswith("_")}
    assert len(names) > 25
    assert names <= set(snapshot(flavour)["names"])
    assert tuple(map(int, module.__version__.split(".")[:2])) == tuple(
        map(int, snapshot(flavour)["version"].split(".")[:2])
    )


def test_a_name_that_does_not_exist_is_found() -> None:
    class ICudaEngine:
        __module__ = "tests.fakes.invented"

        def num_bindings(self) -> int:
            return 2

        def get_tensor_name(self, number: int) -> str:
            return ""

    assert len(misfits("10.3", ICudaEngine)) == 2


def test_what_went_with_11_is_gone() -> None:
    old, new = make_tensorrt("10.3"), make_tensorrt("11")
    for name in ("FP16", "INT8", "BF16", "FP8"):
        assert name in old.BuilderFlag.__members__
        assert name not in new.BuilderFlag.__members__
    assert "EXPLICIT_BATCH" not in new.NetworkDefinitionCreationFlag.__members__
    assert int(old.NetworkDefinitionCreationFlag.STRONGLY_TYPED) == 1
    assert int(new.NetworkDefinitionCreationFlag.STRONGLY_TYPED) == 0
    for gone in ("IInt8EntropyCalibrator2", "IInt8Calibrator", "IAlgorithmSelector", "QuantizationFlag"):
        assert gone in snapshot("10.3")["names"]
        assert gone not in snapshot("11")["names"]


@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_lean_bindings") is None,
    reason="needs the lean runtime: pip install 'mimamba-edge[dev]' on Linux x86-64",
)
def test_the_lean_runtime_has_the_same_runtime_classes() -> None:
    lean = importlib.import_module("tensorrt_lean_bindings")
    held = snapshot("11")["classes"]
    for name in ("Runtime", "ICudaEngine", "IExecutionContext", "IPluginRegistry", "ILogger", "IHostMemory"):
        there = {member for member in dir(getattr(lean, name)) if not member.startswith("_")}
        kept = {*held[name]["methods"], *held[name]["properties"]} - {"__init__"}
        assert kept <= there, name
    for name in ("TensorIOMode", "TensorLocation", "DataType", "ExecutionContextAllocationStrategy"):
        members = {key: int(value) for key, value in getattr(lean, name).__members__.items()}
        assert members == held[name]["members"], name
