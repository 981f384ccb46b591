"""parity, bench and inspect on tiny exported files: what they print, write and end with."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mimamba_edge.bench.measure import Budget
from tests.modelfiles import answers, noise, tiny_contract, write_manifest_for, write_model, write_reference

onnx = pytest.importorskip("onnx")

pytestmark = [pytest.mark.torch, pytest.mark.ort]


@pytest.fixture
def model(tmp_path, monkeypatch):
    contract = write_model(tmp_path / "m.onnx")
    write_reference(tmp_path / "m.ref.npz", contract)
    monkeypatch.chdir(tmp_path)
    quick = Budget(runs=5, least_s=0.0, most_s=0.05, block_s=0.005, warm_s=0.0, paced_runs=1)
    monkeypatch.setattr("mimamba_edge.bench.run.Budget", lambda: quick)
    return tmp_path / "m.onnx"


def test_parity_passes_and_writes_the_keys(run, model) -> None:
    done = run("parity", "m.onnx", "m.onnx", "--report", "p.json")
    assert done.code == 0, done.err
    assert "passed" in done.out
    assert "--data" in done.out  # reference windows: not a figure to quote
    report = json.loads((model.parent / "p.json").read_text())
    assert {"passed", "sqnr_db", "top1_agreement", "auxiliary_agreement", "n_windows", "near_ties"} <= set(
        report
    )
    assert {"checks", "hop", "class_flips", "max_rel_err", "mean_kl", "runners", "data", "versions"} <= set(
        report
    )
    assert report["passed"] is True
    assert report["n_windows"] == 70
    assert report["runners"][0]["kind"] == "onnxruntime-cpu"


def test_a_missed_gate_is_exit_1_and_the_report_is_still_written(run, model) -> None:
    write_model(model.with_name("b.onnx"), scale=1.001)
    done = run("parity", "m.onnx", "b.onnx", "--report", "p.json")
    assert done.code == 1
    assert "SQNR" in done.err
    assert "missed" in done.out
    report = json.loads((model.parent / "p.json").read_text())
    assert report["passed"] is False
    assert report["sqnr_db"] == pytest.approx(60, abs=0.1)


def test_models_that_do_not_fit_are_exit_2_with_both_values(run, model) -> None:
    write_model(model.with_name("b.onnx"), tiny_contract(n_times=21))
    done = run("parity", "m.onnx", "b.onnx", "--report", "p.json")
    assert done.code == 2
    assert "21" in done.err
    assert "20" in done.err
    assert not (model.parent / "p.json").exists()


def test_parity_limit_and_bad_options(run, model) -> None:
    assert "3 windows" in run("parity", "m.onnx", "m.onnx", "--limit", 3).out
    assert run("parity", "m.onnx", "m.onnx", "--hop", 3).code == 2
    (model.parent / "m.txt").touch()
    assert "not a model" in run("parity", "m.onnx", "m.txt").err
    assert "is not there" in run("parity", "m.onnx", "none.onnx").err
    assert "mimamba-edge build none.trt.onnx" in run("bench", "none.plan").err
    (model.parent / "folder.onnx").mkdir()
    assert "is not a file" in run("parity", "m.onnx", "folder.onnx").err
    assert "is not a file" in run("inspect", "folder.onnx").err
    assert run("parity", "m.onnx", "m.onnx", "--provider", "tpu").code == 2
    (model.parent / "folder").mkdir()
    assert run("parity", "m.onnx", "m.onnx", "--report", "folder").code == 2


def test_bench_measures_a_verified_file(run, model) -> None:
    done = run("bench", "m.onnx", "--batch", "1,64", "--threads", 1, "--report", "b.json", "--html", "b.html")
    assert done.code == 0, done.err
    record = json.loads((model.parent / "b.json").read_text())
    assert [(r["runner"], r["batch"], r["verified"]) for r in record["rows"] if not r["why_not"]] == [
        ("onnxruntime-cpu", 1, True),
        ("onnxruntime-cpu", 64, True),
    ]
    assert "the checkpoint that m.onnx was exported from is not beside it" in done.out
    assert record["rows"][0]["windows"]["kind"] == "reference"
    assert "<svg" in (model.parent / "b.html").read_text()


def test_bench_writes_a_record_to_send(run, model, monkeypatch) -> None:
    budget = Budget(runs=100, least_s=0.0, most_s=5, block_s=0.005, warm_s=0.0, paced_runs=100)
    monkeypatch.setattr("mimamba_edge.bench.submission.BUDGET", budget)
    monkeypatch.setattr("mimamba_edge.bench.run.paced", lambda runner, feeds, period, runs: [2.0] * runs)
    state = {"commit": None, "dirty": True}
    monkeypatch.setattr("mimamba_edge.bench.environment.source_state", lambda: state)
    done = run("bench", "m.onnx", "--record", "r.json")
    assert done.code == 1
    assert "environment.dirty" in done.err
    assert not (model.parent / "r.json").exists()
    state["dirty"] = None
    done = run("bench", "m.onnx", "--record", "r.json")
    assert done.code == 0, done.err
    record = json.loads((model.parent / "r.json").read_text())
    assert all(row["verified"] and row["p50_ms"] for row in record["rows"])
    assert {row["artifact"] for row in record["rows"]} == {"m.onnx"}
    assert record["rows"][0]["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert str(model.parent) not in json.dumps(record)
    assert record["windows"]["source"] == "m.ref.npz"


@pytest.mark.parametrize("name", ["m.onnx", "m.onnx.json", "m.ref.npz", "new/../m.onnx"])
def test_no_report_is_written_over_a_model_or_what_stands_beside_it(run, model, name) -> None:
    before = {path.name: path.read_bytes() for path in model.parent.iterdir()}
    for done in (
        run("bench", "m.onnx", "--report", name),
        run("bench", "m.onnx", "--html", name),
        run("bench", "m.onnx", "--record", name),
        run("doctor", "m.onnx", "--report", name),
        run("bench", "m.onnx", "--report", "same", "--html", "same"),
        run("parity", "m.onnx", "m.onnx", "--report", name),
    ):
        assert done.code == 2
        assert "would be overwritten" in done.err
    assert {path.name: path.read_bytes() for path in model.parent.iterdir()} == before


def test_bench_does_not_time_a_file_whose_output_is_wrong(run, model) -> None:
    write_reference(model.with_name("m.ref.npz"), tiny_contract(), scale=1.001)
    done = run("bench", "m.onnx", "--report", "b.json", "--html", "b.html")
    assert done.code == 1
    assert "not timed" in done.err
    rows = json.loads((model.parent / "b.json").read_text())["rows"]
    assert [(row["verified"], row["p50_ms"]) for row in rows] == [(False, None)] * len(rows)
    assert any(row["runner"] == "onnxruntime-cpu" for row in rows)


def test_bench_refuses_a_file_that_it_cannot_verify(run, model) -> None:
    model.with_name("m.ref.npz").unlink()
    done = run("bench", "m.onnx", "--report", "b.json")
    assert done.code == 2
    assert "m.ref.npz" in done.err
    assert not (model.parent / "b.json").exists()


@pytest.mark.parametrize("batch", ["0", "1,x", "", "-3", "1.5"])
def test_bench_batch_sizes(run, model, batch) -> None:
    done = run("bench", "m.onnx", f"--batch={batch}")
    assert done.code == 2
    assert "--batch" in done.err


def test_bench_without_a_model_uses_the_built_in_one(run, model, monkeypatch) -> None:
    from mimamba_edge import load as opening

    def _copy(path):
        # The simulator gives the windows, so the model must be one that a headset could feed.
        contract = write_model(path, tiny_contract(sfreq=64.0, hop=10))
        write_reference(path.with_name("reference.ref.npz"), contract)
        return path

    monkeypatch.setattr(opening, "builtin_model", lambda: _copy(model.with_name("reference.onnx")))
    done = run("bench", "--report", "b.json")
    assert done.code == 0, done.err
    assert json.loads((model.parent / "b.json").read_text())["rows"][0]["windows"]["kind"] == "simulated"


def test_inspect_shows_contract_tensors_and_nodes(run, model) -> None:
    done = run("inspect", "m.onnx", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["graph"]["nodes"] == {"Flatten": 1, "MatMul": 1}
    assert found["graph"]["checker"] == "passes"
    assert found["graph"]["ir_version"] == 10
    assert found["inputs"]["windows"]["shape"] == ["b", 3, 20]
    assert found["contract"]["ch_names"] == ["TP9", "AF7", "AF8"]
    assert found["manifest"]["kind"] == "onnx"
    text = run("inspect", "m.onnx", "--all").out
    for part in ("TP9", "MatMul 1", "sha256", "loads"):
        assert part in text


def test_inspect_is_short_and_narrow(run, model) -> None:
    lines = run("inspect", "m.onnx").out.splitlines()
    assert len(lines) < 20
    assert max(map(len, lines)) <= 80
    for part in ("3 channels in uV: TP9, AF7, AF8", "loads", "--all"):
        assert part in "\n".join(lines)


def test_inspect_lists_custom_nodes_with_attributes(run, model) -> None:
    contract = write_model(model.with_name("m.trt.onnx"), custom=True)
    write_manifest_for(model.with_name("m.trt.onnx"), contract, "trt.onnx")
    found = json.loads(run("inspect", "m.trt.onnx", "--json").out)
    (node,) = found["graph"]["custom_nodes"]
    assert (node["op"], node["name"], node["attributes"]) == (
        "mimamba.SelectiveScan",
        "/scan",
        {"reverse": 1},
    )
    # One input where the op has eight: the checker knows the op's schema.
    assert found["graph"]["checker"] != "passes"


def test_inspect_without_onnx_still_shows_the_contract(run, model, monkeypatch) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: None if n == "onnx" else real(n, *a))
    done = run("inspect", "m.onnx", "--all")
    assert done.code == 0
    assert "install onnx" in done.out
    assert "TP9" in run("inspect", "m.onnx").out


def test_inspect_names_what_is_wrong_and_ends_with_2(run, model) -> None:
    write_model(model.with_name("o.onnx"), inside=tiny_contract(hop=9))
    done = run("inspect", "o.onnx")
    assert done.code == 2
    assert "differs from that of its manifest" in done.err
    shutil.copy(model.with_name("m.onnx.json"), model.with_name("o.onnx.json"))
    assert "disagree" in run("inspect", "o.onnx").err
    assert "is not there" in run("inspect", "none.onnx").err
    model.with_name("x.txt").write_text("hello")
    assert "not a kind" in run("inspect", "x.txt").err
    model.with_name("x.json").write_text("{}")
    assert "not a manifest" in run("inspect", "x.json").err


def foreign(folder: Path, op: str = "Relu", domain: str = "") -> Path:
    """A file that another tool exported: no contract, no manifest."""
    node = onnx.helper.make_node(op, ["x"], ["y"], name="n", domain=domain)
    sides = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 4]) for name in "xy"]
    graph = onnx.helper.make_graph([node], "g", sides[:1], sides[1:])
    opsets = [onnx.helper.make_opsetid("", 18)] + ([onnx.helper.make_opsetid(domain, 1)] if domain else [])
    path = folder / f"{op}.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def test_a_foreign_file_is_sound_with_and_without_a_target(run, model) -> None:
    path = foreign(model.parent)
    alone, fits = run("inspect", path), run("inspect", path, "--target", "tensorrt-10.3")
    assert (alone.code, fits.code) == (0, 0), alone.err + fits.err
    assert "another tool" in alone.out
    assert json.loads(run("inspect", path, "--json").out)["problems"] == []
    # An op that ONNX Runtime does not know is no fault of the file: whoever wrote it has a plugin.
    plugin = foreign(model.parent, "TheirOwn", "them")
    assert run("inspect", plugin).code == 0
    assert "does not load it" in run("inspect", plugin).out
    assert run("inspect", plugin, "--target", "tensorrt-10.3").code in (0, 1)


def test_a_file_that_is_not_sound_is_so_with_a_target_too(run, model) -> None:
    broken = foreign(model.parent, "Relu")
    proto = onnx.load(broken)
    proto.graph.node[0].input[0] = "nowhere"
    onnx.save(proto, broken)
    write_model(model.with_name("o.onnx"), inside=tiny_contract(hop=9))  # with a contract, without a manifest
    bomb = foreign(model.parent, "F39", "them")  # 2 to the power of 40 nodes once it is loaded
    proto, opsets = onnx.load(bomb), [onnx.helper.make_opsetid(d, v) for d, v in (("", 18), ("them", 1))]
    for layer in range(40):
        inner = [f"F{layer - 1}", "them"] if layer else ["Identity", ""]
        calls = [onnx.helper.make_node(inner[0], [a], [b], domain=inner[1]) for a, b in ("xt", "ty")]
        proto.functions.append(onnx.helper.make_function("them", f"F{layer}", ["x"], ["y"], calls, opsets))
    onnx.save(proto, bomb)
    for path in (broken, model.with_name("o.onnx"), bomb):
        codes = [run("inspect", path, *more).code for more in ((), ("--target", "tensorrt-10.3"))]
        assert codes == [2, 2], path
    found = json.loads(run("inspect", broken, "--target", "tensorrt-10.3", "--json").out)
    assert found["problems"]


def test_a_path_that_the_system_refuses_is_exit_2_without_a_traceback(run) -> None:
    result = run("inspect", "n" * 300 + ".onnx")
    assert result.code == 2
    assert "the system refused" in result.err


def test_a_batch_that_no_memory_can_hold_is_exit_2_without_a_traceback(run, model) -> None:
    done = run("bench", "m.onnx", "--batch", 10**14, "--report", "b.json")
    assert done.code == 2
    assert "from 1 to 65536" in done.err
    assert not (model.parent / "b.json").exists()


def test_inspect_of_reference_and_manifest(run, model) -> None:
    found = json.loads(run("inspect", "m.ref.npz", "--json").out)
    assert found["arrays"]["windows"] == "float32 (70, 3, 20)"
    found = json.loads(run("inspect", "m.onnx.json", "--json").out)
    assert found["kind"] == "manifest"
    assert found["manifest"]["file"] == "m.onnx"


def test_answers_do_not_depend_on_the_batch(model) -> None:
    from mimamba_edge.load import load_model

    windows = noise(tiny_contract(), 33)
    with load_model(str(model)) as runner:
        together = runner.logits(windows)
        alone = np.concatenate([runner.logits(windows[i : i + 1]) for i in range(33)])
    np.testing.assert_allclose(alone, together, atol=1e-5 * np.abs(together).max())
    np.testing.assert_allclose(together, answers(tiny_contract(), windows), atol=1e-4)
