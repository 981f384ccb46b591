"""Level 3 without its GPU: judging, records, exit status, the way through the installed TensorRT on fakes."""

from __future__ import annotations

import ctypes
import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import record as records
from benchmarks.__main__ import main
from benchmarks.gpu_tensorrt import here, level, tools, wheel86
from mimamba_edge.artifact import Manifest
from mimamba_edge.bench.measure import Budget
from mimamba_edge.bench.run import run_bench
from mimamba_edge.errors import ArtifactError, DependencyError, EngineError
from mimamba_edge.runtime.reference import Reference, reference_path
from tests.fakes import tensorrt as fakes
from tests.trt.machine import make_machine
from tests.trt.models import write_set

# Lines of trtexec, as printPerformanceReport of NVIDIA/TensorRT v10.3.0 writes them.
TRTEXEC = """\
[11/21/2026-05:00:00] [I] === Performance summary ===
[11/21/2026-05:00:00] [I] Throughput: 9000.1 qps
[11/21/2026-05:00:00] [I] Latency: min = 0.09 ms, max = 0.5 ms, mean = 0.11 ms, median = 0.101 ms, \
percentile(90%) = 0.12 ms, percentile(95%) = 0.13 ms, percentile(99%) = 0.19 ms
[11/21/2026-05:00:00] [I] Enqueue Time: min = 0.001 ms, max = 0.2 ms, mean = 0.004 ms, median = 0.003 ms, \
percentile(90%) = 0.005 ms, percentile(95%) = 0.006 ms, percentile(99%) = 0.009 ms
[11/21/2026-05:00:00] [I] GPU Compute Time: min = 0.07 ms, max = 0.3 ms, mean = 0.08 ms, median = 0.075 ms, \
percentile(90%) = 0.08 ms, percentile(95%) = 0.09 ms, percentile(99%) = 0.1 ms
[11/21/2026-05:00:00] [I] Total GPU Compute Time: 2.9 s
"""
READ = {
    "latency_ms": {"p50": 0.101, "p99": 0.19},
    "enqueue_time_ms": {"p50": 0.003, "p99": 0.009},
    "gpu_compute_time_ms": {"p50": 0.075, "p99": 0.1},
}
# Stands in for the C++ program: answers by the tiny model, adding `wrong` to the first logit of the graph's.
PROGRAM = """\
#!{python}
import json, sys
import numpy as np
sys.path.insert(0, {root!r})
from tests.modelfiles import answers, tiny_contract
plugin, model, precision, windows, logits = sys.argv[1:]
contract = tiny_contract()
given = np.fromfile(windows, "<f4").reshape(-1, contract.n_chans, contract.n_times)
said = answers(contract, given)
assert np.fromfile(logits, "<f4").size == said.size
times = dict(latency_ms=dict(p50=1, p90=1, p99=2, max=3), compute_ms=dict(p50=1, p90=1, p99=2, max=3))
graph = said.copy()
graph[0, 0] += {wrong}
ways = dict(no_graph=said, graph=graph)
print(json.dumps(dict(precision=precision, plugins=1, **{{
    name: dict(times, logits=[None if v != v else v for v in value.ravel().tolist()])
    for name, value in ways.items()
}})))
"""


def program(folder: Path, wrong: str) -> Path:
    path = folder / "program"
    root = str(Path(__file__).resolve().parents[2])
    path.write_text(PROGRAM.format(python=sys.executable, root=root, wrong=wrong))
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(("wrong", "verified"), [("0", True), ("3e-3", False), ("float('nan')", False)])
def test_the_wheels_answers_are_judged_by_the_gates(tmp_path: Path, wrong: str, verified: bool) -> None:
    model = write_set(tmp_path / "model")
    row = wheel86.measure(program(tmp_path, wrong), tmp_path / "plugin.so", model, tmp_path)
    assert row["verified"] is verified
    assert row["graph_identical"] is verified
    assert row["verification"]["no_graph"]["passed"]
    assert row["precision"] == "fp32"
    assert row["sha256"] == Manifest.load(model).sha256
    assert "logits" not in row["graph"]
    json.dumps(row, allow_nan=False)


def test_a_program_that_fails_is_quoted(tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.write_text("#!/bin/sh\necho 'the parser refused it' >&2\nexit 2\n")
    bad.chmod(0o755)
    with pytest.raises(EngineError, match="exit 2\nthe parser refused it"):
        wheel86.measure(bad, tmp_path / "plugin.so", write_set(tmp_path / "model"), tmp_path)
    with pytest.raises(EngineError, match="took more than 0 s"):
        tools.run(["sleep", "5"], "sleep", seconds=0.05)
    with pytest.raises(DependencyError, match="configuring needs no-such-cmake"):
        tools.run(["no-such-cmake"], "configuring")


def test_what_the_wheel_lacks_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TENSORRT86_ROOT", raising=False)
    with pytest.raises(DependencyError, match=r"libnvinfer\.so\.8"):
        wheel86.root()
    (tmp_path / "include").mkdir()
    for name in wheel86.NEEDED[1:]:
        (tmp_path / name).touch()
    monkeypatch.setenv("TENSORRT86_ROOT", str(tmp_path))
    with pytest.raises(DependencyError, match=r"without libnvinfer\.so\.8\n"):
        wheel86.root()
    (tmp_path / wheel86.NEEDED[0]).touch()
    assert wheel86.root() == tmp_path.resolve()


def test_trtexecs_summary_is_read() -> None:
    assert here.parse(TRTEXEC) == READ
    assert here.parse("nothing") == {}


def test_siblings_are_measured_too(tmp_path: Path) -> None:
    model = write_set(tmp_path)
    assert tools.artefacts(model, tmp_path) == [model]
    int8 = shutil.copyfile(model, tmp_path / "tiny.int8.trt.onnx")
    assert tools.artefacts(model, tmp_path) == [model, int8]
    for name in ("none.trt.onnx", "tiny.ref.npz"):
        with pytest.raises(ArtifactError, match="is no exported file"):
            tools.artefacts(tmp_path / name, tmp_path)


@pytest.mark.torch
def test_the_built_in_model_without_its_bodies(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    (path,) = tools.artefacts(None, tmp_path)
    manifest, loaded = Manifest.load(path), onnx.load(path)
    assert (manifest.kind, manifest.file) == ("trt.onnx", path.name)
    assert not loaded.functions
    assert {node.op_type for node in loaded.graph.node if node.domain == "mimamba"} == set(manifest.ops)
    assert len(Reference.load(reference_path(path)).windows) >= 2


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with the fakes, in child processes too, a plugin library and trtexec; gives the model."""
    make_machine(monkeypatch, tmp_path)
    fakes.install(monkeypatch, "10.3", run="tests.trt.machine:tiny_answers", children=True)
    short = Budget(runs=4, least_s=0.01, most_s=0.02, block_s=0.005, warm_s=0.0, paced_runs=1)
    monkeypatch.setattr(here, "run_bench", functools.partial(run_bench, budget=short))
    monkeypatch.setattr(here, "run", without_plugin_build)
    told = tmp_path / "bin" / "trtexec"
    told.parent.mkdir()
    told.write_text(f"#!/bin/sh\necho \"$@\" > {tmp_path}/told\ncat <<'END'\n{TRTEXEC}END\n")
    told.chmod(0o755)
    monkeypatch.setenv("PATH", f"{told.parent}:{os.environ['PATH']}")
    # Whether or not this checkout has local changes.
    for name in ("RESULTS", "BUILD"):
        monkeypatch.setattr(records, name, tmp_path / "results")
    monkeypatch.setattr(level.importlib.util, "find_spec", lambda name: object())
    return write_set(tmp_path / "model")


def without_plugin_build(command: Sequence[str | Path], what: str) -> str:
    return "" if what == "mimamba-edge plugin build" else tools.run(command, what)


def test_the_way_of_a_user(monkeypatch: pytest.MonkeyPatch, installed: Path, tmp_path: Path) -> None:
    assert main(["gpu-tensorrt", str(installed)]) == 0
    (path,) = (tmp_path / "results").rglob("*-gpu-tensorrt.json")
    assert path.name.endswith("-gpu-tensorrt.json")
    assert str(tmp_path) not in path.read_text()
    record = json.loads(path.read_text())
    assert (record["way"], record["passed"], record["refused"]) == ("tensorrt", True, {})
    assert [row["runner"] for row in record["rows"]] == ["tensorrt", "tensorrt-no-graph"]
    assert all(row["verified"] and row["p50_ms"] > 0 for row in record["rows"])
    assert record["trtexec"] == {"tiny.plan": READ}
    told = (tmp_path / "told").read_text()
    assert "tiny.plan " in told
    assert "--useCudaGraph" in told
    assert f"--staticPlugins={tmp_path / 'libmimamba_plugin_autoreg.so'}" in told
    assert record["environment"]["device"]


def test_a_refused_artefact_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, installed: Path, tmp_path: Path
) -> None:
    wrong = write_set(tmp_path / "wrong", scale=1.5)
    sibling = installed.with_name("tiny.int8.trt.onnx")
    for path in (wrong, Path(f"{wrong}.json")):
        shutil.copyfile(path, sibling.with_name(path.name.replace("tiny", "tiny.int8")))
    manifest = json.loads(Path(f"{sibling}.json").read_text())
    Path(f"{sibling}.json").write_text(json.dumps({**manifest, "sha256": "0" * 64}))
    assert main(["gpu-tensorrt", str(installed)]) == 1
    (path,) = (tmp_path / "results").rglob("*-gpu-tensorrt.json")
    record = json.loads(path.read_text())
    assert list(record["refused"]) == [sibling.name]
    assert "disagree" in record["refused"][sibling.name]
    assert [row["verified"] for row in record["rows"]] == [True, True]
    assert (
        main(["gpu-tensorrt", str(wrong)]) == 2
    )  # its answers are not those of the reference: `build` keeps no plan of it


def test_the_program_compiles_with_the_headers_of_its_version(tmp_path: Path) -> None:
    include = Path(os.environ.get("TENSORRT86_ROOT", "/nowhere")) / "include"
    if not (include / "NvOnnxParser.h").is_file():
        pytest.skip(
            "needs the headers of 8.6.0: set TENSORRT86_ROOT as benchmarks/gpu_tensorrt/wheel86.py says"
        )
    if shutil.which("nvcc") is None:
        pytest.skip("needs nvcc: install the CUDA toolkit")
    strict = ["-std=c++17", "-Xcompiler", "-Wall,-Wextra,-Werror", "-isystem", include, "-x", "c++", "-c"]
    source = wheel86.SOURCES / "trt86.cpp"
    done = subprocess.run(["nvcc", *strict, source, "-o", tmp_path / "o"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_its_plugin_compiles_on_the_host_with_the_headers_of_its_version(tmp_path: Path) -> None:
    root = Path(os.environ.get("TENSORRT86_ROOT", "/nowhere"))
    if not (root / "include" / "NvInfer.h").is_file():
        pytest.skip("needs the headers of 8.6.0: set TENSORRT86_ROOT to the folder that holds include/")
    if shutil.which("cmake") is None:
        pytest.skip("needs cmake: apt install cmake")
    settings = ("-DMIMAMBA_HOST_KERNELS=ON", "-DMIMAMBA_STRICT=ON", f"-DTENSORRT86_ROOT={root}")
    tools.run(["cmake", "-S", wheel86.SOURCES, "-B", tmp_path, *settings], "cmake")
    tools.run(["cmake", "--build", tmp_path, "--target", "mimamba_plugin_v2"], "compiling the plugin")
    library = ctypes.CDLL(str(tmp_path / "libmimamba_plugin_v2.so"))
    count = ctypes.c_int32()
    library.getPluginCreators.restype = ctypes.c_void_p
    assert library.getPluginCreators(ctypes.byref(count))
    assert count.value == 2
