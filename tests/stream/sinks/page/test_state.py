from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest

from mimamba_edge.stream.sinks.page.rings import Series, SignalRing
from mimamba_edge.stream.sinks.page.state import PageState, View
from mimamba_edge.stream.sources.base import Notice
from tests.stream.sinks.page.feeding import CHANNELS, HOSTILE, counters, decision, info, wave


def _signal(messages: list[Any]) -> list[tuple[int, np.ndarray]]:
    out = []
    for message in messages:
        if isinstance(message, bytes):
            kind, channels, start = struct.unpack_from("<IId", message)
            assert kind == 1
            out.append((int(start), np.frombuffer(message, "<f4", offset=16).reshape(-1, channels)))
    return out


def _texts(messages: list[Any]) -> dict[str, Any]:
    return {m["type"]: m for m in map(json.loads, (m for m in messages if isinstance(m, str)))}


def _state(*infos: Any, clock: Any = lambda: 0.0) -> PageState:
    state = PageState(clock=clock, wall=lambda: 1.7e9)
    state.begin(infos or (info(),))
    return state


def test_a_series_gives_what_is_new_and_forgets_the_oldest() -> None:
    series: Series[int] = Series(3)
    for i in range(5):
        series.append(i)
    assert series.since(4) == [4]
    assert series.since(0) == [2, 3, 4]
    assert series.since(5) == []


@pytest.mark.parametrize("seed", range(6))
def test_a_reader_ends_with_what_was_written_last(seed: int) -> None:
    """Random writes, rewrites and holes, read at random moments, against a plain dictionary."""
    rng = np.random.default_rng(seed)
    ring, truth = SignalRing(50, 2), {}
    cursor, seen, got = 0, 0, {}
    end = 0
    for _ in range(300):
        start = max(0, end + int(rng.choice([0, 0, 0, 0, -7, 4, -20, 90])))
        rows = rng.normal(size=(int(rng.integers(1, 70)), 2)).astype(np.float32).astype(np.float64)
        ring.write(rows, start)
        truth = {k: v for k, v in truth.items() if k < start}
        for at in range(end, start):
            truth[at] = np.full(2, np.nan)
        truth |= {start + i: row for i, row in enumerate(rows)}
        end = start + len(rows)
        if rng.random() < 0.4:
            while True:
                first, part = ring.read(cursor, seen, 16)
                seen = ring.rewinds
                got = {k: v for k, v in got.items() if k < first}
                got |= {first + i: row for i, row in enumerate(part)}
                if not len(part):
                    break
                cursor = first + len(part)
            assert cursor == end
            kept = range(max(ring.first, end - 50), end)
            assert all(np.array_equal(got[i], truth[i], equal_nan=True) for i in kept)


def test_a_browser_gets_each_sample_once_and_a_rewritten_stretch_again() -> None:
    state, view = _state(), View(0)
    state.signal("Muse", wave(0, 100), 0)
    ((start, rows),) = _signal(state.news(view))
    assert start == 0
    np.testing.assert_array_equal(rows, wave(0, 100).astype(np.float32))
    assert _signal(state.news(view)) == []
    state.signal("Muse", wave(100, 20), 100)
    assert _signal(state.news(view))[0][0] == 100
    state.signal("Muse", -wave(90, 40), 90)
    ((start, rows),) = _signal(state.news(view))
    assert start == 90
    np.testing.assert_array_equal(rows, -wave(90, 40).astype(np.float32))


def test_what_a_browser_that_stood_still_is_given_is_bounded() -> None:
    state, view = _state(), View(0)
    for hop in range(4000):  # More than eight minutes.
        state.signal("Muse", wave(16 * hop, 16), 16 * hop)
        state.decision(decision(16 * hop + 16))
        state.notice("Muse", Notice("marker", "x", sample=hop))
    messages = state.news(view)
    assert sum(len(rows) for _, rows in _signal(messages)) == 20 * 128
    assert sum(map(len, messages)) < 300_000
    start, rows = _signal(messages)[0]
    np.testing.assert_array_equal(rows[0], wave(start, 1)[0].astype(np.float32))
    assert start == 16 * 4000 - 20 * 128


def test_decisions_carry_classes_by_number_and_what_is_wrong_with_a_channel() -> None:
    state, view = _state(), View(0)
    state.decision(decision(128, 1))
    state.decision(decision(144, None, reason="railed", worst={"railed": 0.4, "rms_uv": 300.0}))
    told = _texts(state.news(view))["decisions"]
    assert [item[1:4] for item in told["items"]] == [[0, 128, 1], [16, 144, -1]]
    assert told["items"][0][4] == pytest.approx([0.15, 0.7, 0.15])
    assert told["items"][1][4:6] == [None, "railed"]
    assert [verdict for verdict, _ in told["quality"]] == ["good", "railed"] + ["good"] * 6


def test_the_histogram_counts_each_decision_and_its_percentiles_are_numpys() -> None:
    state = _state()
    ms = np.random.default_rng(0).lognormal(0.5, 0.6, 1000)
    for i, value in enumerate(ms):
        state.decision(decision(16 * i, latency_ms=float(value)))
    state.decision(decision(16000, None, reason="gap", latency_ms=5000.0))
    told = _texts(state.news(View(0)))["status"]["latency"]
    assert sum(told["counts"]) == told["n"] == 1000
    assert told["p50"] == pytest.approx(np.percentile(ms, 50), abs=1e-3)
    assert told["p99"] == pytest.approx(np.percentile(ms, 99), abs=1e-3)
    edges = told["first_ms"] * 10 ** (np.arange(len(told["counts"]) + 1) / told["per_decade"])
    np.testing.assert_array_equal(np.histogram(ms, edges)[0], told["counts"])


def test_the_state_waits_for_samples_and_then_is_the_hubs() -> None:
    now = [0.0]
    state = _state(clock=lambda: now[0])

    def told() -> Any:
        return _texts(state.news(View(0)))["status"]

    assert told()["state"] == "waiting"
    state.status(counters(state="silent"))
    assert told()["state"] == "waiting"
    state.signal("Muse", wave(0, 16), 0)
    state.status(counters())
    assert told()["state"] == "running"
    now[0] = 4.0
    state.status(counters(state="disconnected"))
    assert (told()["state"], told()["silent_s"]) == ("disconnected", 4.0)


def test_recording_and_throttling_are_told_as_they_are() -> None:
    state = _state()

    def told() -> Any:
        return _texts(state.news(View(0)))["status"]

    state.status(counters(sinks={"record": {"dropped": 0, "gone": False}}, machine={"throttled": ["cpu"]}))
    assert (told()["recording"], told()["throttled"]) == (True, ["cpu"])
    # A recorder that failed records nothing.
    state.status(counters(sinks={"record": {"dropped": 0, "gone": True}}, machine={"throttled": []}))
    assert (told()["recording"], told()["throttled"]) == (False, [])


def test_a_browser_hears_something_every_second_and_no_more_than_is_new() -> None:
    now = [0.0]
    state, view = _state(info("a"), info("b"), clock=lambda: now[0]), View(0)
    assert set(_texts(state.news(view))) == {"status", "overview"}
    assert state.news(view) == []
    now[0] = 1.0
    assert set(_texts(state.news(view))) == {"status", "overview"}


def test_several_streams_are_kept_apart() -> None:
    state = _state(info("a"), info("b"))
    state.signal("b", wave(0, 16), 0)
    state.decision(decision(128, 2, stream="b"))
    assert _signal(state.news(View(0))) == []
    assert _texts(state.news(View(0)))["overview"]["streams"] == [
        ["waiting", None, None, None],
        ["running", "bored", pytest.approx(0.7), None],
    ]
    assert _texts(state.news(View(1)))["decisions"]["items"][0][3] == 2


def test_names_from_outside_are_text_without_control_characters() -> None:
    state = _state(info(HOSTILE[2], channels=(*HOSTILE, "\udc80"), classes=HOSTILE))
    hello = json.loads(state.hello(View(0)))
    assert hello["channels"][0] == HOSTILE[0]
    assert not set(hello["streams"][0]) & set("\x00\x1b\u202e")
    hello["channels"][-1].encode()
    assert len(json.loads(_state(info("x" * 5000)).hello(View(0)))["streams"][0]) < 200


def test_figures_that_are_no_numbers_do_not_break_the_page() -> None:
    state = _state()
    state.decision(decision(128, worst={"rms_uv": float("nan")}))
    state.status(counters(machine={"throttled": None}, sinks={}))
    told = _texts(state.news(View(0)))
    assert told["decisions"]["quality"][1][1] is None
    assert len(told["decisions"]["quality"]) == len(CHANNELS)
