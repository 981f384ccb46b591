"""A runner of the CUDA provider and the library of native ops: which library it takes, what it says.

There is no GPU here: a session that claims to be one stands in for ONNX Runtime's.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import pytest

onnxruntime = pytest.importorskip("onnxruntime")

from benchmarks import gpu_onnxruntime, record  # noqa: E402
from benchmarks.__main__ import main  # noqa: E402
from mimamba_edge.bench.measure import Budget  # noqa: E402
from mimamba_edge.contract import OPS  # noqa: E402
from mimamba_edge.doctor import onnxruntime as checks_onnxruntime  # noqa: E402
from mimamba_edge.errors import PluginError, RunnerError  # noqa: E402
from mimamba_edge.inspection import describe  # noqa: E402
from mimamba_edge.load import builtin_model, load_model  # noqa: E402
from mimamba_edge.plugins import build_onnxruntime  # noqa: E402
from mimamba_edge.runtime import native_ops  # noqa: E402
from mimamba_edge.runtime.native_ops import NativeInfo, NativeOps, find_native_ops  # noqa: E402

pytestmark = pytest.mark.ort
BOTH = ("cpu", "cuda")
CLAIMED = ("CUDAExecutionProvider", "CPUExecutionProvider")


def held(name: str, *architectures: int, problem: PluginError | None = None) -> NativeOps:
    providers = BOTH if architectures else ("cpu",)
    info = NativeInfo(name, "0", "0", OPS, "x86_64", "c++", providers, architectures, "12.6")
    return NativeOps(Path("/ops") / name, "0", info, "avx2", problem, () if problem else providers)


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> list[NativeOps]:
    """What there is to choose among, newest first; the machine has an Orin."""
    found: list[NativeOps] = []
    monkeypatch.setattr(native_ops, "list_native_ops", lambda: found)
    monkeypatch.setattr(native_ops, "architectures", lambda: (87,))
    return found


@pytest.fixture
def claimed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Let onnxruntime list CUDA; sessions run on the CPU and name the providers that are held here."""
    held: dict[str, Any] = {"providers": CLAIMED, "registered": []}

    class Session(onnxruntime.InferenceSession):  # type: ignore[misc]
        def __init__(self, source: Any, options: Any, providers: list[Any], **more: Any) -> None:
            held["asked"] = providers
            super().__init__(source, options, providers=["CPUExecutionProvider"], **more)

        def get_providers(self) -> list[str]:
            return list(held["providers"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(CLAIMED))
    held["register"] = onnxruntime.SessionOptions.register_custom_ops_library
    monkeypatch.setattr(
        onnxruntime.SessionOptions,
        "register_custom_ops_library",
        lambda _, path: held["registered"].append(path),
    )
    return held


def test_the_first_library_with_code_for_the_gpu_is_taken(libraries: list[NativeOps]) -> None:
    assert find_native_ops("cuda") is None
    libraries += [held("cpu.so"), held("hopper.so", 90), held("orin.so", 80, 110), held("other.so", 87)]
    cuda, cpu = find_native_ops("cuda"), find_native_ops()
    assert cuda is not None
    assert cpu is not None
    assert (cuda.path.name, cpu.path.name) == ("orin.so", "cpu.so")


def test_a_library_of_the_cpu_alone_leaves_cuda_its_bodies(libraries: list[NativeOps]) -> None:
    libraries += [held("broken.so", 87, problem=PluginError("cut off")), held("cpu.so")]
    assert find_native_ops("cuda") is None


def test_code_for_other_gpus_alone_is_named_and_the_bodies_run(
    libraries: list[NativeOps], capsys: pytest.CaptureFixture[str]
) -> None:
    libraries += [held("hopper.so", 90, 100)]
    with pytest.raises(PluginError, match=r"no code for this GPU(.|\n)*\[90, 100\](.|\n)*--arch 87"):
        find_native_ops("cuda")
    assert load_model(builtin_model(), provider="cuda").kind == "onnxruntime-cuda"
    assert "no code for this GPU" in capsys.readouterr().err
    said = describe(builtin_model())["custom_ops"]
    assert "native on the CPU" in said
    assert "no code for this GPU" in said


def test_the_runner_registers_the_library_and_says_so(
    libraries: list[NativeOps], claimed: dict[str, Any]
) -> None:
    libraries.append(held("orin.so", 87))
    with load_model(builtin_model(), provider="cuda") as runner:
        assert runner.kind == "onnxruntime-cuda-native"
        assert runner.report["native_ops"] == {"sha256": "0", "architectures": [87]}
    assert claimed["registered"] == ["/ops/orin.so"]
    assert claimed["asked"] == ["CUDAExecutionProvider", "CPUExecutionProvider"]
    with load_model(builtin_model(), provider="cuda", native_ops=False) as runner:
        assert runner.kind == "onnxruntime-cuda"
    libraries[:] = [held("cpu.so")]
    assert load_model(builtin_model(), provider="cuda").kind == "onnxruntime-cuda"
    assert load_model(builtin_model()).kind == "onnxruntime-cpu-native"


def test_ops_that_cannot_start_leave_the_bodies(
    libraries: list[NativeOps],
    claimed: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As where the driver is older than the CUDA runtime in the library: a kernel's creation says so."""
    libraries.append(held("orin.so", 87))
    whole = onnxruntime.InferenceSession

    def refuse(source: Any, options: Any, providers: list[Any], **more: Any) -> Any:
        if claimed["registered"].count("/ops/orin.so") == 1 and "refused" not in claimed:
            claimed["refused"] = True
            raise RuntimeError("mimamba, CUDA: CUDA driver version is insufficient for CUDA runtime version")
        return whole(source, options, providers, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    with load_model(builtin_model(), provider="cuda") as runner:
        assert runner.kind == "onnxruntime-cuda"
    assert "driver version is insufficient" in capsys.readouterr().err


def test_a_provider_that_is_listed_and_cannot_be_made_is_named(
    libraries: list[NativeOps], claimed: dict[str, Any]
) -> None:
    """As onnxruntime-gpu does where a CUDA library is missing: it goes on with the CPU."""
    libraries.append(held("orin.so", 87))
    claimed["providers"] = ["CPUExecutionProvider"]
    with pytest.raises(RunnerError, match="could not use its cuda provider"):
        load_model(builtin_model(), provider="cuda").activate()


def test_inspect_and_doctor_say_which_runs(libraries: list[NativeOps], claimed: dict[str, Any]) -> None:
    claimed["providers"] = ["CPUExecutionProvider"]  # of the session that is looked into
    libraries.append(held("cpu.so"))
    assert describe(builtin_model())["custom_ops"].endswith("on CUDA function bodies")
    rows = {row.name: row for row in checks_onnxruntime.native_ops()}
    assert "function bodies" in rows["native ops, CUDA"].value
    libraries.insert(0, held("orin.so", 87))
    assert "on CUDA, for sm_87 (/ops/orin.so)" in describe(builtin_model())["custom_ops"]
    rows = {row.name: row for row in checks_onnxruntime.native_ops()}
    assert rows["native ops, CUDA"].value == "SM 87, /ops/orin.so"


def test_cuda_is_built_where_asked_for_or_where_there_are_a_gpu_and_nvcc(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver = build_onnxruntime
    monkeypatch.setattr(driver.gpu, "architectures", tuple)
    assert driver.cuda_architectures() == ()
    assert driver.cuda_architectures(["90,8.7"]) == (87, 90)
    monkeypatch.setattr(driver.gpu, "architectures", lambda: (87,))
    monkeypatch.setattr(driver, "nvcc", lambda: "nvcc")
    assert driver.cuda_architectures() == (87,)
    monkeypatch.undo()
    monkeypatch.setattr(driver.gpu, "architectures", lambda: (87,))
    monkeypatch.setenv("CUDACXX", "/no/such/nvcc")
    assert driver.cuda_architectures() == ()


def test_the_level_for_a_gpu_verifies_times_and_tells_where_the_ops_ran(
    native: Path,
    libraries: list[NativeOps],
    claimed: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its sessions run on the CPU here, which it must notice."""
    real = native_ops.describe_native_ops(native)
    libraries.append(dataclasses.replace(real, info=held("x", 87).info, providers=BOTH))
    monkeypatch.setattr(
        onnxruntime.SessionOptions, "register_custom_ops_library", claimed["register"]
    )  # the real one
    short = Budget(runs=4, least_s=0.01, most_s=0.02, block_s=0.005, warm_s=0.0, paced_runs=1)
    level = gpu_onnxruntime
    monkeypatch.setattr(level, "run_bench", functools.partial(level.run_bench, budget=short))
    monkeypatch.setattr(level, "build_native_ops", lambda archs: libraries[0])
    monkeypatch.setattr(level, "architectures", lambda: (87,))
    monkeypatch.setattr(level.importlib.util, "find_spec", lambda name: None)
    for name in ("RESULTS", "BUILD"):
        monkeypatch.setattr(record, name, tmp_path)
    assert main(["gpu-onnxruntime"]) == 1
    said = capsys.readouterr().out
    assert "onnxruntime-cuda-native" in said
    assert "did not all run on CUDA" in said
    (path,) = tmp_path.rglob("*-gpu-onnxruntime.json")
    found = json.loads(path.read_text())
    assert found["verified"] is False
    assert found["ops"]["reference.onnx"] == {name: ["CPUExecutionProvider"] for name in sorted(OPS)}
    assert "why_not" in found["cuda_graphs"]["reference.onnx"]
    assert found["tensorrt_not_run"] == "TensorRT is not installed"
    kinds = [row["runner"] for row in found["rows"]]
    assert kinds[:2] == ["onnxruntime-cuda", "onnxruntime-cuda-native"]


def test_the_level_for_a_gpu_needs_a_runtime_with_cuda(capsys: pytest.CaptureFixture[str]) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("needs an onnxruntime without CUDA")
    assert main(["gpu-onnxruntime"]) == 2
    assert "install onnxruntime-gpu" in capsys.readouterr().err
