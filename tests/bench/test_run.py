import dataclasses
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from mimamba_edge.bench.floor import SgemmClock
from mimamba_edge.bench.measure import Budget
from mimamba_edge.bench.page import render_page
from mimamba_edge.bench.run import Entry, Expected, run_bench, unverified
from mimamba_edge.bench.table import COMPACT, HEADER, columns_of, milliseconds, notes, to_rows
from mimamba_edge.contract import LOGITS
from mimamba_edge.errors import ConfigError, ContractError, RunnerError
from mimamba_edge.family import family_of
from mimamba_edge.parity.windows import WindowSet
from mimamba_edge.runtime.function import FunctionRunner
from tests.html_page import HtmlPage
from tests.modelfiles import answers, noise, tiny_contract

QUICK = Budget(runs=20, least_s=0.0, most_s=0.05, block_s=0.005, warm_s=0.0, paced_runs=2)
MODEL = {
    **{"top_k": 3, "min_bin": 1, "max_bin": 0, "n_kernels": 6, "d_ff": 32, "d_model": 128, "expand": 2},
    **{"d_state": 16, "dt_rank": "auto", "d_conv": 4, "n_layers": 2, "bidirectional": False},
}
CONTRACT = tiny_contract(model=MODEL)
DATA = noise(CONTRACT, 90)
WINDOWS = WindowSet(DATA, "some <recordings>", "recordings", 5)


def _entry(label: str = "fake", change=lambda y: y, *, contract=CONTRACT, optional: bool = False) -> Entry:
    def expected() -> Expected:
        return Expected(DATA[:70], {LOGITS: answers(CONTRACT, DATA[:70])}, "the oracle", "fp64")

    runner = FunctionRunner(
        lambda x: change(answers(CONTRACT, x)), contract, artifact="dir/m.onnx", kind=label
    )
    return Entry(runner, expected, label, "dir/m.onnx", optional=optional)


@pytest.fixture(scope="module")
def record() -> dict:
    entries = [
        _entry("torch-eager-parallel"),
        _entry("onnxruntime-cpu"),
        _entry("wrong", lambda y: y * 1.001),
        Entry(None, None, "torch-compile", "c.pt", why_not="no <compiler>"),
    ]
    return run_bench(entries, WINDOWS, batches=[64, 1], threads=1, budget=QUICK)


def test_rows_hold_what_the_issue_names(record) -> None:
    json.dumps(record, allow_nan=False)
    assert [(r["batch"], r["runner"]) for r in record["rows"][:4]] == [
        (1, "torch-eager-parallel"),
        (1, "onnxruntime-cpu"),
        (1, "wrong"),
        (1, "torch-compile"),
    ]
    keys = {
        "artifact",
        "runner",
        "precision",
        "batch",
        "threads",
        "p50_ms",
        "p99_ms",
        "max_ms",
        "verified",
        "windows",
    }
    for row in record["rows"]:
        assert keys <= set(row)
        assert row["windows"] == {"source": "some <recordings>", "kind": "recordings", "count": 90, "hop": 5}
    first, ours = record["rows"][:2]
    assert first["verified"]
    assert first["speedup"] == 1
    assert ours["speedup"] == pytest.approx(first["p50_ms"] / ours["p50_ms"])
    assert ours["floor_ratio"] == pytest.approx(ours["p50_ms"] / record["floor"]["floor_ms"])
    assert ours["paced_p50_ms"] > 0
    assert len(ours["latencies_ms"]) == ours["n_runs"]
    assert record["environment"]["versions"]["numpy"] == np.__version__
    assert len(record["environment"]["load"]) == 3


def test_what_is_wrong_is_not_timed(record) -> None:
    for row in record["rows"]:
        if row["runner"] == "wrong":
            assert not row["verified"]
            assert row["p50_ms"] is None
            assert row["latencies_ms"] == []
            assert row["verification"]["sqnr_db"] == pytest.approx(60, abs=0.1)
    reasons = unverified(record)
    assert len(reasons) == 2
    assert all("wrong" in r and "SQNR" in r for r in reasons)


def test_a_runner_that_cannot_be_had_says_why(record) -> None:
    row = record["rows"][3]
    assert (row["verified"], row["p50_ms"], row["why_not"]) == (False, None, "no <compiler>")
    (note,) = [note for note in notes(record) if "no <compiler>" in note]
    assert note == "not timed: c.pt in torch-compile: no <compiler>"  # one line for both batches


def test_an_optional_runner_may_fail_and_another_may_not() -> None:
    def broken(y):
        raise RunnerError("it does not compile")

    record = run_bench([_entry(), _entry("c", broken, optional=True)], WINDOWS, budget=QUICK)
    assert record["rows"][0]["p50_ms"] is not None
    assert "it does not compile" in record["rows"][1]["why_not"]
    assert not unverified(record)
    with pytest.raises(RunnerError):
        run_bench([_entry(), _entry("c", broken)], WINDOWS, budget=QUICK)


def test_a_wrong_answer_of_others_is_noted_and_no_finding() -> None:
    record = run_bench([_entry(), _entry("c", lambda y: y * 1.01, optional=True)], WINDOWS, budget=QUICK)
    assert record["rows"][1]["p50_ms"] is None
    assert any(line.startswith("not timed: m.onnx in c: disagrees") for line in notes(record))
    assert not unverified(record)


def test_each_cause_of_unstable_figures_has_a_line(record) -> None:
    rows = [dict(row) for row in record["rows"] if row["p50_ms"] is not None]
    for row, why in zip(rows, (None, "too few", "disturbed", "disturbed"), strict=True):
        row["unstable_why"] = why
    lines = notes({**record, "rows": rows})[-2:]
    assert lines == [
        "too few: m.onnx in onnxruntime-cpu, batch 1",
        "disturbed: m.onnx in torch-eager-parallel, batch 64; m.onnx in onnxruntime-cpu, batch 64",
    ]


def test_an_answer_that_depends_on_the_batch_is_found() -> None:
    record = run_bench(
        [_entry(change=lambda y: y if len(y) == 1 else y + y.mean(axis=0))],
        WINDOWS,
        batches=[1, 64],
        budget=QUICK,
    )
    assert [row["verified"] for row in record["rows"]] == [True, False]
    assert any(note.startswith("not timed: m.onnx in fake, batch 64: disagrees") for note in notes(record))


def test_models_of_other_shapes_are_refused() -> None:
    other = dataclasses.replace(CONTRACT, n_times=21)
    with pytest.raises(ContractError):
        run_bench([_entry(), _entry(contract=other)], WINDOWS, budget=QUICK)
    with pytest.raises(ConfigError):
        run_bench([], WINDOWS)
    with pytest.raises(ConfigError):
        run_bench([_entry()], WINDOWS, batches=[0])


def test_table_fits_its_header(record) -> None:
    rows = to_rows(record)
    assert {len(row) for row in rows} == {len(HEADER)}
    fewer = to_rows(record, COMPACT)
    assert columns_of(record) == COMPACT
    twins = [{"runner": "a", "artifact": name} for name in ("x.onnx", "y.onnx")]
    assert columns_of({"rows": twins})[0] == "artifact"
    assert [row[2] for row in fewer] == [row[HEADER.index("p50 ms")] for row in rows]
    assert [row[-1] for row in rows[:4]] == ["yes", "yes", "no", "not run"]
    assert [milliseconds(v) for v in (None, 0.01234, 1.239, 12.34, 1234.5)] == [
        "",
        "0.012",
        "1.24",
        "12.3",
        "1234",
    ]


def test_the_page_stands_alone_and_is_well_formed(record) -> None:
    text = render_page(record)
    page = HtmlPage(text)
    page.assert_stands_alone(text)
    assert "prefers-color-scheme: dark" in text
    # Text of users is text: nothing of it becomes markup.
    assert "some &lt;recordings&gt;" in text
    assert "no &lt;compiler&gt;" in text
    assert "<recordings>" not in text
    # One picture for each timed row, besides the legend's own.
    timed = sum(row["p50_ms"] is not None for row in record["rows"])
    assert sum(a.get("role") == "img" for _, a in page.seen) == timed
    for tag, attrs in page.seen:
        if tag == "i" and "style" in attrs:
            assert 0 <= float(re.findall(r"left:([\d.]+)%", attrs["style"])[0]) <= 100


def test_every_run_stands_in_the_picture(record) -> None:
    from mimamba_edge.bench.picture import chart

    row = dict(
        record["rows"][1], latencies_ms=[1.0, 1.0, 1.0, 64.0], min_ms=1.0, p50_ms=1.0, p99_ms=62, max_ms=64.0
    )
    area = re.search(r'class="area" d="([^"]+)"', chart([row], None)).group(1)
    heights = [100 - float(v) for v in re.findall(r"V([\d.]+)H", area)]
    assert heights.count(92.0) == 1
    assert heights[-1] == pytest.approx(92 / 3, abs=0.1)


def test_dense_work_of_the_default_network() -> None:
    """Counted here by hand from the formulas of the network, for windows of known periods."""
    contract = tiny_contract(ch_names=("a", "b", "c", "d"), n_times=128, model=MODEL)
    t = np.arange(128) / 128
    wave = sum(a * np.cos(2 * np.pi * f * t) for a, f in ((3, 4), (2, 8), (1, 3)))
    windows = np.broadcast_to(wave, (2, 4, 128)).astype(np.float32)
    macs = family_of(contract).dense_macs(contract, windows)
    assert macs is not None
    # Periods 32, 16 and 43: the last is padded to 3 x 43 = 129.
    assert macs["mstb"] == (128 + 128 + 129) * 4 * 32 * 121 * 2
    token = 128 * 512 + 256 * 4 + 256 * (8 + 32) + 8 * 256 + 2 * 256 * 16 + 256 * 128
    assert macs["rest"] == 4 * (128 * 128 + 2 * token + 128 * 2)
    assert 12.3e6 < macs["mstb"] + macs["rest"] < 13.5e6
    assert family_of(contract).dense_macs(tiny_contract(), windows) is None


def test_sgemm_rate_is_measured_by_a_child_that_ends() -> None:
    with SgemmClock(1) as clock:
        clock.sample()
        clock.sample()
        child = clock.child
    assert child is not None
    assert child.returncode == 0
    assert all(0.1 < rate < 1e5 for rate in clock.samples)
    floor = clock.floor(1e6)
    assert floor["floor_ms"] == pytest.approx(2e6 / (np.median(clock.samples) * 1e9) * 1e3)


def test_ctrl_c_in_a_terminal_does_not_reach_the_child_that_measures_sgemm() -> None:
    with SgemmClock(1) as clock:
        assert clock.child is not None
        assert os.getpgid(clock.child.pid) != os.getpgrp()


def test_the_record_says_where_nothing_was_measured(record) -> None:
    assert "Energy</dt><dd>not measured" in render_page(record)
    assert Path(record["rows"][0]["artifact"]).name == "m.onnx"


def test_the_state_of_a_board_is_recorded_before_and_after_and_shown(record) -> None:
    env = record["environment"]
    assert {"board", "board_after", "gpus", "gpus_after", "load_after"} <= set(env)
    board = {"power_mode": "15W", "clocks_locked": False, "throttled": ["gpu"]}
    page = render_page({**record, "environment": {**env, "board": board}})
    assert "<dt>Power mode</dt><dd>15W, clocks not locked, throttled before the run: gpu</dd>" in page
