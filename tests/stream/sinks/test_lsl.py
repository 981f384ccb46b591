"""Decisions as LSL streams, read by real inlets on loopback."""

from __future__ import annotations

import itertools
import math
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from typing import Any

import pytest

from mimamba_edge.errors import ConfigError
from mimamba_edge.stream.sinks.base import Sink
from mimamba_edge.stream.sinks.spec import open_sink
from tests.stream.sinks.made import decision, stream_info
from tests.stream.sources.lsl_world import pylsl

_NUMBERS = itertools.count()
WAIT_S = 20.0


@pytest.fixture
def name() -> str:
    return f"decisions-{next(_NUMBERS)}"


@pytest.fixture
def opened() -> Iterator[list[Any]]:
    """Inlets of a test, closed before the outlets go."""
    inlets: list[Any] = []
    yield inlets
    for inlet in inlets:
        inlet.close_stream()


def _inlet(name: str, opened: list[Any]) -> Any:
    found = pylsl.resolve_byprop("name", name, 1, WAIT_S)
    assert len(found) == 1, name
    inlet = pylsl.StreamInlet(found[0], recover=False)
    opened.append(inlet)
    inlet.open_stream(WAIT_S)
    return inlet


def _pull(inlet: Any, n: int) -> list[tuple[list[Any], float]]:
    """Return ``n`` samples; what comes beyond them fails."""
    samples = []
    for _ in range(n):
        sample, stamp = inlet.pull_sample(WAIT_S)
        assert sample is not None
        samples.append((sample, stamp))
    return samples


def _described(inlet: Any) -> ElementTree.Element:
    return ElementTree.fromstring(inlet.info(WAIT_S).as_xml())


def _begin(spec: str, *names: str, **changes: Any) -> Sink:
    sink = open_sink(spec)
    assert not sink.lossless
    sink.begin([stream_info(name, **changes) for name in names])
    return sink


def test_markers_come_at_each_change_and_probabilities_with_each_window(name: str, opened: list[Any]) -> None:
    sink = _begin(f"lsl:{name}", "muse")
    markers, probs = _inlet(name, opened), _inlet(f"{name}-probs", opened)
    for number, label in enumerate(("calm", "calm", "happy", None, None, "happy")):
        sink.decision(decision(label, number, t_unix=None))
    last = decision(None, 6, t_unix=None, reason="settling")
    sink.decision(last)
    told = _pull(markers, 5)
    assert [sample for sample, _ in told] == [
        ["calm"],
        ["happy"],
        ["no decision: gap"],
        ["happy"],
        ["no decision: settling"],
    ]
    rows = _pull(probs, 7)
    no = [math.nan, math.nan, 0.0]
    expected = [[0.75, 0.25, 1.0]] * 2 + [[0.25, 0.75, 1.0], no, no, [0.25, 0.75, 1.0], no]
    assert [row for row, _ in rows] == [pytest.approx(row, nan_ok=True) for row in expected]
    # A marker has the very time of its window's probabilities.
    assert [stamp for _, stamp in told] == [rows[i][1] for i in (0, 2, 3, 5, 6)]
    assert markers.samples_available() == probs.samples_available() == 0
    sink.close()


def test_time_stamps_say_when_the_decision_was_made(name: str, opened: list[Any]) -> None:
    sink = _begin(f"lsl:{name}", "muse")
    probs = _inlet(f"{name}-probs", opened)
    before, wall = pylsl.local_clock(), time.time()
    # Samples came 1.5 s ago, the decision was made 0.5 s later, and waited for a second in the queue.
    sink.decision(decision(t_unix=wall - 1.5, latency_ms=500.0))
    # A wall clock that was set an hour forward or back says nothing.
    sink.decision(decision(t_unix=wall - 3600))
    sink.decision(decision(t_unix=wall + 3600))
    after = pylsl.local_clock()
    stamps = [stamp for _, stamp in _pull(probs, 3)]
    assert before - 1.0 - 1e-3 <= stamps[0] <= after - 1.0 + 1e-3
    assert before <= stamps[1] <= stamps[2] <= after
    sink.close()


def test_the_description_names_channels_and_delay(name: str, opened: list[Any]) -> None:
    sink = _begin(f"lsl:{name}", "muse", class_names=("calm", "valid", "a<b&c"))
    markers, probs = _described(_inlet(name, opened)), _described(_inlet(f"{name}-probs", opened))
    assert (markers.findtext("type"), markers.findtext("channel_format")) == ("Markers", "string")
    assert (probs.findtext("type"), probs.findtext("channel_format")) == ("Probabilities", "float32")
    for told in (markers, probs):
        assert float(told.findtext("nominal_srate") or "nan") == 0.0
        assert told.findtext("desc/mimamba/algorithmic_delay_ms") == "640"
        # 32 Hz, a hop of 5 samples.
        assert told.findtext("desc/mimamba/decisions_per_second") == "6.4"
        assert told.findtext("desc/mimamba/model") == "m.onnx"
    channels = probs.findall("desc/channels/channel")
    assert [c.findtext("label") for c in channels] == ["calm", "valid", "a<b&c", "valid_2"]
    assert [c.findtext("unit") for c in channels] == ["probability"] * 3 + ["flag"]
    assert markers.findtext("source_id") != probs.findtext("source_id")
    sink.close()


def test_a_restart_is_the_same_stream_and_other_classes_are_another(name: str, opened: list[Any]) -> None:
    ids = []
    for classes in (("calm", "happy"), ("calm", "happy"), ("calm", "sad")):
        sink = _begin(f"lsl:{name}", "muse", class_names=classes)
        ids.append(_described(_inlet(f"{name}-probs", opened)).findtext("source_id"))
        sink.close()
    assert ids[0] == ids[1] != ids[2]


def test_several_streams_have_outlets_of_their_own_and_tell_no_addresses(
    name: str, opened: list[Any]
) -> None:
    a, b = "brainflow:muse_2?mac_address=00:11:22:33:44:55", "brainflow:muse_2?mac_address=66:77"
    sink = _begin(f"lsl:{name}", a, b)
    first = _inlet(f"{name}-brainflow:muse_2", opened)
    second = _inlet(f"{name}-brainflow:muse_2_2", opened)
    sink.decision(decision("calm", stream=a))
    sink.decision(decision("happy", stream=b))
    assert [sample for sample, _ in _pull(first, 1) + _pull(second, 1)] == [["calm"], ["happy"]]
    for inlet in opened:
        assert "00:11" not in inlet.info(WAIT_S).as_xml()
    sink.close()


def test_hostile_names_leave_the_description_whole(name: str, opened: list[Any]) -> None:
    classes = ("</label><x>", "a\x00b", "\x1b[2J", "\ud800", "z" * 256)
    sink = _begin(f"lsl:{name}", "muse", class_names=classes)
    markers, probs = _inlet(name, opened), _inlet(f"{name}-probs", opened)
    labels = [c.findtext("label") for c in _described(probs).findall("desc/channels/channel")]
    assert labels[:4] == ["</label><x>", "a�b", "�[2J", "�"]
    assert len(labels) == 6
    sink.decision(decision("a\x00b", class_names=classes))
    assert _pull(markers, 1)[0][0] == ["a�b"]
    sink.close()


@pytest.mark.parametrize("rest", ["", "a\nb", "\x1b[31m"])
def test_wrong_names(rest: str) -> None:
    with pytest.raises(ConfigError, match="needs a name"):
        open_sink(f"lsl:{rest}")
