"""LSL streams as a source: an outlet in this process, on loopback, in a session of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mimamba_edge.errors import ConfigError, SourceError
from mimamba_edge.stream.preprocessing import preprocessor_of_source
from mimamba_edge.stream.sources import lsl, lsl_network
from mimamba_edge.stream.sources.base import Chunk, Source
from mimamba_edge.stream.sources.lsl import LslSource, open_spec
from mimamba_edge.stream.sources.lsl_markers import marker_inlet
from mimamba_edge.stream.sources.spec import open_source
from tests.modelfiles import tiny_contract
from tests.stream.sources.lsl_world import Outlet, make_info, pylsl

ROOT = Path(__file__).resolve().parents[3]
LABELS = ("TP9", "AF7", "AF8", "TP10")


@pytest.fixture
def name() -> str:
    return f"S{uuid.uuid4().hex[:8]}"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """On loopback the network answers at once."""
    monkeypatch.setattr(lsl_network, "OTHERS_S", 0.1)
    monkeypatch.setattr(lsl, "OFFSET_EVERY_S", 0.1)


def _signal(n: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 50, (n, 4)) / 3, 1e4 + np.cumsum(rng.exponential(1 / 256, n))


def _take(chunks: Iterator[Chunk], n: int) -> list[Chunk]:
    """Return chunks until they hold ``n`` samples."""
    taken: list[Chunk] = []
    while sum(len(chunk.samples) for chunk in taken) < n:
        taken.append(next(chunks))
    return taken


def _join(chunks: list[Chunk]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.concatenate([c.samples for c in chunks]), np.concatenate([c.timestamps for c in chunks])


def _started(outlet: Outlet, source: Source) -> Iterator[Chunk]:
    """Return the source's chunks once the outlet knows its consumer."""
    chunks = source.chunks()
    assert not len(next(chunks).samples)
    outlet.wait_for_consumer()
    return chunks


def test_samples_and_times_are_those_that_were_pushed_to_the_last_bit(name: str) -> None:
    samples, times = _signal(3000)
    with Outlet(name, LABELS) as outlet:
        source = open_source(f"lsl:name={name}?unit=microvolts")
        assert (source.ch_names, source.sfreq, source.unit) == (LABELS, 256.0, "uV")
        assert source.rails_uv == (-1000.0, 999.5)
        assert source.live
        chunks = _started(outlet, source)
        for at in range(0, 3000, 97):
            outlet.push(samples[at : at + 97], times[at : at + 97])
        got, stamps = _join(_take(chunks, 3000))
        source.close()
        assert list(chunks) == []
    assert got.dtype == stamps.dtype == np.float64
    np.testing.assert_array_equal(got, samples)
    np.testing.assert_array_equal(stamps, times)


@pytest.mark.parametrize(
    ("written", "unit"),
    [
        ("microvolts", "uV"),
        ("uV", "uV"),
        ("µV", "uV"),
        ("Volts", "V"),
        ("mV", "mV"),
        ("-6", "uV"),
        (None, "uV"),
    ],
)
def test_units_as_streams_write_them(written: str | None, unit: str) -> None:
    shape = lsl.signal_shape(make_info("any", LABELS, unit=written), None)
    assert shape.unit == unit
    assert shape.unit_assumed == (written is None)


def test_a_unit_that_is_no_voltage_needs_a_word() -> None:
    info = make_info("any", LABELS, unit="counts")
    with pytest.raises(SourceError, match=r"not a voltage[\s\S]*counts[\s\S]*unit=uV"):
        lsl.signal_shape(info, None)
    assert lsl.signal_shape(info, "mV").unit == "mV"


def test_channels_of_several_units_become_microvolts(name: str) -> None:
    info = make_info(name, ("Fz", "Cz", "counter"), unit=None)
    channel = info.desc().child("channels").child("channel")
    for unit in ("microvolts", "mV", "none"):
        channel.append_child_value("unit", unit)
        channel = channel.next_sibling()
    outlet = pylsl.StreamOutlet(info)
    source = open_source(f"lsl:name={name}")
    chunks = source.chunks()
    next(chunks)
    outlet.push_sample([1.5, 2.5, 3.0], 5.0)
    assert source.unit == "uV"
    assert _join(_take(chunks, 1))[0].tolist() == [[1.5, 2500.0, 3.0]]


def test_labels_are_only_text_and_may_be_missing() -> None:
    hostile = ("<script>alert(1)</script>", "[bold]x[/bold]", "", "a & b")
    named = lsl.signal_shape(make_info("any", hostile), None).ch_names
    assert named == (hostile[0], hostile[1], "ch3", hostile[3])


def test_a_name_with_quotes_is_found(name: str) -> None:
    odd = f"{name}' or \"1\"='1"
    with Outlet(odd, LABELS):
        assert open_spec("", {"name": odd}).device["stream"] == odd


@pytest.mark.parametrize(
    ("how", "message"), [({"sfreq": 0.0}, "does not say its rate"), ({"fmt": "string"}, "holds texts")]
)
def test_what_is_no_signal_is_refused(name: str, how: dict[str, object], message: str) -> None:
    with Outlet(name, LABELS, **how), pytest.raises(SourceError, match=message):
        open_source(f"lsl:name={name}")


def test_who_is_not_there_hears_who_is(name: str) -> None:
    with Outlet(f"{name}\x1b[31m", LABELS, source_id="amp"), pytest.raises(SourceError) as caught:
        LslSource({"name": "nobody"}, wait_s=0.6)
    assert f"{name}�[31m" in str(caught.value)
    assert "4 channels, 256 Hz" in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_of_several_one_must_be_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lsl_network, "OTHERS_S", 0.6)
    with Outlet(name, LABELS, source_id="one"), Outlet(name, LABELS, source_id="two"):
        with pytest.raises(SourceError, match=r"2 LSL streams[\s\S]*source_id=one"):
            open_source(f"lsl:name={name}")
        for spec in (f"lsl:name={name}&source_id=two", f"lsl:name={name}?source_id=two"):
            assert open_source(spec).ch_names == LABELS


@pytest.mark.parametrize(
    "spec", ["lsl:", "lsl:Muse", "lsl:nom=Muse", "lsl:name=a&name=b", "lsl:name=a?unit=T"]
)
def test_what_cannot_be_understood(spec: str) -> None:
    with pytest.raises(ConfigError):
        open_source(spec)


def test_a_stream_that_ends_is_waited_for(name: str) -> None:
    samples, times = _signal(40)
    outlet = Outlet(name, LABELS, source_id=f"{name}-amp")
    source = open_source(f"lsl:name={name}")
    chunks = _started(outlet, source)
    outlet.push(samples[:24], times[:24])
    first = _take(chunks, 24)
    outlet.close()
    notices = []
    while not notices:
        notices += next(chunks).notices
    assert [(n.kind, n.sample) for n in notices] == [("disconnected", 24)]
    # While it is away there are heartbeats, and nothing else.
    assert [len(next(chunks).samples) for _ in range(3)] == [0, 0, 0]
    with Outlet(name, LABELS, source_id=f"{name}-amp") as outlet:
        back = next(chunk for chunk in chunks if chunk.notices)
        assert [(n.kind, n.sample) for n in back.notices] == [("reconnected", 24)]
        outlet.wait_for_consumer()
        outlet.push(samples[24:], times[24:])
        got, stamps = _join([*first, *_take(chunks, 16)])
        source.close()
        assert list(chunks) == []
    np.testing.assert_array_equal(got, samples)
    np.testing.assert_array_equal(stamps, times)


def test_a_computer_that_vanished_is_noticed_and_found_again(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lsl, "SILENT_S", 0.2)
    monkeypatch.setattr(lsl, "ANSWER_S", 0.6)
    code = (
        "import sys, time\n"
        "from tests.stream.sources.lsl_world import Outlet\n"
        "import numpy as np\n"
        f"with Outlet({name!r}) as outlet:\n"
        "    while True:\n"
        "        outlet.push(np.ones((1, 4)), np.array([time.time()]))\n"
        "        time.sleep(0.02)\n"
    )
    # Stopped, it answers nothing and closes nothing, as a computer without power.
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    try:
        chunks = open_source(f"lsl:name={name}").chunks()
        _take(chunks, 3)
        process.send_signal(signal.SIGSTOP)
        gone = next(chunk for chunk in chunks if chunk.notices)
        assert [(n.kind, n.text) for n in gone.notices] == [
            ("disconnected", "silent, and no longer on the network")
        ]
        process.send_signal(signal.SIGCONT)
        back = next(chunk for chunk in chunks if chunk.notices)
        assert [n.kind for n in back.notices] == ["reconnected"]
        _take(chunks, 3)
    finally:
        process.kill()
        process.wait()


def test_a_stream_that_pauses_is_not_lost(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lsl, "SILENT_S", 0.1)
    monkeypatch.setattr(lsl, "ANSWER_S", 0.3)
    with Outlet(name, LABELS) as outlet:
        chunks = _started(outlet, open_source(f"lsl:name={name}"))
        assert [next(chunks).notices for _ in range(8)] == [()] * 8
        outlet.push(np.ones((1, 4)), np.array([3.25]))
        _take(chunks, 1)


def test_a_stream_that_comes_back_as_another_is_refused(name: str) -> None:
    outlet = Outlet(name, LABELS)
    chunks = _started(outlet, open_source(f"lsl:name={name}"))
    outlet.close()
    with (
        Outlet(name, ("Fz", "Cz", "Pz", "Oz")),
        pytest.raises(SourceError, match="came back with a different signal"),
    ):
        for _ in chunks:
            pass


def test_close_from_another_thread_ends_a_silent_source(name: str) -> None:
    with Outlet(name, LABELS):
        source = open_source(f"lsl:name={name}")
        seen: list[Chunk] = []
        reader = threading.Thread(target=lambda: seen.extend(source.chunks()))
        reader.start()
        time.sleep(0.3)
        source.close()
        source.close()
        reader.join(timeout=20)
        assert not reader.is_alive()
    assert seen
    assert sum(len(chunk.samples) for chunk in seen) == 0


def test_the_offset_of_its_clock_is_carried_and_not_applied(name: str) -> None:
    with Outlet(name, LABELS) as outlet:
        source = open_source(f"lsl:name={name}")
        assert isinstance(source, LslSource)
        chunks = _started(outlet, source)
        while source.clock_offset_s is None:
            assert len(next(chunks).samples) == 0
        outlet.push(np.ones((1, 4)), np.array([3.25]))
        assert _take(chunks, 1)[-1].timestamps.tolist() == [3.25]
        # One machine, one clock.
        assert abs(source.clock_offset_s) < 0.1


def test_markers_are_pairs_of_text_and_time(name: str) -> None:
    outlet = pylsl.StreamOutlet(pylsl.StreamInfo(name, "Markers", 1, 0, "string", f"{name}-keys"))
    markers = marker_inlet(f"lsl:name={name}")
    before = pylsl.local_clock()
    while not outlet.have_consumers():
        time.sleep(0.002)
    for text in ("start", "\x1b[2J", "Ωµ"):
        outlet.push_sample([text])
    got = [pair for _, pair in zip(range(3), markers, strict=False)]
    assert [text for text, _ in got] == ["start", "\x1b[2J", "Ωµ"]
    assert all(before - 0.1 < at < pylsl.local_clock() + 0.1 for _, at in got)
    assert abs(got[0][1] + markers.unix_offset_s() - time.time()) < 60
    assert markers.pull() is None
    markers.close()
    assert list(markers) == []


def test_numbers_are_markers_too(name: str) -> None:
    outlet = pylsl.StreamOutlet(pylsl.StreamInfo(name, "Markers", 1, 0, "int32", f"{name}-keys"))
    markers = marker_inlet(f"name={name}")
    outlet.wait_for_consumers(20.0)
    outlet.push_sample([1234567])
    assert markers.pull(20.0)[0] == "1234567"  # type: ignore[index]


@pytest.mark.parametrize(
    ("labels", "how"),
    [
        (LABELS, {"sfreq": 1e300}),
        (LABELS, {"sfreq": 1e7}),
        (LABELS, {"sfreq": 1e-9}),
        ([f"E{k}" for k in range(3000)], {}),
        ([f"E{k}" for k in range(1000)], {"sfreq": 30_000.0}),
        (["x" * 500_000], {}),
        (["x" * 500_000] * 4, {"unit": "x" * 500_000}),
    ],
    ids=["1e300", "1e7", "1e-9", "3000", "1000x30k", "label", "unit"],
)
def test_what_no_device_has_is_refused_in_few_words(
    name: str, labels: list[str], how: dict[str, object]
) -> None:
    with Outlet(name, labels, **how), pytest.raises(SourceError) as caught:
        open_source(f"lsl:name={name}")
    assert len(str(caught.value)) < 4096


def test_as_many_channels_as_there_may_be_fail_in_few_words(name: str) -> None:
    with Outlet(name, ["E" * 100 + str(k) for k in range(1000)]):
        source = open_source(f"lsl:name={name}")
        with pytest.raises(SourceError, match="lacks channels") as caught:
            preprocessor_of_source(source, tiny_contract(ch_names=LABELS), channel_map=None, mains_hz=None)
        source.close()
    assert len(str(caught.value)) < 4096


def test_a_stream_without_a_rate_is_given_one(name: str) -> None:
    samples, times = _signal(60)
    with Outlet(name, LABELS, sfreq=0.0) as outlet:
        with pytest.raises(SourceError, match=r"does not say its rate[\s\S]*\?sfreq=256"):
            open_source(f"lsl:name={name}")
        source = open_source(f"lsl:name={name}?sfreq=250")
        assert source.sfreq == 250.0
        chunks = _started(outlet, source)
        outlet.push(samples, times)
        np.testing.assert_array_equal(_join(_take(chunks, 60))[1], times)
        source.close()
    with pytest.raises(ConfigError, match="not a rate"):
        open_source(f"lsl:name={name}?sfreq=1e300")


def test_a_rate_that_is_wrong_is_overruled(name: str) -> None:
    with Outlet(name, LABELS, sfreq=256.0):
        source = open_source(f"lsl:name={name}?sfreq=240")
        assert source.sfreq == 240.0
        source.close()
