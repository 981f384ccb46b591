"""parity, bench and inspect on a small untrained network that was really exported."""

import json
import shutil

import numpy as np
import pytest

from mimamba_edge.bench import environment
from mimamba_edge.bench.entries import Variant, entries_of, of_other_weights
from mimamba_edge.bench.measure import Budget
from mimamba_edge.contract import WINDOWS, Contract, Filter, Scaling
from mimamba_edge.load import load_model
from mimamba_edge.parity import find_windows

pytestmark = [pytest.mark.torch, pytest.mark.ort, pytest.mark.slow]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch = pytest.importorskip("torch")
    from mimamba_edge.export.checkpoint import save_checkpoint
    from mimamba_edge.export.families.msimamba.network import MSiMamba
    from mimamba_edge.export.onnx.export import export_checkpoint

    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model = MSiMamba(4, 64, 2, 64.0, d_model=16, n_layers=1, d_ff=4, n_kernels=2)
    contract = Contract(
        ch_names=("TP9", "AF7", "AF8", "TP10"),
        sfreq=64.0,
        n_times=64,
        hop=16,
        class_names=("calm", "excited"),
        filters=(Filter("bandpass", 4, 1.0, 25.0),),
        scaling=Scaling("robust", (0.0,) * 4, (20.0,) * 4),
        model=model.config.to_dict(),
    )
    out = tmp_path_factory.mktemp("real")
    save_checkpoint(out / "c.pt", model, contract)
    export_checkpoint(out / "c.pt", out / "m.onnx")
    yield out
    torch.set_num_threads(threads)


def test_parity_shows_the_periods_of_both(run, folder) -> None:
    done = run("parity", folder / "c.pt", folder / "m.onnx", "--report", folder / "p.json")
    assert done.code == 0, done.err
    report = json.loads((folder / "p.json").read_text())
    assert report["sqnr_db"] >= 100
    assert report["auxiliary_agreement"] == 1.0
    assert [r["kind"] for r in report["runners"]] == ["torch-eager", "onnxruntime-cpu"]
    assert run("parity", f"oracle:{folder / 'c.pt'}", folder / "m.onnx").code == 0


def test_an_exported_file_answers_alike_alone_and_in_any_batch(folder) -> None:
    windows = find_windows(load_model(str(folder / "m.onnx")).contract, limit=23).data
    with load_model(str(folder / "m.onnx"), threads=1) as runner:
        alone = np.concatenate([runner.logits(w[None]) for w in windows])
        peak = np.abs(alone).max()
        for size in (2, 7, 23):
            parts = [runner.logits(windows[i : i + size]) for i in range(0, 23, size)]
            assert np.abs(np.concatenate(parts) - alone).max() <= 1e-5 * peak
        backwards = runner.logits(windows[::-1].copy())[::-1]
        assert np.abs(backwards - alone).max() <= 1e-5 * peak


def test_only_who_asks_gets_periods(folder) -> None:
    plain, tapped = (load_model(str(folder / "m.onnx"), auxiliary=p) for p in (False, True))
    windows = find_windows(plain.contract, limit=5).data
    with plain, tapped:
        assert not plain.auxiliary
        one, two = plain.infer({WINDOWS: windows}), tapped.infer({WINDOWS: windows})
    assert "periods" not in one
    assert two["periods"].shape == (5, 3)
    assert np.array_equal(one["logits"], two["logits"])


def test_bench_puts_them_side_by_side(run, folder, monkeypatch) -> None:
    quick = Budget(runs=5, least_s=0.0, most_s=0.05, block_s=0.005, warm_s=0.0, paced_runs=1)
    monkeypatch.setattr("mimamba_edge.bench.run.Budget", lambda: quick)
    monkeypatch.setattr(environment, "cpp_compiler", lambda: None)
    done = run("bench", folder / "m.onnx", folder / "c.pt", "--batch", "1,3", "--report", folder / "b.json")
    assert done.code == 0, done.err
    record = json.loads((folder / "b.json").read_text())
    rows = {(r["runner"], r["batch"]): r for r in record["rows"]}
    assert next(iter(rows)) == ("torch-eager-parallel", 1)  # what the others are compared with comes first
    for name in ("torch-eager-parallel", "torch-eager-fused", "onnxruntime-cpu"):
        for batch in (1, 3):
            assert rows[name, batch]["verified"]
            assert rows[name, batch]["verification"]["sqnr_db"] >= 100
    assert "C++ compiler" in rows["torch-compile", 1]["why_not"]
    assert "oracle" in rows["torch-eager-parallel", 1]["verification"]["against"]
    assert rows["onnxruntime-cpu", 1]["verification"]["against"] == "m.ref.npz"
    assert record["floor"]["macs"]["mstb"] > 0


def test_only_a_checkpoint_that_is_named_is_compiled(folder, tmp_path, monkeypatch) -> None:
    for path in folder.glob("m.*"):
        shutil.copy(path, tmp_path)
    shutil.copy(folder / "c.pt", tmp_path / "m.pt")  # of the file's name: found beside it
    monkeypatch.setattr(environment, "cpp_compiler", lambda: "g++")
    portable, checkpoint = (Variant(str(tmp_path / name), "cpu") for name in ("m.onnx", "m.pt"))
    windows = find_windows(load_model(checkpoint.spec).contract, limit=2)
    for models, why in (
        ([portable], "torch.compile takes minutes: name m.pt as well"),
        ([portable, checkpoint], ""),
    ):
        entries = {entry.label: entry for entry in entries_of(models, windows, others=True)}
        assert entries["torch-compile"].why_not == why
        assert entries["torch-eager-fused"].runner is not None


def test_a_checkpoint_that_does_not_agree_with_the_oracle_is_not_timed(folder, monkeypatch) -> None:
    from mimamba_edge.bench.run import run_bench, unverified
    from mimamba_edge.export.runner import TorchRunner

    monkeypatch.setattr(environment, "cpp_compiler", lambda: None)
    right = TorchRunner.infer

    def wrong(self, feeds):
        return {name: v + 1 if name == "logits" else v for name, v in right(self, feeds).items()}

    monkeypatch.setattr(TorchRunner, "infer", wrong)
    spec = str(folder / "c.pt")
    windows = find_windows(load_model(spec).contract, limit=20)
    quick = Budget(runs=2, least_s=0.0, most_s=0.01, block_s=0.005, warm_s=0.0, paced_runs=1)
    record = run_bench(entries_of([Variant(spec, "cpu")], windows), windows, budget=quick)
    assert len(unverified(record)) == 2
    assert all(row["p50_ms"] is None for row in record["rows"])


def test_models_of_other_weights_are_told(folder, tmp_path) -> None:
    own = [Variant(str(folder / "c.pt"), "cpu"), Variant(str(folder / "m.onnx"), "cpu")]
    assert of_other_weights(own) == []
    other = tmp_path / "other.pt"
    other.write_bytes((folder / "c.pt").read_bytes() + b" ")
    (note,) = of_other_weights([Variant(str(other), "cpu"), own[1]])
    assert "m.onnx" in note
    assert of_other_weights(own[1:]) == []


def test_inspect_of_a_real_file(run, folder) -> None:
    found = json.loads(run("inspect", folder / "m.onnx", "--json").out)
    ops = [node["op"] for node in found["graph"]["custom_nodes"]]
    assert sorted(ops) == ["mimamba.MultiScaleTemporalBlock", "mimamba.SelectiveScan"]
    assert found["graph"]["checker"] == "passes"
    assert found["graph"]["loops_outside_functions"] == 0
    assert found["graph"]["opsets"]["ai.onnx"] == 18
    assert found["load_ms"] > 0
    assert run("inspect", folder / "m.trt.onnx").code == 0
    found = json.loads(run("inspect", folder / "c.pt", "--json").out)
    assert found["parameters"] == sum(int(np.prod(shape)) for shape in found["tensors"].values())
    assert found["config"]["d_model"] == 16
