"""doctor on ONNX Runtime's providers and on the packages of live signals: what runs, not what is listed."""

import importlib
import importlib.metadata
import importlib.util
import os
import signal
import sys
from types import SimpleNamespace

import pytest

from mimamba_edge.bench import environment
from mimamba_edge.doctor import live as checks_live
from mimamba_edge.doctor import onnxruntime as checks_onnxruntime
from mimamba_edge.errors import DependencyError
from mimamba_edge.runtime import ort as ort_runner
from mimamba_edge.runtime import provider_probe
from mimamba_edge.runtime.probe_process import ask
from mimamba_edge.stream.sources import boards as board_source
from tests.machine import boards

PROBE = provider_probe.probe

CPU, CUDA, TENSORRT = (f"{name}ExecutionProvider" for name in ("CPU", "CUDA", "Tensorrt"))
# In the words of onnxruntime-gpu 1.23.2 without a driver, and of a wheel without kernels for the GPU
# (microsoft/onnxruntime issues 22441 and 27725).
INSUFFICIENT = "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version"
NO_KERNEL = (
    "CUDA error cudaErrorNoKernelImageForDevice:no kernel image is available for execution on the device"
)
TYPES = "onnxruntime/core/providers/cuda/cuda_call.cc:129 std::conditional_t<THRW, void, common::Status> "
AT_SESSION = (
    f"/onnxruntime_src/{TYPES * 4}{INSUFFICIENT} ; GPU=-1 ; hostname=vm ; file=/onnxruntime_src/a.cc ; "
    "line=282 ; expr=cudaSetDevice(info_.device_id); \n\n"
)
AT_NODE = (
    "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Exp node. Name:'' "
    f"Status Message: {NO_KERNEL}"
)
LOGGED = (
    "[E:onnxruntime] Failed to load library /x/libonnxruntime_providers_cuda.so with error: "
    "libcublasLt.so.13: cannot open shared object file: No such file or directory"
)


def test_an_onnxruntime_that_does_not_import_is_wrong(monkeypatch) -> None:
    def broken(name):
        raise ImportError("libfoo.so: not found")

    monkeypatch.setattr(environment, "versions", lambda: {"onnxruntime": "1.31", "onnxruntime-gpu": None})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(importlib, "import_module", broken)
    (finding,) = checks_onnxruntime.onnxruntime()
    assert finding.state == "wrong"
    assert "libfoo" in finding.value


@pytest.mark.torch
def test_the_node_is_what_it_says() -> None:
    import onnx

    model = onnx.load_from_string(provider_probe.ONE_NODE)
    onnx.checker.check_model(model, full_check=True)
    assert [(n.op_type, *n.input, *n.output) for n in model.graph.node] == [("Exp", "x", "y")]
    assert model.opset_import[0].version == 13


@pytest.mark.ort
def test_a_provider_that_works_and_one_that_is_not_there() -> None:
    assert provider_probe.probe(CPU) == ""
    assert "NoExecutionProvider" in provider_probe.probe("NoExecutionProvider")


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ('print(\'{"problem": "cudaErrorNoKernelImageForDevice"}\')', "cudaErrorNoKernelImageForDevice"),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
            f"(exit -{int(signal.SIGSEGV)}, SIGSEGV)",
        ),
        ("import time; time.sleep(60)", "no answer within"),
        (
            f"import sys; print({LOGGED!r}, file=sys.stderr); print('{{}}')",
            "libcublasLt.so.13: cannot open shared object file",
        ),
    ],
)
def test_how_a_provider_fails(monkeypatch, code, told) -> None:
    monkeypatch.setattr(provider_probe, "COMMAND", [sys.executable, "-c", code])
    assert told in provider_probe.probe(CUDA, limit_s=0.3 if "sleep" in code else 20)


def test_what_stands_behind_a_thing_that_ends_the_process_is_tried_in_another(tmp_path) -> None:
    code = (
        "import json, os, signal, sys\n"
        f"open({str(tmp_path / 'starts')!r}, 'a').write('x')\n"
        "for name in sys.argv[1:]:\n"
        "    name == 'bad' and os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    print('not JSON', json.dumps([name]), sep='\\n')\n"
        "    print(json.dumps({'name': name}), flush=True)\n"
    )
    found = ask([sys.executable, "-I", "-S", "-c", code], ["a", "bad", "c", "d"], 20)
    assert list(found) == ["a", "bad", "c", "d"]
    assert [one.told.get("name") for one in found.values()] == ["a", None, "c", "d"]
    assert [bool(one.problem) for one in found.values()] == [False, True, False, False]
    assert "SIGSEGV" in found["bad"].problem
    assert (tmp_path / "starts").read_text() == "xx"


@pytest.mark.parametrize(
    ("said", "problem", "remedy"),
    [
        (
            AT_SESSION,
            INSUFFICIENT,
            "install or update NVIDIA's driver: 535 or newer for CUDA 12, 580 or newer",
        ),
        (
            AT_NODE,
            NO_KERNEL,
            "another onnxruntime-gpu (newer ones are for newer GPUs): 1.23.0 has no kernels",
        ),
    ],
)
def test_a_provider_that_lists_cuda_and_fails_is_told_in_its_words(
    gpu_wheel, monkeypatch, tmp_path, said, problem, remedy
) -> None:
    # A wheel whose words, in the probe's own process, go all the way to the line.
    broken = f"def run(self, *a):\n        raise RuntimeError({said!r})\n"
    (tmp_path / "onnxruntime.py").write_text(
        "__version__ = '1.23.0'\n"
        "class SessionOptions:\n    def add_session_config_entry(self, *a): pass\n"
        "class InferenceSession:\n"
        f"    def __init__(self, *a, **k):\n        {'self.run()' if said == AT_SESSION else 'pass'}\n"
        f"    def get_providers(self): return [{CUDA!r}]\n    {broken}"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    gpu_wheel[CUDA] = PROBE(CUDA)
    other = (
        "pip uninstall -y onnxruntime-gpu, then pip install onnxruntime, or an onnxruntime-gpu built for Jet"
    )
    for root, do in ((tmp_path, remedy), (boards.orin_nano(tmp_path / "nano"), other)):
        (line,) = (f for f in checks_onnxruntime.onnxruntime(root) if f.name == "CUDA provider")
        assert line.state == "wrong"
        assert line.value == f"listed by onnxruntime-gpu 1.23.0, and fails: {problem}"
        assert line.remedy.startswith(do)


def test_wrong_numbers_are_a_failure(monkeypatch, capsys) -> None:
    session = SimpleNamespace(get_providers=lambda: [CUDA], run=lambda names, feeds: [feeds["x"]])
    options = SimpleNamespace(log_severity_level=0, add_session_config_entry=lambda key, value: None)
    fake = SimpleNamespace(SessionOptions=lambda: options, InferenceSession=lambda *a, **k: session)
    monkeypatch.setattr(ort_runner, "load_onnxruntime", lambda: fake)
    monkeypatch.setattr(sys, "argv", ["probe", CUDA])
    provider_probe.main()
    assert "gave wrong numbers" in capsys.readouterr().out


@pytest.fixture
def gpu_wheel(monkeypatch):
    """A wheel that lists CUDA and TensorRT; what running a node says is set by the test."""
    problems = {CPU: "", CUDA: "", TENSORRT: "libnvinfer.so.10: cannot open shared object file"}
    listed = ["AzureExecutionProvider", *problems]
    module = SimpleNamespace(__version__="1.23.0", get_available_providers=lambda: listed)
    monkeypatch.setattr(environment, "versions", lambda: {"onnxruntime-gpu": "1.23.0"})
    monkeypatch.setattr(checks_onnxruntime, "import_version", lambda name: ("1.23.0", ""))
    monkeypatch.setattr(ort_runner, "load_onnxruntime", lambda: module)
    monkeypatch.setattr(provider_probe, "probe", problems.__getitem__)
    return problems


def test_providers_that_work_are_fine_and_others_are_named(gpu_wheel) -> None:
    found = {f.name: f for f in checks_onnxruntime.onnxruntime()}
    assert list(found) == ["onnxruntime", "CPU provider", "CUDA provider", "Tensorrt provider"]
    assert found["CUDA provider"].state == found["CPU provider"].state == "ok"
    assert found["Tensorrt provider"].state == "warning"
    assert "does not use it" in found["Tensorrt provider"].remedy


@pytest.mark.parametrize(
    ("problem", "remedy"),
    [
        ("libcuda.so.1: cannot open shared object file", "driver"),
        (
            "libcublasLt.so.13: cannot open shared object file",
            'pip install "onnxruntime-gpu[cuda,cudnn]==1.23.0"',
        ),
        ("ended the process (exit -11): nothing said", "nvidia-smi"),
    ],
)
def test_a_listed_provider_that_fails_is_wrong(gpu_wheel, tmp_path, problem, remedy) -> None:
    gpu_wheel[CUDA] = problem
    found = {f.name: f for f in checks_onnxruntime.onnxruntime(tmp_path)}["CUDA provider"]
    assert found.state == "wrong"
    assert "onnxruntime-gpu 1.23.0" in found.value
    assert problem in found.value
    assert remedy in found.remedy


def test_a_cpu_provider_that_fails_is_wrong(gpu_wheel) -> None:
    gpu_wheel[CPU] = "ended the process (exit -4): Illegal instruction"
    found = {f.name: f for f in checks_onnxruntime.onnxruntime()}["CPU provider"]
    assert found.state == "wrong"
    assert "force-reinstall" in found.remedy


def test_packages_of_live_signals(monkeypatch) -> None:
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    found = {f.name: f for f in checks_live.live()}
    assert {"brainflow", "pylsl", "python-osc", "websockets", "mne", "pyxdf"} == set(found)
    assert all(f.state == "ok" and 'pip install ".[' in f.remedy for f in found.values())


def test_a_native_library_that_does_not_load_is_a_warning(monkeypatch) -> None:
    def broken():
        raise DependencyError("BrainFlow's library cannot be loaded", got="wrong ELF class", do="build it")

    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.0")
    monkeypatch.setattr(board_source, "load_driver", broken)
    found = next(f for f in checks_live.live() if f.name == "brainflow")
    assert (found.state, found.remedy) == ("warning", "for boards and headsets: build it")
    assert "wrong ELF class" in found.value


def test_pip_libraries_are_loaded_quietly(capsys) -> None:
    calls = []

    def preload():
        calls.append(1)
        print("Failed to load libcudnn.so.9")
        raise RuntimeError("no such folder")

    ort_runner.preload_cuda(SimpleNamespace(preload_dlls=preload))
    ort_runner.preload_cuda(SimpleNamespace())
    assert calls == [1]
    assert capsys.readouterr().out == ""
