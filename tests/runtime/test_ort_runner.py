import io
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mimamba_edge.contract import LOGITS, WINDOWS
from mimamba_edge.errors import ArtifactError, ConfigError, ContractError, DependencyError, RunnerError
from mimamba_edge.runtime.expansion import read_model
from mimamba_edge.runtime.ort import OrtRunner, open_session
from mimamba_edge.runtime.reference import Reference, reference_path
from tests.attack.hostile_checkpoints import zeros_member
from tests.modelfiles import answers, noise, tiny_contract, write_manifest_for, write_model, write_reference

pytestmark = [pytest.mark.torch, pytest.mark.ort]


@pytest.mark.parametrize("batch", [1, 3, 64])
@pytest.mark.parametrize("threads", [None, 1])
def test_runs_what_the_file_says(tmp_path, batch, threads) -> None:
    contract = write_model(tmp_path / "m.onnx")
    windows = noise(contract, batch)
    with OrtRunner(tmp_path / "m.onnx", threads=threads) as runner:
        np.testing.assert_allclose(runner.logits(windows), answers(contract, windows), rtol=1e-4, atol=1e-5)
        assert (runner.kind, runner.precision, runner.auxiliary) == ("onnxruntime-cpu", "fp32", ())
        # Not contiguous in memory: the same answer.
        turned = np.asfortranarray(windows)
        assert np.array_equal(runner.logits(turned), runner.logits(windows))
    with pytest.raises(RunnerError, match="not loaded"):
        runner.logits(windows)


def test_the_contract_is_there_before_the_file_is_loaded(tmp_path) -> None:
    contract = write_model(tmp_path / "m.onnx")
    assert OrtRunner(tmp_path / "m.onnx").contract == contract


def test_bytes_of_a_derived_model_may_show_periods(tmp_path) -> None:
    import onnx
    from onnx import TensorProto, helper

    contract = write_model(tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    model.graph.node.append(helper.make_node("Cast", ["flat"], ["periods"], to=TensorProto.INT64))
    model.graph.output.append(helper.make_tensor_value_info("periods", TensorProto.INT64, ["b", 60]))
    with OrtRunner(tmp_path / "m.onnx", model=model.SerializeToString(), auxiliary=("periods",)) as runner:
        assert runner.infer({WINDOWS: noise(contract, 2)})["periods"].dtype == np.int64


def test_a_file_without_its_manifest_is_refused(tmp_path) -> None:
    write_model(tmp_path / "m.onnx", manifest=False)
    with pytest.raises(ArtifactError, match="has no manifest"):
        OrtRunner(tmp_path / "m.onnx")


def test_a_changed_file_is_named(tmp_path) -> None:
    write_model(tmp_path / "m.onnx")
    data = bytearray((tmp_path / "m.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(ArtifactError, match="disagree"):
        OrtRunner(tmp_path / "m.onnx")


@pytest.mark.parametrize("content", [b"", b"not a model at all", "cut"])
def test_a_file_that_is_no_model_is_named(tmp_path, content) -> None:
    path = tmp_path / "m.onnx"
    write_model(path)
    path.write_bytes(path.read_bytes()[:60] if content == "cut" else content)
    write_manifest_for(path, tiny_contract(), "onnx")
    with pytest.raises(ArtifactError, match="not an ONNX file, or it is cut off"), OrtRunner(path):
        pass


def test_the_tensorrt_file_is_recognised(tmp_path) -> None:
    write_model(tmp_path / "m.trt.onnx", custom=True)
    with pytest.raises(ArtifactError, match=r"for TensorRT[\s\S]*m\.onnx"):
        OrtRunner(tmp_path / "m.trt.onnx")
    # Under another name the op itself gives it away.
    write_model(tmp_path / "renamed.onnx", custom=True)
    with (
        pytest.raises(ArtifactError, match=r"op that ONNX Runtime [\s\S]*SelectiveScan"),
        OrtRunner(tmp_path / "renamed.onnx"),
    ):
        pass


def test_a_file_without_contract_is_named(tmp_path) -> None:
    write_model(tmp_path / "m.onnx", inside=None)
    with pytest.raises(ContractError, match="carries no contract"), OrtRunner(tmp_path / "m.onnx"):
        pass


def test_contracts_that_differ_are_named_with_both_values(tmp_path) -> None:
    write_model(tmp_path / "m.onnx", inside=tiny_contract(hop=9))
    with pytest.raises(ArtifactError, match=r"'hop': 9[\s\S]*'hop': 5"), OrtRunner(tmp_path / "m.onnx"):
        pass


def test_other_op_versions_are_refused(tmp_path) -> None:
    write_model(tmp_path / "m.onnx", tiny_contract(ops={"SelectiveScan": 2}))
    with pytest.raises(ContractError, match="versions of the custom ops"):
        OrtRunner(tmp_path / "m.onnx")


@pytest.mark.parametrize("changes", [{"n_times": 21}, {"class_names": ("a", "b", "c")}])
def test_tensors_that_are_not_the_contracts_are_refused(tmp_path, changes) -> None:
    import onnx
    from onnx import helper

    from mimamba_edge.contract import METADATA_KEY

    other = tiny_contract(**changes)
    write_model(tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    del model.metadata_props[:]
    helper.set_model_props(model, {METADATA_KEY: other.to_json()})
    onnx.save(model, tmp_path / "m.onnx")
    write_manifest_for(tmp_path / "m.onnx", other, "onnx")
    with pytest.raises(ArtifactError, match="tensors of"), OrtRunner(tmp_path / "m.onnx"):
        pass


def test_an_output_of_another_name_is_refused(tmp_path) -> None:
    write_model(tmp_path / "m.onnx", output="scores")
    with pytest.raises(ArtifactError, match=LOGITS), OrtRunner(tmp_path / "m.onnx"):
        pass


def test_unknown_and_missing_providers_are_named(tmp_path) -> None:
    write_model(tmp_path / "m.onnx")
    with pytest.raises(ConfigError, match="unknown provider"):
        open_session(tmp_path / "m.onnx", name="m", provider="tpu")
    with pytest.raises(ConfigError, match="threads"):
        open_session(tmp_path / "m.onnx", name="m", threads=0)
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with (
            pytest.raises(RunnerError, match="no cuda provider"),
            OrtRunner(tmp_path / "m.onnx", provider="cuda"),
        ):
            pass


def test_without_onnxruntime_the_remedy_is_named(tmp_path, monkeypatch) -> None:
    write_model(tmp_path / "m.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(DependencyError, match=r"\[cpu\]"), OrtRunner(tmp_path / "m.onnx"):
        pass


def test_reference_beside_a_model(tmp_path) -> None:
    contract = write_model(tmp_path / "m.onnx")
    with pytest.raises(ArtifactError, match="no reference outputs"):
        Reference.beside(tmp_path / "m.onnx")
    windows = write_reference(tmp_path / "m.ref.npz", contract)
    assert np.array_equal(Reference.beside(tmp_path / "m.onnx").windows, windows)
    assert reference_path(tmp_path / "a.b.trt.onnx") == tmp_path / "a.b.ref.npz"
    write_reference(tmp_path / "m.ref.npz", contract, source="d" * 64)
    with pytest.raises(ArtifactError, match="different checkpoints"):
        Reference.beside(tmp_path / "m.onnx")


@pytest.mark.parametrize("how", ["junk", "missing", "shape", "no array"])
def test_damaged_references_are_named(tmp_path, how) -> None:
    contract, path = tiny_contract(), tmp_path / "m.ref.npz"
    write_reference(path, contract)
    if how == "junk":
        path.write_bytes(b"PK\x03\x04 no zip")
    else:
        with np.load(path) as held:
            arrays = dict(held)
        if how == "missing":
            del arrays["logits"]
        else:
            arrays["logits"] = arrays["logits"][:-1]
        with path.open("wb") as file:
            np.savez(file, **arrays)
        if how == "no array":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("windows", b"x")
                archive.writestr("logits", b"x")
    write_manifest_for(path, contract, "ref.npz")
    with pytest.raises(ArtifactError, match=r"reference windows|do not match"):
        Reference.load(path)


def test_what_a_file_says_about_itself_is_text(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    contract = write_model(path)
    text = contract.class_names[0].encode()
    assert path.read_bytes().count(b"mimamba.contract") == 1
    path.write_bytes(path.read_bytes().replace(text, b"\xff" * len(text)))
    write_manifest_for(path, contract, "onnx")
    with pytest.raises(ArtifactError, match="is not text"), OrtRunner(path):
        pass


def _npz(windows: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("windows.npy", windows)
    return out.getvalue()


def _claims(rows: int) -> bytes:
    out = io.BytesIO()
    shape = (rows, 3, 20)
    np.lib.format.write_array_header_1_0(out, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return out.getvalue()


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (lambda: b"", "not a zip file"),
        (lambda: b"PK\x05\x06" + bytes(18), "not a file in the archive"),
        (lambda: zeros_member("windows.npy", 600), "at most 536,870,912 are read"),
        (lambda: _npz(b"\x93NUMPY\x01\x00\x10\x00{'descr': (((((\n"), ""),
        (lambda: _npz(_claims(10**15)), ""),
    ],
    ids=["empty", "no arrays", "bomb", "header cut off", "claims"],
)
def test_references_that_are_none(tmp_path: Path, made: Callable[[], bytes], reason: str) -> None:
    path = tmp_path / "model.ref.npz"
    path.write_bytes(made())
    write_manifest_for(path, tiny_contract(), "ref.npz")
    with pytest.raises(ArtifactError, match="is not a file of reference windows") as caught:
        Reference.load(path)
    assert reason in str(caught.value)


def test_weights_in_another_file_are_refused(tmp_path: Path) -> None:
    import onnx

    path = tmp_path / "model.onnx"
    contract = write_model(path)
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    write_manifest_for(path, contract, "onnx")
    assert (tmp_path / "weights.bin").is_file()
    with pytest.raises(ArtifactError, match="weights in another file"), OrtRunner(path):
        pass
    with pytest.raises(ArtifactError, match="weights in another file"):
        read_model(path)
