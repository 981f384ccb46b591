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
from mimamba_edge.export.diagnose.bisect import bisect, half_bound  # noqa: E402
from mimamba_edge.export.onnx.functions import attach_functions  # noqa: E402
from mimamba_edge.export.onnx.schema import register  # noqa: E402
from mimamba_edge.export.quantize.recipes import RECIPES  # noqa: E402
from mimamba_edge.load import builtin_model  # noqa: E402
from mimamba_edge.runtime.reference import Reference, reference_path  # noqa: E402
from tests.cli.conftest import run  # noqa: E402, F401

pytestmark = [pytest.mark.torch, pytest.mark.ort, pytest.mark.slow]


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


def another_op(model: ModelProto) -> None:
    node_of(model, "tsfb.layers.1/Add").op_type = "Sub"


def exchanged_outputs(model: ModelProto) -> None:
    split = node_of(model, "tsfb.layers.0.mamba/Split_0")
    split.output[0], split.output[1] = split.output[1], split.output[0]


def fewer_periods(model: ModelProto) -> None:
    block = node_of(model, "mstb/MultiScaleTemporalBlock")
    next(a for a in block.attribute if a.name == "top_k").i = 2
    attach_functions(model)


def not_a_number(model: ModelProto) -> None:
    change(model, f"{IN_PROJ}.weight", lambda value: value.reshape(-1).__setitem__(0, np.nan))


def another_shape(model: ModelProto) -> None:
    norm = node_of(model, "tsfb.norm/LayerNormalization")
    at = list(model.graph.node).index(norm)
    turned = helper.make_node("Transpose", [norm.input[0]], ["turned"], name="turned", perm=[0, 2, 1])
    back = helper.make_node("Transpose", [norm.output[0]], ["back"], name="back", perm=[0, 2, 1])
    pool = node_of(model, "Reshape")
    axis = node_of(model, "tsfb.norm/LayerNormalization").attribute[0]
    assert axis.name
    model.graph.node.insert(at, turned)
    model.graph.node.insert(at + 2, back)
    norm.input[0], pool.input[0] = "turned", "back"
    for name, size in (("scale", np.ones(4)), ("bias", np.zeros(4))):
        model.graph.initializer.append(numpy_helper.from_array(size.astype(np.float32), f"turned/{name}"))
    norm.input[1:] = ["turned/scale", "turned/bias"]


def renamed(model: ModelProto, name: str = "") -> ModelProto:
    """Name nothing as before, as another exporter would; nodes are numbered, or have no names at all."""
    out = copy(model)
    names = {value.name: value.name for value in (*out.graph.input, *out.graph.output)}
    for tensor in out.graph.initializer:
        names[tensor.name] = tensor.name = f"w{len(names)}"
    for i, node in enumerate(out.graph.node):
        node.name = f"{name}{i}" if name else ""
        node.input[:] = [names[value] for value in node.input]
        for value in node.output:
            names.setdefault(value, f"v{len(names)}")
        node.output[:] = [names[value] for value in node.output]
    del out.graph.value_info[:]
    return out


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
    "another op": (another_op, "fp32", "tsfb.layers.1/Add"),
    "another op, fp16": (another_op, "fp16", "tsfb.layers.1/Add"),
    "another op, INT8": (another_op, "int8-tensorrt", "tsfb.layers.1/Add"),
    "outputs exchanged": (exchanged_outputs, "fp32", "tsfb.layers.0.mamba/Split_0"),
    "outputs exchanged, fp16": (exchanged_outputs, "fp16", "tsfb.layers.0.mamba/Split_0"),
    "fewer periods": (fewer_periods, "fp32", "mstb/MultiScaleTemporalBlock"),
    "not a number": (not_a_number, "fp32", IN_PROJ),
    "another shape": (another_shape, "fp32", "tsfb.norm/LayerNormalization"),
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
    assert "op Sub, in the reference Add" in told(another_op)
    assert "outputs exchanged: tsfb.layers.0.mamba/Split_0:1, " in told(exchanged_outputs)
    assert "attribute top_k: 2, in the reference 3" in told(fewer_periods)
    assert "numbers of tsfb.layers.0.mamba.in_proj/MatMul are not finite, in the reference 0" in told(
        not_a_number
    )
    assert "has the shape (48, 128, 4), in the reference (48, 4, 128)" in told(another_shape)


@pytest.mark.parametrize("name", ["", "n"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8-tensorrt"])
def test_files_with_other_names_are_compared_by_structure(files, windows, precision, name):
    found = bisect(files["fp32"], renamed(files[precision], name), windows, PRECISION[precision])
    assert found.first is None
    assert found.by_structure == len(files["fp32"].graph.node)
    assert found.alone == []
    assert found.compared >= 45


@pytest.mark.parametrize("name", ["", "n"])
@pytest.mark.parametrize(
    "plant",
    [another_op, swapped, not_a_number, one_weight("tsfb.layers.1.mamba.out_proj/MatMul.weight")],
)
def test_the_planted_node_is_named_under_other_names(files, windows, plant, name):
    candidate = copy(files["fp32"])
    plant(candidate)
    expected = bisect(files["fp32"], candidate, windows, "fp32").first
    found = bisect(files["fp32"], renamed(candidate, name), windows, "fp32")
    assert expected is not None
    assert found.first is not None
    assert (found.first.twin, found.first.place) == (expected.twin, expected.place)
    assert found.first.module == expected.module
    assert found.first.node
    assert bool(found.first.inside) == bool(expected.inside)
    assert found.differences


def test_nodes_that_are_there_twice_do_not_take_part(files, windows):
    """Another exporter's node in the middle: what follows is still compared with its twin."""
    candidate = copy(files["fp32"])
    cast_before_spectrum(candidate)
    change(candidate, "tsfb.layers.1.norm.weight", lambda scale: np.multiply(scale, 1.1, out=scale))
    found = bisect(files["fp32"], renamed(candidate), windows, "fp32")
    assert found.first is not None
    assert found.first.op == "Cast"  # named by what it stands for: fp16 before the spectrum


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
    done = run("parity", plain, placed(tmp_path, bad, "fp16", "bad.onnx"), "--bisect", "--report", report)
    assert done.code == 1
    assert "tsfb.layers.1.mamba/SelectiveScan" in done.err
    found = json.loads(report.read_text())["bisect"]
    assert found["found"]
    assert found["first"]["node"] == "tsfb.layers.1.mamba/SelectiveScan"
    assert found["first"]["module"] == "tsfb.layers.1.mamba"


def test_numbers_that_are_not_finite_reach_the_report(run, files, plain, tmp_path):  # noqa: F811
    bad = copy(files["fp32"])
    not_a_number(bad)
    report = tmp_path / "r.json"
    done = run("parity", plain, placed(tmp_path, bad, "fp32", "bad.onnx"), "--bisect", "--report", report)
    assert done.code == 1, done.err
    assert IN_PROJ in done.err
    assert "infinite" in done.out
    found = json.loads(report.read_text())["bisect"]
    assert found["first"]["node"] == IN_PROJ
    assert found["first"]["error"] is None
    assert "not finite" in found["first"]["note"]


def test_another_number_of_periods_is_a_finding(run, files, plain, tmp_path):  # noqa: F811
    bad = copy(files["fp32"])
    fewer_periods(bad)
    done = run("parity", plain, placed(tmp_path, bad, "fp32", "bad.onnx"), "--bisect")
    assert done.code == 1, done.err
    assert "2 a window, the reference 3" in done.out
    assert "attribute top_k: 2, in the reference 3" in done.out
    assert "mstb/MultiScaleTemporalBlock" in done.err


def test_the_command_says_what_was_matched_how(run, files, plain, tmp_path):  # noqa: F811
    done = run("parity", plain, placed(tmp_path, renamed(files["fp32"]), "fp32", "other.onnx"), "--bisect")
    assert done.code == 0, done.err
    assert "44 nodes have other names than in the reference" in done.out
    stranger = copy(files["fp32"])
    for held in (
        stranger.graph.node,
        stranger.graph.initializer,
        stranger.functions,
        stranger.graph.value_info,
    ):
        del held[:]
    size = Manifest.load(plain).contract.n_chans * Manifest.load(plain).contract.n_times
    ends = np.array([[0.0, 1.0]] * size, np.float32)
    stranger.graph.initializer.append(numpy_helper.from_array(ends, "ends"))
    stranger.graph.node.append(helper.make_node("Flatten", ["windows"], ["row"], name="a"))
    stranger.graph.node.append(helper.make_node("Mul", ["row", "row"], ["square"], name="b"))
    stranger.graph.node.append(helper.make_node("MatMul", ["square", "ends"], ["logits"], name="c"))
    done = run("parity", plain, placed(tmp_path, stranger, "fp32", "stranger.onnx"), "--bisect")
    assert done.code == 1, done.err
    assert "nothing could be compared: none of the candidate's 3 nodes" in done.out


def test_the_command_says_when_nothing_is_found(run, files, plain, tmp_path):  # noqa: F811
    good = placed(tmp_path, files["fp16"], "fp16", "good.onnx")
    done = run("parity", plain, good, "--bisect")
    assert done.code == 0, done.err
    assert "all nodes are within their tolerance" in done.out
    assert "worst case" in done.out


def test_a_file_without_bodies_cannot_be_searched(run, plain, tmp_path):  # noqa: F811
    done = run("parity", plain, tmp_path / "x.trt.onnx", "--bisect")
    assert done.code == 2
