"""Level 2 of the GPU checks without a GPU: everything but launches and the device's clock.

Our ops run the path that CUDA tensors take, with the harness's reference behind it; mamba_ssm's kernel, the
roofs and the clock have stand-ins with known figures.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from benchmarks.__main__ import main  # noqa: E402
from benchmarks.gpu import bars, build, mstb, network, scan, suite  # noqa: E402
from benchmarks.gpu.bench import Bench  # noqa: E402
from benchmarks.gpu.cases import LIMIT_BYTES, ScanCase, copies, largest, scan_cases  # noqa: E402
from benchmarks.gpu.mamba_ssm import MambaSsm, find_mamba_ssm, mamba_ssm_source  # noqa: E402
from benchmarks.gpu.timing import Deadline, per_launch, ratio, summary  # noqa: E402
from benchmarks.gpu.windows import windows_of  # noqa: E402
from mimamba_edge.errors import ConfigError, DependencyError, GateError, PluginError  # noqa: E402
from mimamba_edge.export.ops.cuda import Kernels  # noqa: E402
from mimamba_edge.export.ops.scan import selective_scan_ref  # noqa: E402
from mimamba_edge.parity.windows import WindowSet  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
US = {"run_ours": 3.0, "call": 4.0, "copy": 2.0, "exps": 1.0, "empty": 0.5, "run": 20.0}


class FakeTimer:
    """Runs what it captured and tells the times of :data:`US`, by the name of what is called."""

    nodes = 7

    def __init__(self) -> None:
        self.order: list[str] = []

    def capture(self, calls: Sequence[Callable[[], object]]) -> Callable[[], None]:
        def run() -> None:
            for call in calls:
                call()

        function = getattr(calls[0], "func", calls[0])
        run.cost = len(calls) * 1e-6 * US.get(getattr(function, "__name__", ""), 1.0)  # type: ignore[attr-defined]
        run.of = getattr(function, "__name__", "")  # type: ignore[attr-defined]
        return run

    def seconds(self, run: Any, times: int) -> float:
        run()
        self.order.append(getattr(run, "of", ""))
        return times * float(getattr(run, "cost", 50e-6))

    def wait(self) -> None:
        pass


class FakeRoofs:
    def copy(self, source: Any, target: Any) -> None:
        target.copy_(source)

    def exps(self, count: int) -> None:
        assert count > 0

    def empty(self) -> None:
        pass


def call(t: dict[str, Any]) -> tuple[Any, ...]:
    """What mamba_ssm's kernel computes, in its layout, by the plain torch scan."""
    back = [t[k].transpose(1, 2) for k in ("u", "delta")]
    maps = [t[k].permute(0, 3, 1, 2) for k in ("B", "C")]
    z = t["z"].transpose(1, 2) if "z" in t else None
    state = torch.zeros(1, *t["A"].shape)
    y, last = selective_scan_ref(*back, t["A"], *maps, t["D"], t["delta_bias"], state, z, delta_softplus=True)
    return y.transpose(1, 2), last


@pytest.fixture
def bench(seam: Path) -> Iterator[Bench]:
    torch.manual_seed(1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    mamba_ssm = MambaSsm(call, "a stand-in")
    yield Bench(
        torch, "cpu", Kernels(seam), FakeRoofs(), mamba_ssm, FakeTimer(), Deadline(1000), 1 << 14, 3, True
    )
    torch.set_num_threads(threads)


# --- cases


def test_every_shape_under_the_limit_is_there_once_and_the_largest_come_first() -> None:
    cases = scan_cases()
    assert len(set(cases)) == len(cases)
    assert max(case.bytes for case in cases) <= LIMIT_BYTES
    everything = {
        ScanCase(b, length, d, dtype, gated)
        for b in (1, 8, 64)
        for length in (4, 14, 32, 62, 256, 1024, 8192, 65536)
        for d in (128, 256, 1536)
        for dtype in ("float32", "float16")
        for gated in (False, True)
    }
    assert {case for case in everything if case.bytes <= LIMIT_BYTES} == set(cases)
    assert len(everything - set(cases)) < 20
    assert cases[:4] == largest(cases)
    assert all(case.elements > 1e8 for case in cases[:4])
    assert 0 < len(scan_cases(quick=True)) < 20


def test_what_a_case_moves_and_computes_by_hand() -> None:
    case = ScanCase(b=2, l=3, d=5, dtype="float16", gated=True, n=4)
    states, weights = 2 * 5 * 4, 5 * 4 + 2 * 5
    assert case.bytes == 2 * (4 * 30 + 2 * 2 * 3 * 4) + 4 * (states + weights)
    assert case.exps == 30 * (4 + 1 + 1)


@pytest.mark.parametrize(
    ("size", "sets"), [(1 << 30, 1), (100 << 20, 8), (1 << 20, 100), (1000, 8192), (60 << 20, 8)]
)
def test_sets_exceed_the_cache(size: int, sets: int) -> None:
    assert copies(size, 50 << 20) == pytest.approx(sets, abs=5)


# --- timing


def test_pairs_are_taken_in_turn_and_a_launch_is_what_it_costs() -> None:
    timer = FakeTimer()
    runs = {"ours": timer.capture([FakeRoofs().empty] * 4), "copy": timer.capture([lambda: None])}
    samples = per_launch(timer, runs, {"ours": 4, "copy": 1}, rounds=4)
    assert timer.order[2:] == ["empty", "<lambda>", "<lambda>", "empty"] * 2
    assert samples["ours"] == pytest.approx([0.5e-6] * 4)
    assert samples["copy"] == pytest.approx([1e-6] * 4)
    assert ratio([2.0, 9.0, 4.0], [1.0, 3.0, 2.0]) == 2.0
    kept = summary([1e-6, 2e-6, 3e-6])
    assert kept["p50_us"] == pytest.approx(2.0)
    assert (kept["samples"], kept["max_us"]) == (3, pytest.approx(3.0))


def test_a_deadline_passes() -> None:
    now = [0.0]
    deadline = Deadline(10.0, lambda: now[0])
    assert deadline.left() == 10.0
    now[0] = 11.0
    assert deadline.left() == 0.0


# --- measurements


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_scan(bench: Bench, dtype: str, gated: bool) -> None:
    row = scan.measure_scan(bench, ScanCase(2, 21, 12, dtype, gated))
    assert row["against_mamba_ssm"] == pytest.approx(0.75)
    assert row["share_of_roof"] == pytest.approx(2 / 3)
    assert row["ours"]["p50_us"] == pytest.approx(3.0)
    assert set(row["errors"]) == {"ours", "state", "mamba_ssm", "apart"}
    assert 0 < row["errors"]["ours"] < 1e-3
    json.dumps(row, allow_nan=False)


def test_scan_without_mamba_ssm_or_without_memory(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = dataclasses.replace(bench, mamba_ssm=None)
    row = scan.measure_scan(alone, ScanCase(1, 4, 3, "float32", False))
    assert row["against_mamba_ssm"] is None
    assert row["share_of_roof"] > 0
    monkeypatch.setattr(Bench, "free_bytes", lambda self: 1000)
    assert "GB of device memory" in scan.measure_scan(alone, ScanCase(1, 64, 64, "float32", False))["why_not"]


class Spoiled:
    """Our kernels, with a fault planted in what they return."""

    def __init__(self, kernels: Kernels, spoil: Callable[[Any], Any]) -> None:
        self._kernels, self._spoil = kernels, spoil

    def selective_scan(self, *given: Any) -> Any:
        y, last = self._kernels.selective_scan(*given)
        return self._spoil(y), last

    def multi_scale_temporal_block(self, *given: Any) -> Any:
        return self._spoil(self._kernels.multi_scale_temporal_block(*given))


def unwritten(y: Any) -> Any:
    """Leave the last channel of the last window as memory was handed out."""
    fresh = torch.empty_like(y)
    fresh[:-1], fresh[..., :-1] = y[:-1], y[..., :-1]
    return fresh


@pytest.fixture(autouse=True)
def built_in_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite on the windows that come with the product, whatever recordings are at hand."""
    monkeypatch.delenv("MIMAMBA_DATA", raising=False)


@pytest.mark.parametrize("spoil", [lambda y: y * 1.001, unwritten, lambda y: y.roll(1, 1)])
def test_nothing_wrong_is_timed(bench: Bench, spoil: Callable[[Any], Any]) -> None:
    spoiled = dataclasses.replace(bench, kernels=Spoiled(bench.kernels, spoil), mamba_ssm=None)
    with pytest.raises(GateError, match=r"our scan .*(not timed|unwritten)"):
        scan.measure_scan(spoiled, ScanCase(2, 21, 12, "float32", False))
    with pytest.raises(GateError, match="not timed"):
        mstb.measure_mstb(spoiled, few_windows(), 2, "float32")
    assert bench.timer.order == []  # type: ignore[attr-defined]
    wrong = dataclasses.replace(
        bench, mamba_ssm=MambaSsm(lambda t: tuple(1.01 * v for v in call(t)), "wrong")
    )
    with pytest.raises(GateError, match="mamba_ssm's scan"):
        scan.measure_scan(wrong, ScanCase(2, 21, 12, "float32", False))


def few_windows(count: int = 6) -> WindowSet:
    found = windows_of(128)
    return dataclasses.replace(found, data=found.data[:count])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_block(bench: Bench, dtype: str) -> None:
    row = mstb.measure_mstb(bench, few_windows(), 4, dtype)
    assert row["ours"]["p50_us"] == pytest.approx(20.0)
    assert row["floor"]["p50_us"] == pytest.approx(3 * 0.5)
    assert 0 < row["errors"]["ours"] < 2e-3
    assert row["windows"]["kind"] == "reference"


def test_batches_hold_every_window() -> None:
    windows = np.arange(20.0)[:, None]
    for batch in (1, 8, 64):
        made = mstb.batches_of(windows, batch)
        assert made.shape[1:] == (batch, 1)
        assert set(made.flatten()) == set(range(20))


def test_windows_of_another_length_are_simulated() -> None:
    found = windows_of(256)
    assert (found.kind, found.data.shape[1:]) == ("simulated", (4, 256))


def test_network(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "QUICK_RUNS", 3)
    monkeypatch.setattr(mstb, "FEWEST", 2)
    loaded = network.load_network(bench, None, lambda n_times: few_windows(2))
    rows = [
        network.measure_network(bench, loaded, name, 1)
        for name in (network.EAGER, network.OURS, network.GRAPH)
    ]
    for row in rows:
        assert row["errors"]["logits"] < 1e-4
        assert row["compute"]["samples"] == row["latency"]["samples"] == 3
        assert row["warm_up"]["all_seen"] is True
    assert rows[2]["nodes"] == 7
    assert rows[2]["floor"]["p50_us"] == pytest.approx(3.5)

    def refuses(*given: Any, **how: Any) -> Any:
        raise ValueError("no compiler\nat all")

    monkeypatch.setattr(torch, "compile", refuses)
    assert network.measure_network(bench, loaded, network.COMPILED, 1)["why_not"] == "ValueError: no compiler"
    loaded.wanted = loaded.wanted + 0.1
    with pytest.raises(GateError, match="PyTorch eager, batch 1"):
        network.measure_network(bench, loaded, network.EAGER, 1)


# --- the run


def fake_jobs(monkeypatch: pytest.MonkeyPatch, *runs: Callable[[], Any]) -> None:
    listed = [("scan", f"job {i}", run) for i, run in enumerate(runs)]
    monkeypatch.setattr(suite, "jobs", lambda *given: list(listed))


class Bar:
    def advance(self, amount: float = 1.0) -> None:
        pass

    def describe(self, text: str) -> None:
        pass


def failing(error: Exception) -> Callable[[], Any]:
    def run() -> Any:
        raise error

    return run


def test_what_is_wrong_is_kept_and_a_cuda_error_ends_the_run(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_jobs(
        monkeypatch,
        lambda: {"row": 0},
        failing(PluginError("refused")),
        failing(torch.OutOfMemoryError("CUDA out of memory")),
        failing(RuntimeError("CUDA error: an illegal memory access\nmore")),
        lambda: {"row": 4},
    )
    found = suite.measure(bench, ("scan",), None, Bar())
    assert found["parts"] == {"scan": [{"row": 0}]}
    assert [said.split(":")[0] for said in found["wrong"]] == ["refused", "job 2", "job 3"]
    assert found["not_reached"] == [["scan", "job 4"]]


def test_out_of_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_jobs(monkeypatch, lambda: {"row": 0})
    found = suite.measure(dataclasses.replace(bench, deadline=Deadline(0.0)), ("scan",), None, Bar())
    assert found["parts"] == {"scan": []}
    assert found["not_reached"] == [["scan", "job 0"]]


def test_all_jobs_are_listed_what_the_bars_need_first(bench: Bench) -> None:
    listed = suite.jobs(dataclasses.replace(bench, quick=False), ("mstb", "network", "scan"), None)
    parts = [part for part, _, _ in listed]
    assert parts.index("network") < parts.index("scan") < len(parts) - 1 - parts[::-1].index("network")
    assert parts.count("mstb") == 16
    assert parts.count("network") == 4 * len(network.RUNNERS)
    assert parts.count("scan") == len(scan_cases())


def test_a_whole_run_writes_its_record_and_shows_its_tables(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = [ScanCase(1, 4, 6, "float32", False), ScanCase(8, 14, 6, "float16", True)]
    facts = {"gpu": {"name": "NVIDIA H200"}, "mamba_ssm": "a stand-in", "mamba_ssm_error": None}
    monkeypatch.setattr(suite, "scan_cases", lambda quick: cases)
    monkeypatch.setattr(suite, "find_torch", lambda: torch)
    monkeypatch.setattr(suite, "make_bench", lambda *given: (bench, facts))
    path = tmp_path / "record.json"
    # 0.75 of mamba_ssm's time is no factor of two, and two thirds are under 0.7: both bars are missed.
    assert main(["gpu", "scan", "--quick", "-o", str(path)]) == 1
    kept = json.loads(path.read_text())
    assert kept["verified"] is True
    assert [bar["verdict"] for bar in kept["bars"]] == ["not measured", "missed", "missed"]
    assert kept["command"].startswith("python -m benchmarks gpu scan --quick")
    assert "parts" not in kept
    assert [table["title"].split(":")[0] for table in kept["tables"]] == ["Selective scan", "Bars"]
    assert len(json.loads((tmp_path / "record-raw.json").read_text())["parts"]["scan"]) == 2
    said = capsys.readouterr().out
    assert "0.75" in said
    assert said.rstrip().splitlines()[-1] == f"record: {path}"


# --- bars and records


def scan_row(case: ScanCase, against: float | None = 0.4, share: float = 0.9) -> dict[str, Any]:
    return {**dataclasses.asdict(case), "against_mamba_ssm": against, "share_of_roof": share}


def verdicts(parts: dict[str, Any], device: str = "NVIDIA H200", cut: Sequence[str] = ()) -> list[str]:
    return [bar["verdict"] for bar in bars.evaluate(parts, device, cut)]


def test_bars_of_the_scan() -> None:
    rows = [scan_row(case) for case in scan_cases()]
    assert verdicts({"scan": rows}) == ["passed"] * 3
    assert verdicts({"scan": rows}, cut=["scan"]) == ["not measured"] * 3
    slow = [*rows, scan_row(ScanCase(64, 62, 128, "float32", False), against=1.06)]
    assert verdicts({"scan": slow}) == ["missed", "passed", "passed"]
    assert verdicts({"scan": slow}, cut=["scan"])[0] == "missed"
    assert (
        verdicts({"scan": [*rows, scan_row(ScanCase(8, 62, 128, "float32", False), against=0.51)]})[1]
        == "missed"
    )
    assert verdicts({"scan": [scan_row(rows_case, None) for rows_case in scan_cases()]}) == [
        "not measured", "not measured", "passed",
    ]  # fmt: skip
    first = scan_cases()[0]
    low = [scan_row(case, share=0.69 if case == first else 0.9) for case in scan_cases()]
    assert verdicts({"scan": low})[2] == "missed"
    unmeasured = {**scan_row(first), "why_not": "memory", "against_mamba_ssm": None, "share_of_roof": None}
    assert verdicts({"scan": [unmeasured, *rows[1:]]}) == ["not measured", "passed", "not measured"]


def test_bars_of_one_device() -> None:
    block = [{"b": 1, "l": 128, "dtype": "float32", "ours": {"p50_us": 24.0}}]
    whole = [
        {"b": 1, "runner": network.GRAPH, "compute": {"p50_us": 90.0}},
        {"b": 1, "runner": network.FUSED, "compute": {"p50_us": 79.0}},
        {"b": 1, "runner": network.EAGER, "compute": {"p50_us": 5.0}},
    ]
    assert verdicts({"mstb": block, "network": whole}) == ["passed", "passed"]
    assert verdicts({"mstb": block}, "NVIDIA A100") == ["other device"]
    assert verdicts({"network": whole[:1]}) == ["missed"]
    assert verdicts({"network": []}) == ["not measured"]


def test_exit_status() -> None:
    def of(*words: str, wrong: Sequence[str] = ()) -> int:
        return bars.status([{"verdict": word} for word in words], list(wrong))

    assert of("passed", "other device") == 0
    assert of("passed", wrong=["x"]) == 1
    assert of("missed", "not measured") == 1
    assert of("passed", "not measured") == 2


def test_tables_of_half_a_run() -> None:
    scans = [
        scan_row(ScanCase(1, 4, 128, "float32", False)),
        scan_row(ScanCase(1, 4, 128, "float32", True), None),
    ]
    whole = [
        {"b": 1, "runner": network.COMPILED, "why_not": "ValueError: no compiler"},
        {
            "b": 1, "runner": network.EAGER, "nodes": 7, "floor": {"p50_us": 9.0},
            "compute": {"p50_us": 5000.0, "p99_us": 5100.0}, "latency": {"p50_us": 5200.0, "p99_us": 5300.0},
        },
    ]  # fmt: skip
    made = bars.tables({"scan": scans, "mstb": [], "network": whole}, bars.evaluate({"scan": scans}, "x"))
    assert [len(row) for _, header, rows in made for row in rows] == [
        len(header) for _, header, rows in made for _ in rows
    ]
    assert "empty kernels (7)" in made[1][0]
    assert made[-1][0] == "Bars"


# --- what is missing


def test_no_gpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    assert main(["gpu"]) == 2
    assert "built for the CPU" in capsys.readouterr().err
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DependencyError, match=r"no CUDA device can be used here(.|\n)*nvidia-smi"):
        build.find_torch()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DependencyError, match="cmake"):
        build.find_torch()


def test_the_mamba_ssm_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MAMBA_SSM_SOURCE", raising=False)
    assert mamba_ssm_source() is None
    monkeypatch.setenv("MAMBA_SSM_SOURCE", str(tmp_path))
    with pytest.raises(ConfigError, match="is not the source of mamba-ssm"):
        mamba_ssm_source()
    folder = tmp_path / "csrc" / "selective_scan"
    folder.mkdir(parents=True)
    (folder / "selective_scan_fwd_kernel.cuh").write_text("")
    assert mamba_ssm_source() == folder
    if build.importlib.util.find_spec("selective_scan_cuda") is None:
        assert find_mamba_ssm(None, tmp_path, torch, 90) is None


def test_a_checkout_that_is_not_installed_finds_its_folders() -> None:
    # -S: no .pth files, so no editable installation; packages come by path.
    packages = Path(np.__file__).parents[1]
    code = (
        f"import sys; sys.path += [{str(ROOT)!r}, {str(packages)!r}]\n"
        "import mimamba_edge.plugins.ctypes_api, mimamba_edge.export.families as m; print(m.__file__)"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).resolve() == ROOT / "export" / "families" / "__init__.py"


def test_a_python_without_packages_is_told_which() -> None:
    code = (
        f"import sys, runpy; sys.path.insert(0, {str(ROOT)!r});"
        "sys.argv = ['benchmarks', 'gpu']; runpy.run_module('benchmarks', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "without msgspec, numpy, rich, scipy, torch, typer" in done.stderr
    assert "Traceback" not in done.stderr
