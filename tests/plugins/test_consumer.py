"""The C++ example program against stand-ins for libnvinfer and libcudart, under sanitizers.

What this shows: its checks, messages, order of calls, arithmetic and use of memory. What it does not:
anything of TensorRT or of a GPU.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax

from mimamba_edge.artifact import sha256_file, write_manifest
from mimamba_edge.contract import Contract, Scaling
from mimamba_edge.plugins import KERNELS
from mimamba_edge.trt.batch import Batch
from mimamba_edge.trt.build_environment import BuildEnvironment
from mimamba_edge.trt.plan import KIND, PlanManifest, engine_facts
from tests.plugins.standin.stubs import stubs

SOURCES = Path(__file__).parent / "standin"
EXAMPLE = KERNELS.parent / "example"
CHANS, TIMES, CLASSES = 2, 16, ("calm", "gl\u00fccklich", 'so "so"')
STRICT = "-Wall -Wextra -Werror -fsanitize=address,undefined -fno-sanitize-recover=all"


@dataclass(frozen=True)
class Built:
    program: Path
    plugin: Path
    other_plugin: Path
    version: str


def _capabilities() -> Path:
    root = Path(os.environ.get("TENSORRT_ROOT", "/nowhere"))
    if not (root / "include" / "NvInferRuntime.h").is_file():
        pytest.skip("needs TensorRT's public headers: set TENSORRT_ROOT to a folder that holds include/")
    for tool in ("g++", "cmake"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}: apt install {tool}")
    return root / "include"


def _run(*command: str | Path) -> str:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    headers, build = _capabilities(), tmp_path_factory.mktemp("consumer")
    (build / "stubs.h").write_text(stubs(headers))
    given = {"EXAMPLE": EXAMPLE, "STUBS": build, "TENSORRT_ROOT": headers.parent, "CMAKE_CXX_FLAGS": STRICT}
    said = _run("cmake", "-S", SOURCES, "-B", build, *(f"-D{name}={value}" for name, value in given.items()))
    for line in said.splitlines():
        if "Left out: mimamba_consumer" in line:
            pytest.skip(line.removeprefix("-- "))
    _run("cmake", "--build", build, "--parallel", "2")
    text = (headers / "NvInferVersion.h").read_text()
    numbers = dict(
        line.split()[1:3] for line in text.splitlines() if line.startswith("#define") and line.split()[2:]
    )
    parts = [numbers[f"NV_TENSORRT_{part}"] for part in ("MAJOR", "MINOR", "PATCH")]
    version = ".".join(
        numbers.get(part, part) for part in parts
    )  # since 11 a name that stands for the number
    return Built(
        build / "example" / "mimamba_consumer", build / "libplugin.so", build / "libother.so", version
    )


@dataclass
class Case:
    """A plan that computes ``weights @ windows + bias``, and its manifest."""

    built: Built
    folder: Path
    weights: np.ndarray[Any, np.dtype[np.float32]]
    bias: np.ndarray[Any, np.dtype[np.float32]]
    temperature: float = 1.7

    @property
    def plan(self) -> Path:
        return self.folder / "toy.plan"

    def write(
        self, *, batch: int = 1, dtype: str = "float", times: int = TIMES, text: str | None = None
    ) -> Case:
        numbers = " ".join(repr(float(v)) for v in (*self.bias, *self.weights.ravel()))
        body = f"toy-plan {batch} {CHANS} {times} {len(CLASSES)} {dtype} {numbers}\n"
        self.plan.write_text(body if text is None else text)
        contract = Contract(
            ch_names=("TP9", "AF7"),
            sfreq=128.0,
            n_times=TIMES,
            hop=8,
            class_names=CLASSES,
            scaling=Scaling("robust", (0.0,) * CHANS, (1.0,) * CHANS),
            temperature=self.temperature,
        )
        facts = BuildEnvironment("Orin", 87, 8, f"{self.built.version}.26", "12.6", "6.2")
        engine = engine_facts(
            facts,
            onnx=Path("toy.trt.onnx"),
            onnx_sha256="0" * 64,
            plugin_sha256=sha256_file(self.built.plugin),
            batch=Batch.parse("1"),
        )
        write_manifest(
            self.plan,
            PlanManifest(
                file=self.plan.name,
                kind=KIND,
                precision="fp32",
                sha256=sha256_file(self.plan),
                source_sha256="0" * 64,
                contract=contract,
                engine=engine,
            ),
        )
        assert PlanManifest.load(self.plan).engine == engine
        return self

    def change(self, manifest: dict[str, Any]) -> None:
        self.plan.with_name("toy.plan.json").write_text(json.dumps(manifest))

    def manifest(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(self.plan.with_name("toy.plan.json").read_text())
        return loaded

    def run(
        self, *source: str | Path, stdin: bytes = b"", plugin: Path | None = None, **settings: str
    ) -> subprocess.CompletedProcess[bytes]:
        env = {k: v for k, v in os.environ.items() if not k.startswith("STANDIN_")}
        env |= {f"STANDIN_{name}": value for name, value in settings.items()}
        command = [self.built.program, plugin or self.built.plugin, self.plan, *source]
        return subprocess.run(command, input=stdin, capture_output=True, env=env, timeout=60)

    def fails(self, *words: str, **settings: Any) -> None:
        """Check that nothing was decided, exit 2, and that the message holds these words."""
        done = self.run(**{"stdin": windows().tobytes(), **settings})
        said = done.stderr.decode()
        assert done.returncode == 2, said
        assert done.stdout == b""
        assert "Sanitizer" not in said
        for word in words:
            assert word in said, said


@pytest.fixture
def case(built: Built, tmp_path: Path) -> Case:
    rng = np.random.default_rng(3)
    weights = rng.standard_normal((len(CLASSES), CHANS, TIMES)).astype(np.float32)
    return Case(built, tmp_path, weights, rng.standard_normal(len(CLASSES)).astype(np.float32)).write()


def windows(count: int = 5) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(7).standard_normal((count, CHANS, TIMES)).astype("<f4")


def check_lines(case: Case, done: subprocess.CompletedProcess[bytes], fed: np.ndarray[Any, Any]) -> None:
    assert done.returncode == 0, done.stderr.decode()
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    logits = np.einsum("oct,bct->bo", case.weights.astype(np.float64), fed.astype(np.float64)) + case.bias
    expected = softmax(logits / case.temperature, axis=1)
    assert [line["index"] for line in lines] == list(range(len(fed)))
    assert [line["label"] for line in lines] == [CLASSES[i] for i in logits.argmax(axis=1)]
    assert all(list(line["probs"]) == list(CLASSES) for line in lines)
    got = np.array([list(line["probs"].values()) for line in lines])
    np.testing.assert_allclose(got, expected, atol=2e-6)
    assert all(line["latency_ms"] >= 0 for line in lines)


@pytest.mark.parametrize("integrated", ["0", "1"])
def test_decisions_are_right_and_nothing_is_allocated_after_the_start(case: Case, integrated: str) -> None:
    fed, file, trace = windows(5), case.folder / "windows.f32", case.folder / "trace"
    file.write_bytes(fed.tobytes())
    done = case.run(file, INTEGRATED=integrated, TRACE=str(trace))
    check_lines(case, done, fed)
    said = done.stderr.decode()
    assert "5 windows, latency p50" in said
    assert ", CUDA graph" in said
    assert "2 x 16 float32 at 128 Hz, one every 8 samples, scaling robust, channels TP9 AF7" in said
    calls = trace.read_text().split()
    start = calls.index("cudaGraphInstantiate") + 1
    assert calls[start:] == ["cudaGraphLaunch", "cudaStreamSynchronize"] * len(fed)
    assert ("cudaMemcpyAsync" in calls) == (integrated == "0")
    assert ("cudaHostGetDevicePointer" in calls) == (integrated == "1")


def test_standard_input_and_a_plan_of_dynamic_batch(case: Case) -> None:
    fed = windows(3)
    check_lines(case.write(batch=-1), case.run(stdin=fed.tobytes()), fed)
    check_lines(case, case.run("-", stdin=fed.tobytes()), fed)


def test_no_windows_is_no_error(case: Case) -> None:
    done = case.run()
    assert (done.returncode, done.stdout) == (0, b"")
    assert "no windows" in done.stderr.decode()


@pytest.mark.parametrize(
    "settings",
    [
        {"FAIL": "cudaStreamBeginCapture"},
        {"FAIL": "cudaStreamEndCapture"},
        {"FAIL": "cudaGraphInstantiate"},
        {"NO_CAPTURE": "1"},
    ],
    ids=str,
)
def test_without_a_graph_it_says_so_and_decides_the_same(case: Case, settings: dict[str, str]) -> None:
    fed = windows()
    done = case.run(stdin=fed.tobytes(), **settings)
    check_lines(case, done, fed)
    said = done.stderr.decode()
    assert "WARNING: no CUDA graph" in said
    assert ", no CUDA graph" in said
    if "NO_CAPTURE" in settings:
        assert "a layer synchronises" in said


def test_large_logits_do_not_overflow(case: Case) -> None:
    case.weights *= 1e4
    fed = windows()
    check_lines(case.write(), case.run(stdin=fed.tobytes()), fed)


def test_a_library_that_is_loaded_already_is_fine(case: Case) -> None:
    fed = windows()
    check_lines(case, case.run(stdin=fed.tobytes(), LOADED="1"), fed)


def test_a_plan_that_was_changed_is_not_deserialised(case: Case) -> None:
    with case.plan.open("a") as file:
        file.write(" ")
    case.fails("is not the file that the plan's manifest names", "got:      sha256", "expected: sha256")


def test_missing_files(case: Case) -> None:
    case.fails("libnone.so cannot be read", "mimamba-edge plugin path", plugin=case.folder / "libnone.so")
    done = case.run(case.folder / "none.f32")
    assert done.returncode == 2
    assert b"none.f32 cannot be read" in done.stderr
    case.plan.with_name("toy.plan.json").unlink()
    case.fails("toy.plan.json cannot be read", "copy MODEL.plan.json along")
    case.write().plan.unlink()
    case.fails("toy.plan cannot be read", "mimamba-edge build")


def test_a_damaged_manifest(case: Case) -> None:
    good = case.manifest()
    case.plan.with_name("toy.plan.json").write_text("{")
    case.fails("is damaged", "parse error")
    case.change({k: v for k, v in good.items() if k != "engine"})
    case.fails("is damaged", "engine")
    case.change(good | {"contract": good["contract"] | {"class_names": "calm"}})
    case.fails("is damaged", "array")
    case.change(good | {"contract": good["contract"] | {"temperature": 0}})
    case.fails("describes no model")


def test_another_tensorrt_device_or_plugin(case: Case) -> None:
    good, version = case.manifest(), case.built.version
    case.fails("compiled for another TensorRT", "major 9", VERSION="9.3.0")
    case.change(good | {"engine": good["engine"] | {"tensorrt": "10.99.1"}})
    case.fails("built by another TensorRT", "got:      10.99.1", f"expected: {version}")
    case.change(good | {"engine": good["engine"] | {"tensorrt": version + "1"}})
    case.fails("built by another TensorRT")  # 10.3.0 is not 10.3.01
    case.change(good | {"engine": good["engine"] | {"sm_count": 16}})
    case.fails("built on another device", "got:      sm_87 with 16", "expected: sm_87 with 8")
    case.change(good)
    case.fails("built on another device", "expected: sm_110", SM="110")
    case.fails("libother.so is not the file", plugin=case.built.other_plugin)


def test_a_library_without_the_ops_that_the_plan_needs(case: Case) -> None:
    good = case.manifest()
    for library, reason in (
        (case.built.other_plugin, "no version 1 of it"),
        (case.built.plugin.with_name("libcudart.so"), "exports no getCreators"),
        (case.plan, "invalid ELF header"),
    ):
        case.change(good | {"engine": good["engine"] | {"plugin_sha256": sha256_file(library)}})
        case.fails("does not give the plugin mimamba::", reason, "mimamba-edge plugin build", plugin=library)


def test_a_plan_that_does_not_fit_its_contract(case: Case) -> None:
    case.write(text="toy-pla")
    case.fails("cannot be deserialised", "Magic tag does not match")
    case.write(batch=8).fails("tensor windows", "8 x 2 x 16", "1 x 2 x 16", "--batch 1")
    case.write(dtype="half").fails("tensor windows", "float32")
    case.weights = case.weights[:, :, :8]
    case.write(times=8).fails("tensor windows", "1 x 2 x 8")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"NO_RUNTIME": "1"}, ("TensorRT cannot start", "CUDA initialization failure")),
        ({"NO_CONTEXT": "1"}, ("execution context", "out of memory")),
        ({"NO_ENQUEUE": "1"}, ("could not enqueue", "a kernel failed")),
        ({"FAIL": "cudaGetDevice"}, ("cudaGetDevice failed", "cudaErrorUnknown")),
        ({"FAIL": "cudaMalloc"}, ("cudaMalloc failed",)),
        ({"FAIL": "cudaGraphLaunch"}, ("cudaGraphLaunch failed",)),
    ],
    ids=str,
)
def test_what_tensorrt_and_cuda_refuse(case: Case, settings: dict[str, str], words: tuple[str, ...]) -> None:
    case.fails(*words, **settings)


def test_windows_that_end_early_or_are_not_finite(case: Case) -> None:
    fed = windows(3)
    done = case.run(stdin=fed.tobytes()[:-5])
    assert done.returncode == 2
    assert len(done.stdout.splitlines()) == 2
    assert b"ends within window 2" in done.stderr
    assert b"123 bytes of it" in done.stderr
    fed[1, 0, 4] = np.nan
    done = case.run(stdin=fed.tobytes())
    assert done.returncode == 2
    assert len(done.stdout.splitlines()) == 1
    assert b"window 1 holds a value that is not finite" in done.stderr


def test_usage(case: Case) -> None:
    program = case.built.program
    assert _run(program, "--help").startswith("usage: mimamba_consumer PLUGIN.so MODEL.plan")
    done = subprocess.run([program], capture_output=True)
    assert done.returncode == 2
    assert b"usage:" in done.stderr
