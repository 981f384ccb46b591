"""The benchmark of streams: its search, what it calls a delay, and one short load."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from benchmarks.live_latency import delays, largest
from benchmarks.live_load import load
from benchmarks.stream_stages import PAUSES, STAGES, notes, off_the_clock_ms, pauses, stages, to_rows
from mimamba_edge.contract import Contract
from mimamba_edge.data.labels import Trial
from mimamba_edge.data.recording import read_recording
from mimamba_edge.data.simulate import simulate_recording, write_recording
from mimamba_edge.load import load_model
from mimamba_edge.signal.filters import default_filters
from mimamba_edge.stream.decision import Decision
from tests.modelfiles import tiny_contract, write_model


@pytest.mark.parametrize("limit", [0, 1, 5, 64, 90, 100, 1000, 5000])
def test_the_search_finds_the_largest_number_within_five_percent(limit: int) -> None:
    tried: list[int] = []

    def hold(streams: int) -> bool:
        tried.append(streams)
        return streams <= limit

    found = largest(hold, 64, most=4096)
    assert found <= limit
    assert found + 1 >= min(limit, 4096) / 1.06
    assert found == 0 or found in tried
    assert len(tried) < 16


def _decision(t_s: float, label: str | None) -> Decision:
    return Decision(t_s, None, (0, 1), label, None, label is not None, None, {}, 0.0, 0.0)


def _trial(start_s: float, label: str) -> Trial:
    return Trial("a.csv", start_s, start_s + 2, label, "s", "1", "r", "x")


def test_what_a_delay_is() -> None:
    made = ((0.5, "a"), (1.5, "b"), (1.6, None), (2.0, "a"), (2.5, "b"), (3.0, "b"), (9.0, "a"))
    decisions = [_decision(t, label) for t, label in made]
    # Right at 1.5 s, wrong at 2 s, right from 2.5 s on.
    assert delays([_trial(1.0, "b")], decisions) == ([1.5], 0)
    # In force at the start is b, the trial's own; before the first decision any label is a change.
    assert delays([_trial(1.5, "b"), _trial(0.0, "a")], decisions) == ([2.0], 1)
    # The last decision of the trial is wrong; or it comes after its end.
    assert delays([_trial(1.5, "a"), _trial(6.0, "a")], decisions) == ([None, None], 0)


def _write_inputs(folder: Path) -> Contract:
    """Write a small model and a recording, and return the model's contract."""
    contract = tiny_contract(
        sfreq=128.0, n_times=64, hop=16, filters=default_filters(128.0, 60.0), mains_hz=60.0
    )
    write_model(folder / "m.onnx", contract)
    write_recording(folder / "a.csv", simulate_recording(["calm"], seed=1)[0])
    return contract


@pytest.mark.ort
@pytest.mark.torch
def test_a_short_load(tmp_path: Path) -> None:
    _write_inputs(tmp_path)
    figures = load(str(tmp_path / "m.onnx"), tmp_path / "a.csv", streams=3, seconds=1.5, threads=1)
    assert figures["streams"] == 3
    assert figures["dropped"] == figures["overruns"] == 0
    assert 0 < figures["windows"] <= 3 * 9
    assert figures["rss_mib"] > 10


@pytest.mark.ort
@pytest.mark.torch
def test_the_stages_of_a_stream_add_up_to_its_latency(tmp_path: Path) -> None:
    contract = _write_inputs(tmp_path)
    recording = read_recording(tmp_path / "a.csv")
    with load_model(tmp_path / "m.onnx", threads=1) as runner:
        found = stages(runner, recording, 2.5, settle_s=0.0)
        assert "infer" not in vars(runner)
        windows = np.zeros((3, contract.n_chans, contract.n_times), np.float32)
        after = pauses(runner, windows, 1)
    us = np.array(found["us"])
    assert us.shape[1] == len(STAGES)
    assert 1 <= len(us) <= 2.5 * 8
    assert (us >= 0).all()
    assert 0 < found["cpu_share"] < 2
    assert {name: len(values) for name, values in after.items()} == dict.fromkeys(PAUSES, 1)


def test_the_table_of_stages() -> None:
    ms = {"p50": 1234.0, "p99": 5000.0}
    found = {
        "decisions": 9,
        "latency_us": ms,
        "stages_us": {"a": ms},
        "cpu_share": 0.025,
        "after_us": {"b": ms},
    }
    record = {"runners": {"r": found}, "packets": {"within_1_ms": 0.14, "p95_ms": 7.3}}
    assert to_rows(record)[0] == ("**newest sample to decision**", "r", "1.23", "5.00")
    assert len(to_rows(record)) == 3
    assert notes(record)[0] == "r: 9 decisions, 2.5% of a core"


def test_packets_off_a_fixed_clock() -> None:
    recording, _ = simulate_recording(["calm"], seed=1)
    exact = np.arange(len(recording.samples)) / recording.sfreq
    assert np.abs(off_the_clock_ms(dataclasses.replace(recording, timestamps=exact))).max() < 1e-6
    late = exact + 0.002 * (np.arange(len(exact)) // 12 % 2)
    off = np.abs(off_the_clock_ms(dataclasses.replace(recording, timestamps=late)))
    np.testing.assert_allclose(off, 1.0, atol=0.05)
