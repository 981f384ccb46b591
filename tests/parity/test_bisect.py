"""Planted faults: the search names that very node, and nothing in clean files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")

from onnx import ModelProto, TensorProto, helper, numpy_helper  # noqa: E402

from mimamba_edge.artifact import Manifest, manifest_path, sha256_file, write_manifest  # noqa: E402
from mimamba_edge.export.onnx.bisect import bisect, half_bound  # noqa: E402
from mimamba_edge.export.onnx.functions import attach_functions  # noqa: E402
from mimamba_edge.export.onnx.schema import register  # noqa: E402
from mimamba_edge.export.quantize.recipes import RECIPES  # noqa: E402
from mimamba_edge.runtime.open import builtin_model  # noqa: E402
from mimamba_edge.runtime.reference import Reference, reference_path  # noqa: E402
from tests.cli.conftest import run  # noqa: E402, F401

pytestmark = [pytest.mark.torch, pytest.mark.ort]


@pytest.fixture(scope="module")
def windows():
    return Reference.beside(builtin_model()).windows[:48]


@pytest.fixture(scope="module")
def files(windows, tmp_path_factory) -> dict[str, ModelProto]:
    """The built-in model in every precision."""
    register()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIMAMBA_CACHE", str(tmp_path_factory.mktemp("cache")))
        plain = onnx.load(str(builtin_model()))
        made = {name: recipe.make(plain, windows) for name, recipe in RECIPES.items()}
    return {"fp32": plain, **made}


PRECISION = {"fp32": "fp32", **{name: recipe.precision for name, recipe in RECIPES.items()}}


def copy(model: ModelProto) -> ModelProto:
    out = ModelProto()
    out.CopyFrom(model)
    return out


def node_of(model: ModelProto, name: str):
    return next(node for node in model.graph.node if node.name == name)


def change(model: ModelProto, weight: str, edit: Callable[[np.ndarray], None]) -> None:
    tensor = next(t for t in model.graph.initializer if t.name.split("/fp16")[0] == weight)
    value = numpy_helper.to_array(tensor).copy()
    edit(value)
    tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))


def one_weight(weight: str) -> Callable[[ModelProto], None]:
    """Change one number by three times the largest, as a flipped bit of an exponent does."""

    def plant(model: ModelProto) -> None:
        def edit(value):
            value.reshape(-1)[value.size // 3] = 3 * np.abs(value).max()

        change(model, weight, edit)

    return plant


def cast_before_spectrum(model: ModelProto) -> None:
    block = node_of(model, "mstb/MultiScaleTemporalBlock")
    at = list(model.graph.node).index(block)
    source = block.input[0]
    down = helper.make_node("Cast", [source], ["planted/half"], name="planted/down", to=TensorProto.FLOAT16)
    up = helper.make_node("Cast", ["planted/half"], ["planted/back"], name="planted/up", to=TensorProto.FLOAT)
    model.graph.node.insert(at, down)
    model.graph.node.insert(at + 1, up)
    block.input[0] = "planted/back"


def swapped(model: ModelProto) -> None:
    scan = node_of(model, "tsfb.layers.1.mamba/SelectiveScan")
    scan.input[3], scan.input[4] = scan.input[4], scan.input[3]


def no_softplus(model: ModelProto) -> None:
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "delta_softplus":
                attribute.i = 0
    attach_functions(model)


def wrong_scale(value: str, factor: float) -> Callable[[ModelProto], None]:
    def plant(model: ModelProto) -> None:
        change(model, value, lambda scale: np.multiply(scale, np.float32(factor), out=scale))

    return plant


IN_PROJ, NORM = "tsfb.layers.0.mamba.in_proj/MatMul", "tsfb.layers.1.norm/LayerNormalization"
PLANTS = {
    "one weight of in_proj": (one_weight(f"{IN_PROJ}.weight"), "fp32", IN_PROJ),
    "one weight of in_proj, fp16": (one_weight(f"{IN_PROJ}.weight"), "fp16", IN_PROJ),
    "one weight of out_proj": (
        one_weight("tsfb.layers.1.mamba.out_proj/MatMul.weight"),
        "fp32",
        "tsfb.layers.1.mamba.out_proj/MatMul",
    ),
    "one weight of the block": (
        one_weight("mstb.msp1.fused_weight"),
        "fp32",
        "mstb/MultiScaleTemporalBlock",
    ),
    "one weight of the block, fp16": (
        one_weight("mstb.msp2.fused_weight"),
        "fp16",
        "mstb/MultiScaleTemporalBlock",
    ),
    "a cast before the spectrum": (cast_before_spectrum, "fp32", "planted/down"),
    "a cast before the spectrum, fp16": (cast_before_spectrum, "fp16", "planted/down"),
    "a cast before the spectrum, INT8": (cast_before_spectrum, "int8-tensorrt", "planted/down"),
    "scale of LayerNorm": (wrong_scale("tsfb.layers.1.norm.weight", 1.1), "fp32", NORM),
    "scale of an activation": (
        wrong_scale(f"{IN_PROJ}/input/scale", 2.0),
        "int8-tensorrt",
        f"{IN_PROJ}/input/DequantizeLinear",
    ),
    "scale of an activation, too small": (
        wrong_scale(f"{IN_PROJ}/input/scale", 0.25),
        "int8-tensorrt",
        f"{IN_PROJ}/input/DequantizeLinear",
    ),
    "scale of one column of weights": (
        lambda model: change(model, f"{IN_PROJ}/weight/scale", lambda s: s.__setitem__(7, 2 * s[7])),
        "int8-tensorrt",
        f"{IN_PROJ}/weight/DequantizeLinear",
    ),
    "B and C swapped": (swapped, "fp32", "tsfb.layers.1.mamba/SelectiveScan"),
    "B and C swapped, fp16": (swapped, "fp16", "tsfb.layers.1.mamba/SelectiveScan"),
    "B and C swapped, INT8 for the CPU": (swapped, "int8-cpu", "tsfb.layers.1.mamba/SelectiveScan"),
    "no softplus": (no_softplus, "fp32", "tsfb.layers.0.mamba/SelectiveScan"),
    "no softplus, fp16": (no_softplus, "fp16", "tsfb.layers.0.mamba/SelectiveScan"),
}


@pytest.mark.parametrize("name", PLANTS)
def test_the_planted_node_is_named(files, windows, name):
    plant, precision, node = PLANTS[name]
    candidate = copy(files[precision])
    plant(candidate)
    found = bisect(files["fp32"], candidate, windows, PRECISION[precision])
    assert found.first is not None
    assert found.first.node == node
    # What the noise of INT8 hides is found by its wiring.
    assert found.first.error > found.first.tolerance or precision == "int8-cpu"
    assert not found.first.within or found.differences
    assert all(step.within for step in found.before)
    assert 0 <= found.first.window < len(windows)


@pytest.mark.parametrize("precision", PRECISION)
def test_nothing_is_named_in_clean_files(files, windows, precision):
    found = bisect(files["fp32"], files[precision], windows, PRECISION[precision])
    assert found.first is None
    assert found.compared >= 45


def test_the_window_named_is_the_one_that_shows_it(files, windows):
    """One window is far from the others: a gain that is wrong for large values only shows there."""
    some = windows[:8].copy()
    candidate = copy(files["fp32"])
    block = node_of(candidate, "mstb/MultiScaleTemporalBlock")
    at = list(candidate.graph.node).index(block)
    limit = numpy_helper.from_array(np.float32(np.abs(some).max() * 1.01), "planted/limit")
    candidate.graph.initializer.append(limit)
    clip = helper.make_node("Min", [block.input[0], "planted/limit"], ["planted/clipped"], name="planted/Min")
    candidate.graph.node.insert(at, clip)
    block.input[0] = "planted/clipped"
    some[5] *= 3
    found = bisect(files["fp32"], candidate, some, "fp32")
    assert found.first is not None
    assert found.first.window == 5


def test_differences_are_told(files, windows):
    def told(plant, precision="fp32"):
        candidate = copy(files[precision])
        plant(candidate)
        return " ".join(bisect(files["fp32"], candidate, windows, PRECISION[precision]).differences)

    assert "1 of" in told(one_weight(f"{IN_PROJ}.weight"))
    assert "attribute delta_softplus: 0" in told(no_softplus)
    wiring = told(swapped)
    assert "input 3" in wiring
    assert "input 4" in wiring
    assert "only the candidate has this node: Cast" in told(cast_before_spectrum)


def test_inside_of_a_body_is_told(files, windows):
    candidate = copy(files["fp32"])
    swapped(candidate)
    first = bisect(files["fp32"], candidate, windows, "fp32").first
    assert first is not None
    assert first.inside


def test_bound_with_fp16_sums(files, windows):
    bound = half_bound(files["fp32"], files["fp16"], windows[:2])
    assert bound is not None
    assert 1e-5 < bound.error < bound.tolerance


def placed(folder: Path, model: ModelProto, precision: str, name: str) -> Path:
    path = folder / name
    path.write_bytes(model.SerializeToString())
    plain = Manifest.load(builtin_model())
    manifest = Manifest(path.name, "onnx", precision, sha256_file(path), plain.source_sha256, plain.contract)
    write_manifest(path, manifest)
    return path


@pytest.fixture
def plain(tmp_path) -> Path:
    for path in (builtin_model(), reference_path(builtin_model())):
        for one in (path, manifest_path(path)):
            shutil.copy(one, tmp_path / one.name)
    return tmp_path / builtin_model().name


def test_the_command_names_it_and_ends_with_1(run, files, plain, tmp_path):  # noqa: F811
    bad = copy(files["fp16"])
    swapped(bad)
    report = tmp_path / "r.json"
    done = run("parity", plain, placed(tmp_path, bad, "fp16", "bad.onnx"), "--bisect", "--json", report)
    assert done.code == 1
    assert "tsfb.layers.1.mamba/SelectiveScan" in done.err
    found = json.loads(report.read_text())["bisect"]
    assert found["found"]
    assert found["first"]["node"] == "tsfb.layers.1.mamba/SelectiveScan"
    assert found["first"]["module"] == "tsfb.layers.1.mamba"


def test_the_command_says_when_nothing_is_found(run, files, plain, tmp_path):  # noqa: F811
    good = placed(tmp_path, files["fp16"], "fp16", "good.onnx")
    done = run("parity", plain, good, "--bisect")
    assert done.code == 0, done.err
    assert "no node leaves its tolerance" in done.out
    assert "pessimistic bound" in done.out


def test_a_file_without_bodies_cannot_be_searched(run, plain, tmp_path):  # noqa: F811
    done = run("parity", plain, tmp_path / "x.trt.onnx", "--bisect")
    assert done.code == 2
