"""What only a GPU machine runs, as far as stand-ins take it: graphs, events, ctypes, mamba_ssm's strides."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from benchmarks.gpu import scan  # noqa: E402
from benchmarks.gpu.cases import ScanCase  # noqa: E402
from benchmarks.gpu.mamba_ssm import SOURCE, built_call  # noqa: E402
from benchmarks.gpu.timing import CudaTimer  # noqa: E402
from mimamba_edge.errors import MimambaError  # noqa: E402
from mimamba_edge.numerics.scan import selective_scan  # noqa: E402

needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None, reason="needs a C++ compiler: apt install g++"
)


@pytest.fixture(scope="module")
def mamba_ssm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile ``mamba_ssm.cu`` against a plain loop that takes mamba_ssm's parameters."""
    library = tmp_path_factory.mktemp("mamba_ssm") / "libmamba_ssm.so"
    includes = Path(__file__).with_name("standin")
    named = ("-DMAMBA_SSM_INPUT=float", "-DMAMBA_SSM_NAME=mamba_ssm_float32")
    strict = ("-std=c++17", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", f"-I{includes}")
    subprocess.run(["g++", *strict, *named, "-x", "c++", str(SOURCE), "-o", str(library)], check=True)
    return library


@needs_compiler
@pytest.mark.parametrize("gated", [False, True])
def test_every_stride_reaches_mamba_ssm(
    mamba_ssm: Path, monkeypatch: pytest.MonkeyPatch, gated: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: SimpleNamespace(cuda_stream=0))
    torch.manual_seed(2)
    bench: Any = SimpleNamespace(torch=torch, device="cpu")
    case = ScanCase(b=2, l=2050, d=3, dtype="float32", gated=gated, n=5)
    drawn = scan.one(scan.draw(bench, case, 2), 1)
    y, *_, states = built_call(mamba_ssm, torch)(scan.in_mamba_ssm_layout(drawn))
    wanted, end = selective_scan(**{k: v.numpy() for k, v in drawn.items()}, delta_softplus=True)
    assert abs(y.transpose(1, 2).double().numpy() - wanted).max() < 1e-5 * abs(wanted).max()
    assert states.shape == (2, 3, 2, 10)
    assert abs(states[:, :, -1, 1::2].double().numpy() - end).max() < 1e-5 * abs(end).max()


@needs_compiler
def test_what_mamba_ssm_throws_is_our_error(mamba_ssm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: SimpleNamespace(cuda_stream=0))
    bench: Any = SimpleNamespace(torch=torch, device="cpu")
    drawn = scan.one(scan.draw(bench, ScanCase(1, 2, 3, "float32", False, n=257), 1), 0)
    with pytest.raises(MimambaError, match="too many states"):
        built_call(mamba_ssm, torch)(scan.in_mamba_ssm_layout(drawn))


class FakeCuda:
    """The part of ``torch.cuda`` that the timer uses; it notes in which state a call came."""

    def __init__(self) -> None:
        self.state, self.log, self.now_ms = "eager", [], 0.0

    class Stream:
        def wait_stream(self, other: Any) -> None:
            pass

    def current_stream(self) -> Any:
        return self.Stream()

    @contextlib.contextmanager
    def stream(self, stream: Any) -> Iterator[None]:
        yield

    def CUDAGraph(self, keep_graph: bool) -> Any:
        assert keep_graph
        graph = SimpleNamespace(ready=False)

        def instantiate() -> None:
            graph.ready = True

        def replay() -> None:
            assert graph.ready
            self.now_ms += 2.0

        graph.instantiate, graph.replay, graph.raw_cuda_graph = instantiate, replay, lambda: 1234
        return graph

    @contextlib.contextmanager
    def graph(self, graph: Any) -> Iterator[None]:
        self.state = "captured"
        yield
        self.state = "eager"

    def Event(self, enable_timing: bool) -> Any:
        assert enable_timing
        event = SimpleNamespace(at=0.0, synchronize=lambda: None)
        event.record = lambda: setattr(event, "at", self.now_ms)
        event.elapsed_time = lambda other: other.at - event.at
        return event

    def synchronize(self) -> None:
        pass


def test_graphs_are_captured_warm_hold_their_results_and_are_timed_by_events() -> None:
    import gc
    import weakref

    class Result:
        pass

    cuda, alive = FakeCuda(), weakref.WeakSet[Result]()
    timer = CudaTimer(SimpleNamespace(cuda=cuda), nodes=lambda graph: graph // 100)

    def call(index: int) -> Callable[[], Result]:
        def run() -> Result:
            cuda.log.append((cuda.state, index))
            result = Result()
            if cuda.state == "captured":
                alive.add(result)
            return result

        return run

    replay = timer.capture([call(i) for i in range(5)])
    assert cuda.log == [("eager", i) for i in range(3)] + [("captured", i) for i in range(5)]
    assert timer.nodes == 12
    gc.collect()
    assert len(alive) == 5
    assert timer.seconds(replay, 4) == pytest.approx(8e-3)
    assert cuda.now_ms == pytest.approx(10.0)
