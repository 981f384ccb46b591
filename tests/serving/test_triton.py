"""Triton repositories, read back by Triton's own protobuf schema. No Triton runs here."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from mimamba_edge.artifact import Manifest, manifest_path, sha256_file, write_manifest
from mimamba_edge.contract import OPS
from mimamba_edge.errors import ConfigError, OutputError
from mimamba_edge.load import builtin_model
from mimamba_edge.serving.triton import Served, config_text, write_repository
from mimamba_edge.trt.batch import Batch
from mimamba_edge.trt.build_environment import BuildEnvironment
from mimamba_edge.trt.library import AUTOREG, LIBRARY, PluginInfo
from mimamba_edge.trt.plan import KIND, PlanManifest, engine_facts
from tests.modelfiles import tiny_contract, write_model


def _parse(text: str):
    """Read config.pbtxt as Triton does; an unknown field or a wrong type is an error."""
    schema = pytest.importorskip(
        "tritonclient.grpc.model_config_pb2", reason="needs tritonclient: pip install 'mimamba-edge[dev]'"
    )
    from google.protobuf import text_format

    return text_format.Parse(text, schema.ModelConfig()), schema


def _engine(tmp_path: Path, batch: str, **changes) -> Served:
    plan = tmp_path / "model.plan"
    plan.write_bytes(b"ptrt not a real engine")
    contract = tiny_contract(**changes)
    text = json.dumps({"file": "model.plan", "contract": contract.to_dict()})
    return Served("eeg", plan, text, contract, batch=Batch.parse(batch), tensorrt="10.3.0")


def test_portable_model_of_the_package(tmp_path, pack) -> None:
    done = pack(
        builtin_model(),
        "-o",
        tmp_path / "models",
        "--name",
        "eeg",
        "--instances",
        2,
    )
    assert done.code == 0, done.err
    folder = tmp_path / "models" / "eeg"
    config, schema = _parse((folder / "config.pbtxt").read_text())
    contract = Manifest.load(builtin_model()).contract
    assert (config.name, config.platform) == ("eeg", "onnxruntime_onnx")
    assert config.max_batch_size >= 1
    (given,), (answer,) = config.input, config.output
    assert (given.name, given.data_type) == ("windows", schema.TYPE_FP32)
    # The batch is not among the dims of a model that batches.
    assert list(given.dims) == [len(contract.ch_names), contract.n_times]
    assert (answer.name, list(answer.dims)) == ("logits", [len(contract.class_names)])
    assert (folder / answer.label_filename).read_text().split("\n") == [*contract.class_names, ""]
    (group,) = config.instance_group
    assert (group.kind, group.count) == (schema.ModelInstanceGroup.KIND_CPU, 2)
    assert config.HasField("dynamic_batching")
    # The contract travels along, and its manifest is one of the very file that is served.
    held = Manifest.load(folder / "1" / "model.onnx")
    assert held.contract == contract
    assert not (folder / "plugin").exists()
    readme = (folder / "README.md").read_text()
    assert "tritonserver --model-repository=/models" in readme
    assert "-e ORT_DISABLE_TELEMETRY=1 " in readme
    assert "--backend-config" not in done.out
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["eeg"]


def test_names_and_types_are_those_of_the_onnx_file(tmp_path, pack) -> None:
    ort = pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'mimamba-edge[cpu]'")
    pack(builtin_model(), "-o", tmp_path, "--name", "eeg")
    config, _ = _parse((tmp_path / "eeg" / "config.pbtxt").read_text())
    session = ort.InferenceSession(tmp_path / "eeg" / "1" / "model.onnx", providers=["CPUExecutionProvider"])
    for declared, real in ((config.input, session.get_inputs()), (config.output, session.get_outputs())):
        assert [(t.name, list(t.dims)) for t in declared] == [(t.name, t.shape[1:]) for t in real]
        assert {t.type for t in real} == {"tensor(float)"}


@pytest.mark.parametrize(
    ("batch", "size", "dims", "warm"),
    [
        ("1,1,1", 1, [3, 20], [1]),
        # A full batch is all that a static engine takes, and Triton cannot be told so: no batching.
        ("4,4,4", 0, [4, 3, 20], [1]),
        ("1,8,32", 32, [3, 20], [1, 8, 32]),
        ("1,1,2", 2, [3, 20], [1, 2]),
    ],
)
def test_batches_of_engines(tmp_path, batch, size, dims, warm) -> None:
    config, schema = _parse(config_text(_engine(tmp_path, batch)))
    assert config.platform == "tensorrt_plan"
    assert config.max_batch_size == size
    assert list(config.input[0].dims) == dims
    assert list(config.output[0].dims) == [*([4] if size == 0 else []), 2]
    assert config.HasField("dynamic_batching") == (size > 1)
    assert [sample.batch_size for sample in config.model_warmup] == warm
    for sample in config.model_warmup:
        assert list(sample.inputs["windows"].dims) == dims
        assert sample.inputs["windows"].data_type == schema.TYPE_FP32
    assert config.instance_group[0].kind == schema.ModelInstanceGroup.KIND_GPU
    assert config.optimization.cuda.graphs


def test_dynamic_batching_waits_a_small_part_of_the_hop(tmp_path) -> None:
    # hop 5 at 32 Hz is 156.25 ms; 2 % of it are 3125 microseconds.
    config, _ = _parse(config_text(_engine(tmp_path, "1,8,32")))
    assert config.dynamic_batching.max_queue_delay_microseconds == 3125
    assert list(config.dynamic_batching.preferred_batch_size) == [8]
    config, _ = _parse(config_text(_engine(tmp_path, "1,1,32", hop=320)))
    assert config.dynamic_batching.max_queue_delay_microseconds == 200000
    assert list(config.dynamic_batching.preferred_batch_size) == []


def test_an_engine_that_needs_more_windows_than_triton_sends_is_refused(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"--batch 1,8,32"):
        _engine(tmp_path, "2,8,32")


def test_plugin_libraries_lie_inside_and_on_the_command_line(tmp_path) -> None:
    autoreg, main = tmp_path / "libmimamba_plugin_autoreg.so", tmp_path / "libmimamba_plugin.so"
    autoreg.write_bytes(b"autoreg")
    main.write_bytes(b"main")
    served = dataclasses.replace(_engine(tmp_path, "1,1,1"), libraries=(autoreg, main))
    folder = write_repository(tmp_path / "models", served)
    assert (folder / "plugin" / autoreg.name).read_bytes() == b"autoreg"
    assert (folder / "plugin" / main.name).read_bytes() == b"main"
    text = (folder / "README.md").read_text()
    assert "--backend-config=tensorrt,plugins=/models/eeg/plugin/libmimamba_plugin_autoreg.so" in text
    assert "TensorRT 10.3.0" in text
    assert json.loads((folder / "1" / "model.plan.json").read_text())["file"] == "model.plan"


def test_a_second_run_replaces_the_first_as_a_whole(tmp_path, pack) -> None:
    for _ in range(2):
        assert pack(builtin_model(), "-o", tmp_path / "models", "--name", "eeg").code == 0
        assert not (tmp_path / "models/eeg/stray").exists()
        (tmp_path / "models/eeg/stray").write_text("of a run before")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["models"]


def test_other_folders_are_not_touched(tmp_path, pack) -> None:
    other = tmp_path / "eeg"
    other.mkdir()
    (other / "config.pbtxt").write_text("somebody's")
    done = pack(builtin_model(), "-o", tmp_path, "--name", "eeg")
    assert done.code == 2
    assert "would be overwritten" in done.err
    assert (other / "config.pbtxt").read_text() == "somebody's"


def test_nothing_is_left_of_a_run_that_fails(tmp_path, monkeypatch) -> None:
    served = _engine(tmp_path, "1,1,1")
    served.model.unlink()
    with pytest.raises(OutputError):
        write_repository(tmp_path / "models", served)
    assert list(tmp_path.iterdir()) == []


def test_a_repository_stays_when_its_successor_cannot_be_written(tmp_path, pack) -> None:
    assert pack(builtin_model(), "-o", tmp_path, "--name", "eeg").code == 0
    served = dataclasses.replace(_engine(tmp_path, "1,1,1"), libraries=(tmp_path / "missing.so",))
    with pytest.raises(OutputError):
        write_repository(tmp_path, served)
    config, _ = _parse((tmp_path / "eeg" / "config.pbtxt").read_text())
    assert config.platform == "onnxruntime_onnx"


@pytest.mark.parametrize("name", ["a/b", "..", "", "-x", 'q"'])
def test_names_that_are_no_folder(tmp_path, name) -> None:
    with pytest.raises(ConfigError, match="--name"):
        dataclasses.replace(_engine(tmp_path, "1,1,1"), name=name)


def test_files_that_no_host_serves(tmp_path, pack) -> None:
    write_model(tmp_path / "m.trt.onnx")
    done = pack(tmp_path / "m.trt.onnx", "-o", tmp_path / "out")
    assert done.code == 2
    assert "mimamba-edge build" in done.err
    (tmp_path / "m.pt").write_bytes(b"")
    assert pack(tmp_path / "m.pt", "-o", tmp_path / "out").code == 2
    write_model(tmp_path / "m.onnx", manifest=False)
    assert "no manifest" in pack(tmp_path / "m.onnx", "-o", tmp_path / "out").err
    assert not (tmp_path / "out").exists()


def test_a_label_is_one_line(tmp_path) -> None:
    served = _engine(tmp_path, "1,1,1", class_names=("calm", "very\nhappy"))
    with pytest.raises(ConfigError, match="line break"):
        write_repository(tmp_path / "models", served)


@pytest.fixture
def built(tmp_path, monkeypatch) -> Path:
    """A plan of fake bytes with the manifest that `build` writes, and the plugin library that it names."""
    monkeypatch.setenv("MIMAMBA_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "plugin"
    folder.mkdir()
    library, autoreg = folder / LIBRARY, folder / AUTOREG
    library.write_bytes(b"main")
    autoreg.write_bytes(b"autoreg")
    monkeypatch.setenv("MIMAMBA_PLUGIN", str(library))
    info = PluginInfo(
        file=LIBRARY,
        sha256=sha256_file(library),
        autoreg_sha256=sha256_file(autoreg),
        mimamba_edge="0.1.0",
        ops=OPS,
        tensorrt_headers="10.3.0",
        cuda="12.6",
        architectures=(87,),
        host_kernels=False,
        compiler="g++",
    )
    manifest_path(library).write_text(json.dumps(info.to_dict()))
    plan = tmp_path / "net.plan"
    plan.write_bytes(b"ptrt not a real engine")
    facts = BuildEnvironment(device="Orin", sm=87, sm_count=8, tensorrt="10.3.0", cuda="12.6", jetpack="6.2")
    made_from = {"onnx_sha256": "a" * 64, "plugin_sha256": info.sha256, "batch": Batch.parse("1,4,16")}
    manifest = PlanManifest(
        file="net.plan",
        kind=KIND,
        precision="fp16",
        sha256=sha256_file(plan),
        source_sha256="c" * 64,
        contract=tiny_contract(),
        engine=engine_facts(facts, onnx=Path("net.trt.onnx"), **made_from),
    )
    write_manifest(plan, manifest)
    return plan


def test_an_engine_with_its_manifest_and_plugin(tmp_path, pack, built) -> None:
    done = pack(built, "-o", tmp_path / "models")
    assert done.code == 0, done.err
    folder = tmp_path / "models" / "net"
    config, _ = _parse((folder / "config.pbtxt").read_text())
    assert (config.name, config.platform, config.max_batch_size) == ("net", "tensorrt_plan", 16)
    assert list(config.dynamic_batching.preferred_batch_size) == [4]
    held = PlanManifest.load(folder / "1" / "model.plan")
    assert (held.file, held.contract, held.engine["tensorrt"]) == ("model.plan", tiny_contract(), "10.3.0")
    assert (folder / "plugin" / AUTOREG).read_bytes() == b"autoreg"
    assert f"plugins=/models/net/plugin/{AUTOREG}" in done.out


def test_engines_that_cannot_be_packaged(tmp_path, pack, built, monkeypatch) -> None:
    out = tmp_path / "models"
    (tmp_path / "plugin" / AUTOREG).write_bytes(b"another")
    done = pack(built, "-o", out)
    assert (done.code, "registers itself" in done.err) == (2, True)
    (tmp_path / "plugin" / AUTOREG).unlink()
    assert "not there" in pack(built, "-o", out).err
    monkeypatch.delenv("MIMAMBA_PLUGIN")
    done = pack(built, "-o", out)
    assert (done.code, "was built with was not found" in done.err) == (2, True)
    built.write_bytes(b"cut")
    assert "disagree" in pack(built, "-o", out).err
    manifest_path(built).unlink()
    assert "no manifest" in pack(built, "-o", out).err
    assert not out.exists()


def test_a_plugin_that_was_changed_is_not_packaged(tmp_path, pack, built) -> None:
    raw = json.loads(manifest_path(built).read_text())
    library = tmp_path / "plugin" / LIBRARY
    library.write_bytes(b"changed")
    raw["engine"]["plugin_sha256"] = sha256_file(library)
    manifest_path(built).write_text(json.dumps(raw))
    done = pack(built, "-o", tmp_path / "models")
    assert (done.code, "does not match its manifest" in done.err) == (2, True)
