"""A short soak passes, and each of its checks can fail."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import soak, soak_checks
from benchmarks.faults import KINDS, Fault, FaultySource, write_script
from benchmarks.soak_checks import SoakCheck, check
from mimamba_edge.data.recording import read_recording
from mimamba_edge.errors import SourceError
from mimamba_edge.signal.preprocessor import Preprocessor
from mimamba_edge.stream.cleaning import ChunkCleaner
from mimamba_edge.stream.sources.base import Chunk

SECONDS = 175.0


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """A soak with every kind of fault at least once, and its folder."""
    folder = tmp_path_factory.mktemp("soak")
    return soak.soak(folder, SECONDS, seed=5), folder


def test_every_fault_is_found_and_every_window_is_the_same_again(run: tuple[dict[str, Any], Path]) -> None:
    record, _ = run
    missed = [f for f in record["findings"] if not f["ok"]]
    assert missed == []
    assert record["passed"]
    injected = {fault["kind"] for fault in record["log"]}
    assert injected == {*KINDS, "rate", "dies"}
    assert injected - {"rate"} <= {f["what"] for f in record["findings"]}
    [counters] = record["summary"]["streams"].values()
    assert counters["state"] == "failed"
    assert counters["valid"] > 500
    lossy = ("packet", "gap", "long-gap", "disconnect", "reorder")
    assert counters["losses"] == sum(fault["kind"] in lossy for fault in record["log"])
    assert set(counters["no_decision"]) == {"flat", "gap", "railed", "settling"}


@pytest.fixture(scope="module")
def computed(run: tuple[dict[str, Any], Path]) -> Any:
    """What is computed from the recording."""
    [session] = [p for p in run[1].iterdir() if p.is_dir()]
    return soak_checks.compute(session, soak.CONTRACT)


def _again(run: tuple[dict[str, Any], Path], folder: Path, tamper: Callable[..., None]) -> list[SoakCheck]:
    """Check the run once more with something tampered with; return what was found wrong."""
    record, original = run
    [session] = [p for p in original.iterdir() if p.is_dir()]
    shutil.copytree(session, folder / "session")
    parts: dict[str, Any] = {
        "hashes": bytearray((original / "windows.bin").read_bytes()),
        "summary": json.loads(json.dumps(record["summary"])),
        "log": json.loads(json.dumps(record["log"])),
        "folder": folder / "session",
    }
    tamper(parts)
    found = check(
        parts["folder"], bytes(parts["hashes"]), parts["summary"], parts["log"], soak.CONTRACT, soak.hash_of
    )
    return [f for f in found if not f.ok]


def _one_bit(parts: dict[str, Any]) -> None:
    parts["hashes"][800] ^= 1


def _one_window_less(parts: dict[str, Any]) -> None:
    del parts["hashes"][-8:]


def _lines(name: str, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> Callable[..., None]:
    def tamper(parts: dict[str, Any]) -> None:
        path = parts["folder"] / name
        lines = [change(json.loads(line)) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines if line is not None))

    return tamper


def _counter(parts: dict[str, Any]) -> None:
    [counters] = parts["summary"]["streams"].values()
    counters["bridged"] += 1


def _unlogged(parts: dict[str, Any]) -> None:
    parts["log"] = [f for f in parts["log"] if f["kind"] != "duplicate"]


def _other_step(parts: dict[str, Any]) -> None:
    for fault in parts["log"]:
        if fault["kind"] == "clock-forth":
            fault["step_s"] += 0.03


def _moved(parts: dict[str, Any]) -> None:
    for fault in parts["log"]:
        if fault["kind"] in ("railed", "clock-back"):
            fault["kept"] += 600


@pytest.mark.parametrize(
    ("tamper", "wrong"),
    [
        (_one_bit, {"windows computed again"}),
        (_one_window_less, {"windows computed again"}),
        (
            _lines("decisions.jsonl", lambda d: {**d, "t_s": round(d["t_s"] + 0.05, 6)}),
            {"windows computed again", "times of windows, rate off by 0.1 %"},
        ),
        (
            _lines(
                "decisions.jsonl", lambda d: {**d, "reason": "gap" if d["reason"] == "flat" else d["reason"]}
            ),
            {"windows computed again", "flat", "counters"},
        ),
        (_lines("events.jsonl", lambda e: None if e["kind"] == "late" else e), {"reorder", "counters"}),
        (
            _lines("events.jsonl", lambda e: {**e, "n": e["n"] + 15} if e["n"] > 7000 else e),
            {"long-gap", "counters"},
        ),
        (_counter, {"counters"}),
        (_unlogged, {"notices of nothing"}),
        (_other_step, {"clock-forth"}),
        (_moved, {"railed", "clock-back", "notices of nothing"}),
    ],
)
def test_the_checks_see_what_is_wrong(
    run: tuple[dict[str, Any], Path],
    computed: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tamper: Callable[..., None],
    wrong: set[str],
) -> None:
    # The signal itself is not tampered with.
    monkeypatch.setattr(soak_checks, "compute", lambda folder, contract: computed)
    found = {f.what for f in _again(run, tmp_path, tamper)}
    assert wrong <= found
    assert not found - wrong - {"times of windows, rate off by 0.1 %"}


def test_memory_that_grows_is_seen() -> None:
    level = np.full(40, 100.0 * 2**20)
    assert soak.flat(level, 1.0).ok
    assert soak.flat(np.append(level, level[0] * 1.015), 1.0).ok
    assert not soak.flat(np.append(level, level[0] * 1.025), 1.0).ok
    assert not soak.flat(np.linspace(1.0, 1.05, 100) * level[0], 1.0).ok
    # Warm-up may take what it needs.
    assert soak.flat(np.append(np.linspace(0.5, 1.0, 5) * level[0], level), 1.0).ok


class _Ramp:
    """Samples that tell their number."""

    name, ch_names, sfreq, unit, rails_uv, live = "ramp", ("a", "b"), 256.0, "uV", (-9e9, 9e9), False
    device: dict[str, Any] = {}  # noqa: RUF012

    def chunks(self) -> Any:
        for at in range(0, 12 * 400, 12):
            n = np.arange(at, at + 12, dtype=float)
            yield Chunk(np.column_stack([n, -n]), n / 256)

    def close(self) -> None:
        pass


def _given(*faults: Fault) -> tuple[np.ndarray, np.ndarray, FaultySource]:
    source = FaultySource(_Ramp(), faults)
    chunks = list(source.chunks())
    return np.concatenate([c.samples for c in chunks]), np.concatenate([c.timestamps for c in chunks]), source


def test_faults_do_what_they_say() -> None:
    whole = np.arange(4800.0)
    for kind, n in (("packet", 12), ("gap", 256), ("disconnect", 768)):
        x, t, source = _given(Fault(kind, 1001, n))
        assert np.array_equal(x[:, 0], np.delete(whole, slice(1008, 1008 + n)))
        assert np.array_equal(t, x[:, 0] / 256)
        assert [(f["kind"], f["at"], f["kept"]) for f in source.log] == [(kind, 1008, 1008)]
    x, _, _ = _given(Fault("duplicate", 1200, 12))
    assert np.array_equal(x[:, 0], np.insert(whole, 1212, whole[1200:1212]))
    x, _, source = _given(Fault("reorder", 1200, 12), Fault("nan", 2400, 40, channel=1))
    order = [*range(1200), *range(1212, 1224), *range(1200, 1212), *range(1224, 4800)]
    assert np.array_equal(x[:, 0], whole[order])
    assert np.flatnonzero(np.isnan(x[:, 1])).tolist() == list(range(2400, 2440))
    assert [f["kept"] for f in source.log] == [1200, 2388]
    x, _, _ = _given(Fault("railed", 240, 100), Fault("flat", 480, 100, channel=1))
    assert np.array_equal(x[240:340, 0], np.full(100, 9e9))
    assert np.ptp(x[480:580, 1]) == 0
    _, t, _ = _given(Fault("clock-back", 1200, 12, step_s=-5.0), Fault("rate", 2400, 9999, step_s=0.5))
    assert t[1199] == 1199 / 256
    assert t[1200] == pytest.approx(1200 / 256 - 5)
    assert t[-1] - t[2400] == pytest.approx(1.5 * 2399 / 256)


def test_a_source_that_goes_away_says_so_and_one_that_dies_raises() -> None:
    source = FaultySource(_Ramp(), [Fault("disconnect", 1200, 240), Fault("dies", 4800)])
    notices = []
    chunks = source.chunks()
    for _ in range(400):
        notices += [(n.kind, n.sample) for n in next(chunks).notices]
    with pytest.raises(SourceError, match="died"):
        next(chunks)
    assert notices == [("disconnected", 1200), ("reconnected", 1200)]
    assert [f["kind"] for f in source.log] == ["disconnect", "dies"]


def test_a_script_follows_from_its_seed() -> None:
    one, same, other = (write_script(seed, 600, sfreq=256.0, n_chans=4) for seed in (1, 1, 2))
    assert one == same != other
    assert {f.kind for f in one} == {*KINDS, "rate", "dies"}
    inside = sorted((f for f in one if f.kind in KINDS), key=lambda f: f.at)
    for fault, following in pairwise(inside):
        assert following.at - fault.at - fault.n >= 6 * 256
    assert all(f.at + f.n <= 600 * 256 for f in inside)


@pytest.mark.data
def test_the_clean_recordings_go_through_without_a_word(recordings: Path) -> None:
    for file in sorted(recordings.glob("run-*.csv")):
        recording = read_recording(file)
        cleaner = ChunkCleaner(recording.sfreq, len(recording.ch_names))
        path = Preprocessor(soak.CONTRACT, recording.format)
        notices: list[Any] = []
        for at in range(0, len(recording.samples), 12):
            part = slice(at, at + 12)
            chunk = cleaner.clean(Chunk(recording.samples[part], recording.timestamps[part]))
            notices += chunk.notices
            path.push(chunk.samples, chunk.timestamps)
        assert notices == []
        quiet = ("lost_samples", "losses", "clock_steps", "suspicions", "bridged", "gaps", "resets")
        assert {k: path.report[k] for k in quiet} == dict.fromkeys(quiet, 0)
        assert path.report["samples"] == len(recording.samples)
