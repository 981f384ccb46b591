import json
from pathlib import Path

import pytest

from benchmarks.latency import TARGETS, ratios
from benchmarks.page_tables import newest
from benchmarks.render import PAGES, render, rendered


def _row(runner: str, batch: int, p50: float | None) -> dict:
    figures = dict.fromkeys(("p99_ms", "max_ms", "per_window_ms", "speedup", "floor_ratio"), 2.0)
    return {"runner": runner, "batch": batch, "p50_ms": p50, "why_not": "no compiler", **figures}


def _record(**changes) -> dict:
    rows = [
        _row("torch-eager-parallel", 1, 5.0),
        _row("torch-compile", 1, None),
        _row("onnxruntime-cpu", 1, 0.5),
    ]
    rows += [_row("torch-eager-parallel", 64, 200.0), _row("onnxruntime-cpu", 64, 16.0)]
    env = {"device": "A (R) Chip", "cores": 2, "time": "2026-01-02T03:04:05+00:00", "commit": "c" * 40}
    env |= {"dirty": False, "versions": {"torch": "2", "onnxruntime": "1"}}
    floor = {"floor_ms": 0.25, "sgemm_gflops": 100.0}
    windows = {"count": 600, "source": "recordings", "hop": 16}
    record = {
        "rows": rows,
        "environment": env,
        "floor": floor,
        "windows": windows,
        "threads": 1,
        "input": [4, 128],
    }
    return record | changes


def _write(results: Path, device: str, name: str, record: dict) -> Path:
    path = results / device / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))
    return path


def test_ratios_by_hand() -> None:
    values = list(ratios(_record()).values())
    assert values[0] == 10.0
    assert values[1] is None
    assert values[2] == 2.0
    assert values[3] == pytest.approx(0.5)
    assert values[4] == 12.5
    assert len(values) == len(TARGETS)
    assert list(ratios(_record(floor=None)).values())[2] is None


def test_the_newest_of_each_device_counts(tmp_path) -> None:
    for name in (
        "2026-01-02-latency.json",
        "2026-01-02-latency-2.json",
        "2026-01-02-latency-10.json",
        "2025-12-31-latency.json",
    ):
        _write(tmp_path, "one", name, _record())
    _write(tmp_path, "two", "2024-01-01-latency.json", _record())
    found = [path.relative_to(tmp_path).as_posix() for path in newest(tmp_path, "latency")]
    assert found == ["one/2026-01-02-latency-10.json", "two/2024-01-01-latency.json"]


def test_tables_are_rewritten_and_nothing_else(tmp_path) -> None:
    _write(tmp_path, "one", "2026-01-02-latency.json", _record())
    text = "before\n<!-- table:latency -->\nold\n<!-- /table -->\nbetween\n"
    text += "<!-- table:latency-targets -->\n<!-- /table -->\nafter\n"
    once = render(text, tmp_path)
    assert once.startswith("before\n<!-- table:latency -->\n")
    assert "between" in once
    assert once.endswith("<!-- /table -->\nafter\n")
    assert "old" not in once
    assert "| **mimamba-edge in ONNX Runtime** | 1 | 0.500 |" in once
    assert "not timed: no compiler" in once
    assert "benchmarks/results/one/2026-01-02-latency.json" in once
    assert "| eager / ours, batch 1 | 10.00 | at least 8 |" in once
    assert render(once, tmp_path) == once
    # Every row of every table has as many cells as its header.
    for table in once.split("\n\n"):
        lines = [line for line in table.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) <= 1


def test_accuracy_table(tmp_path) -> None:
    score = {"mean": 0.95, "interval": [0.9, 0.99], "difference": -0.01}
    row = {"ch_names": ["A", "B"], "protocol": "leave-one-run-out", "n_trials": 192, "network": score}
    row |= {"baseline": score, "network_minus_baseline": score}
    _write(
        tmp_path,
        "one",
        "2026-01-02-ssvep-baseline.json",
        {"rows": [row], "environment": _record()["environment"]},
    )
    text = render("<!-- table:ssvep-baseline -->\n<!-- /table -->", tmp_path)
    shown = "0.950 (0.900 to 0.990)"
    assert f"| 2: A, B | leave-one-run-out | {shown} | {shown} | -0.010 (0.900 to 0.990) |" in text
    assert "192 trials, length and rate of the windows not in the record" in text
    assert "command of the training not in the record" in text
    command = "mimamba-edge train muse-ssvep --window 2"
    row |= {"train": command, "n_times": 256, "sfreq": 128.0, "network": {**score, "seeds": [0.9, 0.95, 1.0]}}
    record = {"rows": [row], "environment": _record()["environment"], "command": "python -m benchmarks it"}
    _write(tmp_path, "one", "2026-01-03-ssvep-baseline.json", record)
    text = render("<!-- table:ssvep-baseline -->\n<!-- /table -->", tmp_path)
    told = (
        "`python -m benchmarks it`",
        "windows of 2 s (256 samples at 128 Hz)",
        "3 seeds",
        f"by `{command}`",
    )
    assert all(word in text for word in told)


def test_bad_markers_are_named(tmp_path) -> None:
    with pytest.raises(ValueError, match="no table 'gpu'"):
        render("<!-- table:gpu -->\n<!-- /table -->", tmp_path)
    with pytest.raises(ValueError, match="not closed"):
        render("<!-- table:latency -->\n", tmp_path)
    assert "Not measured on a clean commit yet" in render("<!-- table:latency -->\n<!-- /table -->", tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_shows_what_the_records_say(page: Path) -> None:
    assert rendered(page) == page.read_text(encoding="utf-8"), "run python -m benchmarks render"


def test_the_table_of_personal_calibration_shows_what_the_record_holds(tmp_path) -> None:
    def held(mean: float, change: float) -> dict:
        return {
            "balanced_accuracy": {"mean": mean, "interval": [mean - 0.05, mean + 0.05]},
            "minus_none": {"difference": change, "interval": [change - 0.01, change + 0.01]},
            "nll": 0.4,
            "nll_minus_none": {"difference": 0.0, "interval": [-0.1, 0.1]},
        }

    record = _record(
        conditions={"as recorded": {"none": held(0.9, 0.0), "profile": held(0.88, -0.02)}},
        data={"folder": "eeg"},
        design={"n_trials": 192, "ch_names": ["TP9"], "rotations": 6, "seeds": 3}
        | {"trained_on": 3, "calibrated_on": 1, "tested_on": 2},
    )
    _write(tmp_path, "chip", "2026-01-02-personal.json", record)
    text = render("<!-- table:personal -->\n<!-- /table -->", tmp_path)
    assert "| as recorded | none | 0.900 (0.850 to 0.950) |  | 0.400 |  |" in text
    assert "| profile | 0.880 (0.830 to 0.930) | -0.020 (-0.030 to -0.010) | 0.400 |" in text
    assert "one person, one session" in text


def test_the_table_of_an_evaluation(tmp_path) -> None:
    score = {"mean": 0.9, "interval": [0.8, 0.95], "groups": 192, "unit": "trial"}
    first = {"name": "network", "balanced_accuracy": score, "against": None, "permutation_p": 0.0001}
    less = {"difference": -0.1, "interval": [-0.2, -0.01]}
    held = {
        "setting": "set, 2 channels",
        "protocol": "leave-one-run-out",
        "n_trials": 192,
        "methods": [first, {**first, "name": "linear", "against": less}],
        "picked_on_test": {"difference": 0.02},
        "notes": ["best of others: B"],
    }
    _write(tmp_path, "one", "2026-01-02-evaluation.json", _record(tables=[held]))
    text = render("<!-- table:evaluation -->\n<!-- /table -->", tmp_path)
    assert (
        "| set, 2 channels | linear | 0.900 (0.800 to 0.950) | -0.100 (-0.200 to -0.010) | 0.0001 |" in text
    )
    assert "set, 2 channels: 192 trials, leave-one-run-out, intervals over 192 trials, best of others" in text
    assert "epochs picked on the tested trials would have added +0.020" in text
