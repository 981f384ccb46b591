"""The stream engine: several streams, batches, back-pressure, sources and sinks that fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimamba_edge.data.recording import read_recording
from mimamba_edge.data.simulate import simulate_recording, write_recording
from mimamba_edge.data.windows import preprocessor_for_recording, stream_windows
from mimamba_edge.errors import ConfigError, MimambaError, OutputError, RunnerError, SourceError
from mimamba_edge.stream.decision import Decision, softmax
from mimamba_edge.stream.decoder import Decoder
from mimamba_edge.stream.dispatch import SinkDispatcher
from mimamba_edge.stream.engine import StreamEngine
from mimamba_edge.stream.live_stream import LiveStream
from mimamba_edge.stream.names import parse_map
from mimamba_edge.stream.outcome import check_outcome, describe
from mimamba_edge.stream.queue import ReadyReaders, SourceReader
from mimamba_edge.stream.sinks.base import Sink
from mimamba_edge.stream.sources.base import Chunk, Notice
from mimamba_edge.stream.sources.recording import FileSource
from tests.stream.engines import CONTRACT, MUSE, Kept, Model, Played, formula, hub_of


@pytest.fixture(scope="module")
def recordings8(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Eight recordings of different lengths with holes in different places."""
    folder, paths = tmp_path_factory.mktemp("engine"), []
    for i in range(8):
        simulated, _ = simulate_recording(["calm"], seed=i)
        simulated.samples[1000 + 50 * i : 1010 + 40 * i, 1] = np.nan
        write_recording(folder / f"{i}.csv", simulated)
        lines = (folder / f"{i}.csv").read_text().splitlines(keepends=True)
        (folder / f"{i}.csv").write_text("".join(lines[: 2200 - 100 * i]))
        paths.append(folder / f"{i}.csv")
    return paths


def chunks_of(path: Path, size: int = 12, **more: Any) -> Iterator[Chunk]:
    a = read_recording(path)
    for at in range(0, len(a.samples), size):
        yield Chunk(a.samples[at : at + size], a.timestamps[at : at + size], **more)


@pytest.mark.parametrize("n", [2, 3, 8])
def test_each_of_several_streams_decides_as_its_recording_does_offline(
    recordings8: list[Path], n: int
) -> None:
    sources = [FileSource(path, speed="max", chunk=12 + 5 * i) for i, path in enumerate(recordings8[:n])]
    engine, kept, batches = hub_of(sources)
    summary = engine.run()
    assert 1 < max(len(batch) for batch in batches) <= n
    for path in recordings8[:n]:
        name, offline = str(path), stream_windows(read_recording(path), CONTRACT)
        mine = [d for d in kept.decisions if d.stream == name]
        assert [d.window for d in mine] == [(w.start, w.stop) for w in offline]
        assert [d.reason for d in mine] == [w.reason for w in offline]
        for d, w in zip(mine, offline, strict=True):
            if w.valid:
                p = softmax(formula(w.data[None])[0], 2.0)
                assert d.probs is not None
                assert list(d.probs.values()) == pytest.approx(p.tolist(), abs=2e-6)
        counted = summary["streams"][name]
        assert counted["windows"] == len(offline)
        assert counted["valid"] == sum(w.valid for w in offline) > 0
        assert counted["state"] == "ended"
        assert counted["dropped"] == counted["overruns"] == 0


def test_equal_names_are_told_apart(recordings8: list[Path]) -> None:
    path = recordings8[0]
    engine, kept, _ = hub_of([FileSource(path, speed="max"), FileSource(path, speed="max")])
    assert list(engine.run()["streams"]) == [str(path), f"{path} (2)"]
    by_name = [[d.probs for d in kept.decisions if d.stream == info.name] for info in kept.infos]
    assert by_name[0] == by_name[1]


def _in_step(path: Path, barrier: threading.Barrier, readers: list[SourceReader]) -> Iterator[Chunk]:
    """Chunks that come when those of all streams have been taken."""
    for chunk in chunks_of(path, arrived=time.perf_counter()):
        barrier.wait(30)
        yield chunk
        while any(reader.filled and not reader.closing for reader in readers):
            time.sleep(1e-4)
        barrier.wait(30)


def _live_hub(path: Path, n: int, **options: Any) -> tuple[StreamEngine, list[np.ndarray]]:
    readers: list[SourceReader] = []
    barrier = threading.Barrier(n)
    engine, _, batches = hub_of(
        [Played(_in_step(path, barrier, readers), name=str(i)) for i in range(n)], **options
    )
    readers += [stream.reader for stream in engine.streams]
    return engine, batches


def test_windows_that_are_ready_within_the_deadline_are_one_batch(recordings8: list[Path]) -> None:
    engine, batches = _live_hub(recordings8[7], 4, deadline_ms=1000.0)
    summary = engine.run()
    valid = next(iter(summary["streams"].values()))["valid"]
    assert [len(batch) for batch in batches] == [4] * valid


def test_one_stream_alone_waits_for_nobody(recordings8: list[Path]) -> None:
    engine, batches = _live_hub(recordings8[7], 1, deadline_ms=1000.0)
    engine.run()
    assert {len(batch) for batch in batches} == {1}


def test_a_deadline_is_not_waited_for_longer(recordings8: list[Path]) -> None:
    """A second stream that never says anything must not hold up the first."""
    readers: list[SourceReader] = []
    silent = Played(_silence(), name="silent")
    talking = Played(_in_step(recordings8[7], threading.Barrier(1), readers), name="talking")
    now = [0.0]

    def clock() -> float:
        now[0] += 0.001
        return now[0]

    engine, kept, batches = hub_of([silent, talking], deadline_ms=20.0, clock=clock)
    readers.append(engine.streams[1].reader)
    threading.Thread(target=lambda: (_until(lambda: len(batches) > 0), engine.stop()), daemon=True).start()
    engine.run()
    assert {len(batch) for batch in batches} == {1}
    assert engine.summary()["streams"]["silent"]["windows"] == 0
    assert {d.stream for d in kept.decisions} == {"talking"}


def _silence() -> Iterator[Chunk]:
    while True:
        time.sleep(0.01)
        yield Chunk(np.zeros((0, 4)), np.zeros(0))


def _until(condition: Any) -> None:
    for _ in range(20_000):
        if condition():
            return
        time.sleep(1e-3)


def test_an_engine_for_few_windows_gets_no_more(recordings8: list[Path]) -> None:
    engine, _, batches = hub_of([FileSource(path, speed="max") for path in recordings8[:3]], most_batch=2)
    engine.run()
    assert {len(batch) for batch in batches} == {1, 2}
    model = Model()
    model.runner.least_batch = 4
    with pytest.raises(RunnerError, match="cannot take single windows"):
        StreamEngine(model.runner, [FileSource(recordings8[0])])


def test_the_oldest_window_is_dropped_and_counted_when_the_model_is_too_slow(recordings8: list[Path]) -> None:
    """While the model thinks for 0.3 s of the tests' time, six chunks of 12 / 256 s come."""
    now, given, allowed = [0.0], [0], [0]
    streams: list[LiveStream] = []

    def chunks() -> Iterator[Chunk]:
        for chunk in chunks_of(recordings8[0], arrived=0.0):
            given[0] += 1
            yield chunk
            _until(lambda: given[0] < allowed[0] or not (streams[0].reader.filled or streams[0].waiting))

    def slow(windows: np.ndarray) -> None:
        if streams:
            allowed[0] = given[0] + 6
            _until(lambda: given[0] >= allowed[0] or streams[0].reader.ended)
        now[0] += 0.3

    model, kept = Model(before=slow), Kept()
    engine = StreamEngine(model.runner, [Played(chunks())], sinks=[kept], clock=lambda: now[0])
    engine.begin()
    streams.append(engine.streams[0])
    summary = engine.run()
    counted = summary["streams"]["played"]
    assert counted["dropped"] > 10
    decided = [d for d in kept.decisions if d.valid]
    assert len(kept.decisions) + counted["dropped"] == counted["windows"]
    starts = [d.window[0] for d in kept.decisions]
    assert starts == sorted(starts)
    assert f"{counted['dropped']} dropped because the model was too slow" in describe(summary)
    assert f"{len(decided)} decided" in describe(summary)


def test_which_windows_are_dropped(recordings8: list[Path]) -> None:
    dispatcher, source = SinkDispatcher([], print), Played([])
    reader = SourceReader("x", source, dispatcher, ReadyReaders(), lambda: 0.0)
    decoder = Decoder(Model().runner, source.ch_names, source.sfreq)
    stream = LiveStream(reader, decoder, dispatcher, None)
    stream.push(list(chunks_of(recordings8[0], 1024))[:1], now=10.0)
    burst = len(stream.waiting)
    assert burst == (512 - 128) // 16 + 1
    # However many came at once, nothing is dropped while it is fresh.
    empty = Chunk(np.zeros((0, 4)), np.zeros(0))
    stream.push([empty], now=10.4)
    assert stream.dropped == 0
    stream.push([empty], now=10.6)
    assert stream.dropped == burst - 2
    assert [w.window.start for w in stream.waiting] == [16 * (burst - 2), 16 * (burst - 1)]


def test_a_queue_that_runs_over_loses_the_oldest_chunks_of_a_live_source(recordings8: list[Path]) -> None:
    kept, ready = Kept(), ReadyReaders()
    dispatcher = SinkDispatcher([kept], print)
    dispatcher.begin([])
    source = Played(chunks_of(recordings8[0], 100))
    reader = SourceReader("x", source, dispatcher, ready, time.perf_counter)
    reader.start()
    assert reader.join(30)
    dispatcher.close()
    n = 2199
    with ready.lock:
        queued = reader.take()
    # At least two seconds are kept, in one piece, and they are the newest.
    assert len(queued) == 1
    assert 512 <= len(queued[0].samples) < 512 + 100
    assert len(queued[0].samples) + reader.overruns == n
    a = read_recording(recordings8[0])
    assert np.array_equal(queued[0].samples, a.samples[reader.overruns :], equal_nan=True)
    # Sinks heard all of it, and which samples the model does not see.
    assert sum(len(chunk.samples) for chunk in kept.chunks["x"]) == n
    told = [notice for _, notice in kept.notices]
    assert {notice.kind for notice in told} == {"overrun"}
    lost = np.concatenate([np.arange(t.sample, t.sample + t.n) for t in told])
    assert np.array_equal(lost, np.arange(reader.overruns))


def test_a_source_that_is_not_live_is_never_dropped_from(recordings8: list[Path]) -> None:
    model = Model(before=lambda windows: time.sleep(0.002))
    engine = StreamEngine(model.runner, [FileSource(recordings8[0], speed="max", chunk=1)], sinks=[Kept()])
    counted = engine.run()["streams"][str(recordings8[0])]
    assert counted["samples"] == 2199
    assert counted["overruns"] == counted["dropped"] == 0


def _dying(path: Path, after: int) -> Iterator[Chunk]:
    for number, chunk in enumerate(chunks_of(path)):
        if number == after:
            raise SourceError("the dongle was pulled out", do="plug it in")
        yield chunk


def test_a_source_that_dies_ends_its_stream_only(recordings8: list[Path]) -> None:
    notes: list[str] = []
    died = threading.Event()

    def note(text: str) -> None:
        notes.append(text)
        died.set()

    def longer() -> Iterator[Chunk]:
        yield from chunks_of(recordings8[1])
        died.wait(30)

    dying = Played(_dying(recordings8[0], 100), name="dying", live=False)
    engine, kept, _ = hub_of([dying, Played(longer(), name="other", live=False)], note=note)
    summary = engine.run()
    streams = summary["streams"]
    assert streams["dying"]["state"] == "failed"
    assert streams["dying"]["samples"] == 1200
    assert streams["dying"]["notices"] == {"failed": 1}
    other = streams["other"]
    assert other["state"] == "ended"
    assert other["windows"] == len(stream_windows(read_recording(recordings8[1]), CONTRACT))
    assert len(notes) == 1
    assert "dongle" in notes[0]
    assert [notice.kind for stream, notice in kept.notices if stream == "dying"] == ["failed"]
    # The other one went on to its end: that is what the streams ended with.
    check_outcome(summary, engine.failures, CONTRACT, engine.ended_by)
    assert "dying: failed" in describe(summary)


def test_a_last_source_that_dies_is_no_success(recordings8: list[Path]) -> None:
    dead = threading.Event()

    def late() -> Iterator[Chunk]:
        yield from chunks_of(recordings8[0])
        dead.wait(30)
        raise SourceError("the dongle was pulled out", do="plug it in")

    def early() -> Iterator[Chunk]:
        yield from chunks_of(recordings8[1])
        dead.set()

    for dying_first in (False, True):
        dead.clear()
        first = _dying(recordings8[0], 5) if dying_first else late()
        engine, _, _ = hub_of([Played(first, name="a", live=False), Played(early(), name="b", live=False)])
        summary = engine.run()
        assert "a" in engine.failures
        if dying_first:
            check_outcome(summary, engine.failures, CONTRACT, engine.ended_by)
        else:
            with pytest.raises(SourceError, match="pulled out"):
                check_outcome(summary, engine.failures, CONTRACT, engine.ended_by)


def test_it_is_an_error_when_all_sources_die_before_a_window(recordings8: list[Path]) -> None:
    sources = [Played(_dying(recordings8[0], 3), name=str(i)) for i in range(2)]
    engine, _, _ = hub_of(sources)
    summary = engine.run()
    with pytest.raises(SourceError, match="pulled out; 1 more"):
        check_outcome(summary, engine.failures, CONTRACT)


def test_a_fault_in_the_code_of_a_source_is_told_and_ends_its_stream_only(recordings8: list[Path]) -> None:
    def wrong() -> Iterator[Chunk]:
        yield Chunk(np.zeros((1, 4)), np.zeros(1))
        raise ZeroDivisionError("by hand")

    engine, kept, _ = hub_of([Played(wrong(), live=False), FileSource(recordings8[0], speed="max")])
    summary = engine.run()
    assert [one["state"] for one in summary["streams"].values()] == ["failed", "ended"]
    assert "ZeroDivisionError: by hand" in engine.failures["played"].what
    assert isinstance(engine.failures["played"].__cause__, ZeroDivisionError)
    assert kept.decisions


class _Failing(Sink):
    name = "failing"

    def __init__(self, error: Exception) -> None:
        self._error, self.closed, self.heard = error, 0, 0

    def decision(self, decision: Decision) -> None:
        self.heard += 1
        if self.heard == 5:
            raise self._error

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("error", [OutputError("the disk is full"), ValueError("a bug"), BrokenPipeError()])
def test_a_sink_that_fails_is_closed_and_the_stream_goes_on(
    recordings8: list[Path], error: Exception
) -> None:
    notes: list[str] = []
    failing = _Failing(error)
    engine, kept, _ = hub_of(FileSource(recordings8[0], speed="max"), sinks=[failing], note=notes.append)
    engine.run()
    assert len(kept.decisions) == len(stream_windows(read_recording(recordings8[0]), CONTRACT))
    assert (failing.heard, failing.closed) == (5, 1)
    assert len(notes) == (0 if isinstance(error, BrokenPipeError) else 1)
    assert not engine.left_alone
    assert (engine.sink_failure is None) == isinstance(error, BrokenPipeError)


def test_the_stream_ends_with_its_last_sink(recordings8: list[Path]) -> None:
    for error in (OutputError("the disk is full"), BrokenPipeError()):
        engine = StreamEngine(
            Model().runner, [Played(_endless(recordings8[0]), live=False)], sinks=[_Failing(error)]
        )
        if isinstance(error, BrokenPipeError):
            engine.run()
        else:
            with pytest.raises(MimambaError, match="disk is full"):
                engine.run()
        assert engine.left_alone


def _endless(path: Path) -> Iterator[Chunk]:
    a, at = read_recording(path), 0
    while True:
        yield Chunk(np.nan_to_num(a.samples[:12]), np.arange(at, at + 12) / 256)
        at += 12


def test_sinks_that_cannot_be_opened_leave_none_open(recordings8: list[Path]) -> None:
    class Refusing(Sink):
        def begin(self, streams: Any) -> None:
            raise OutputError("no")

    kept = Kept()
    engine = StreamEngine(Model().runner, [FileSource(recordings8[0])], sinks=[kept, Refusing()])
    with pytest.raises(OutputError):
        engine.run()
    assert kept.closed == 1


def test_a_slow_sink_loses_the_oldest_and_a_lossless_one_nothing() -> None:
    gate = threading.Event()

    class Slow(Kept):
        def notice(self, stream: str, notice: Notice) -> None:
            gate.wait(30)
            super().notice(stream, notice)

    lossy, lossless = Slow(), Slow()
    lossy.lossless = False
    lossy.name = "lossy"
    dispatcher = SinkDispatcher([lossy, lossless], print)
    dispatcher.begin([])
    n = 20_000
    put = threading.Thread(
        target=lambda: [dispatcher.notice("x", Notice("n", n=i)) for i in range(n)], daemon=True
    )
    put.start()
    time.sleep(0.05)
    gate.set()
    put.join(30)
    dispatcher.close()
    assert [notice.n for _, notice in lossless.notices] == list(range(n))
    heard = [notice.n for _, notice in lossy.notices]
    assert heard == sorted(heard)
    assert heard[-1] == n - 1
    assert len(heard) + dispatcher.dropped()["lossy"]["dropped"] == n
    assert dispatcher.dropped()["kept"]["dropped"] == 0


def test_sinks_hear_the_filtered_signal_that_windows_are_cut_from(recordings8: list[Path]) -> None:
    """Also after a loss was found, which moves what was heard before."""
    a = read_recording(recordings8[0])
    samples, times = np.delete(a.samples, slice(700, 750), axis=0), np.delete(a.timestamps, slice(700, 750))
    chunks = [Chunk(samples[i : i + 12], times[i : i + 12]) for i in range(0, len(samples), 12)]
    engine, kept, _ = hub_of(Played(chunks, live=False))
    summary = engine.run()
    assert summary["streams"]["played"]["losses"] == 1
    (lost,) = [notice for _, notice in kept.notices]
    assert (lost.kind, lost.n) == ("lost", summary["streams"]["played"]["lost_samples"])
    assert (lost.n, lost.sample) == (pytest.approx(50, abs=2), pytest.approx(700, abs=8))
    signal = np.full((4000, 2), np.nan)
    for start, uv in kept.signals["played"]:
        signal[start : start + len(uv)] = uv
    path = preprocessor_for_recording(a, CONTRACT, final=True)
    path.push(samples, times)
    last = path.flush()[-1]
    assert np.array_equal(signal[last.start : last.stop].T, last.uv)
    assert not np.isnan(signal[: last.stop]).any()


def test_status_and_information_of_the_streams(recordings8: list[Path]) -> None:
    engine, kept, _ = hub_of(FileSource(recordings8[0], speed="max"), mains_hz=60.0, smooth_s=1.0)
    summary = engine.run()
    info = kept.infos[0]
    assert (info.name, info.ch_names, info.sfreq, info.unit) == (str(recordings8[0]), MUSE, 256.0, "uV")
    assert (info.mains_hz, info.live, info.contract) == (60.0, False, CONTRACT)
    path = preprocessor_for_recording(read_recording(recordings8[0]), CONTRACT)
    smoothing_ms = 1e3 * 0.125 / np.expm1(0.125)
    # The notch at another frequency moves the delay by next to nothing.
    assert info.algorithmic_delay_ms == pytest.approx(path.algorithmic_delay_ms() + smoothing_ms, abs=2)
    assert kept.decisions[0].algorithmic_delay_ms == info.algorithmic_delay_ms
    assert set(summary) == {"streams", "model", "machine", "sinks", "seconds"}
    assert set(summary["model"]) == {"file", "sha256", "reloads", "refused"}
    last = kept.statuses[-1]
    assert last["streams"] == summary["streams"]


def test_options_that_cannot_work(recordings8: list[Path]) -> None:
    with pytest.raises(ConfigError, match="no source"):
        StreamEngine(Model().runner, [])
    with pytest.raises(ConfigError, match="deadline"):
        hub_of(FileSource(recordings8[0]), deadline_ms=-1.0)
    assert parse_map(["TP9=Fz", "Right AUX = O z"]) == {"TP9": "Fz", "Right AUX": "O z"}
    for wrong in (["TP9"], ["=Fz"], ["TP9="], ["TP9=Fz", "TP9=Cz"]):
        with pytest.raises(ConfigError, match="--map"):
            parse_map(wrong)
