"""Trials of cues, keys and markers: what training cuts is what was shown."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimamba_edge.data.dataset import open_dataset
from mimamba_edge.data.labels import read_labels
from mimamba_edge.data.recording import read_recording
from mimamba_edge.data.simulate import simulate_recording, write_recording
from mimamba_edge.data.windows import preprocessor_for_recording, trial_windows
from mimamba_edge.errors import ConfigError, DataError, SourceError
from mimamba_edge.recorder.capture import Capture, Ending
from mimamba_edge.sessions.folder import SessionWriter
from mimamba_edge.sessions.identity import next_run
from mimamba_edge.sessions.times import Mark
from mimamba_edge.sessions.trials import Cue, CueRun, Epochs, KeyTrials, read_cues, read_labelled
from mimamba_edge.signal.clock import find_events, fit_clock
from mimamba_edge.signal.filters import default_filters
from mimamba_edge.stream.sources.base import Chunk, Notice
from mimamba_edge.stream.sources.recording import FileSource
from tests.modelfiles import tiny_contract
from tests.sessions.sources import Given, chunks_of, some_info

SCRIPT = "label,seconds,text\ncalm,2,breathe\n,0.5,\nexcited,2,\ncalm,2,breathe\nexcited,2.5,\n"


def _events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def _clean_source(seconds: float = 20.0) -> Given:
    chunks = chunks_of(round(seconds * 256), n_chans=4, sfreq=256.0, size=12)
    return Given(chunks, ("TP9", "AF7", "AF8", "TP10"), 256.0)


def _writer(root: Path, source: Any, **changes: Any) -> SessionWriter:
    info = some_info(ch_names=source.ch_names, sfreq=source.sfreq, rails_uv=source.rails_uv, **changes)
    return SessionWriter(root, info)


def _contract() -> Any:
    return tiny_contract(
        sfreq=128.0,
        n_times=256,
        hop=32,
        filters=default_filters(128.0, 50.0),
        mains_hz=50.0,
        class_names=("calm", "excited"),
    )


def _cues(tmp_path: Path, text: str = SCRIPT) -> Path:
    path = tmp_path / "cues.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_cues_become_trials_at_their_samples(tmp_path: Path) -> None:
    source = _clean_source()
    writer = _writer(tmp_path, source)
    cues = CueRun(read_cues(_cues(tmp_path)), 256.0)
    Capture(source, writer, cues=cues).run(Ending())
    trials = read_labels(writer.folder)
    assert [(t.label, t.stimulus) for t in trials] == [
        ("calm", "breathe"),
        ("excited", "excited"),
        ("calm", "breathe"),
        ("excited", "excited"),
    ]
    assert {(t.file, t.subject, t.session, t.run) for t in trials} == {("signal.csv", "p01", "one", "01")}
    shown = [e for e in _events(writer.folder) if e["kind"] == "trial"]
    assert [e["n"] for e in shown] == [512, 512, 512, 640]
    # The clock of this source does not jitter: times are samples.
    for trial, event in zip(trials, shown, strict=True):
        assert trial.start_s == pytest.approx(event["sample"] / 256.0, abs=2e-6)
        assert trial.stop_s - trial.start_s == pytest.approx(event["n"] / 256.0, abs=2e-6)
    # The script ended the recording, not the source.
    assert writer.n < 20 * 256
    assert writer.n - shown[-1]["sample"] - shown[-1]["n"] >= 256


def test_training_cuts_what_was_shown_out_of_a_jittered_recording(tmp_path: Path) -> None:
    recording, _ = simulate_recording(["calm", "excited"] * 3, trial_s=3.0, seed=5)
    write_recording(tmp_path / "sim.csv", recording)
    root = tmp_path / "sessions"
    for _ in range(2):
        source = FileSource(tmp_path / "sim.csv", speed="max")
        root.mkdir(exist_ok=True)
        writer = _writer(root, source, run=next_run(root, "p01", "one"))
        Capture(source, writer, cues=CueRun(read_cues(_cues(tmp_path)), 256.0)).run(Ending())
    contract = _contract()
    found = trial_windows(open_dataset(writer.folder), contract)
    assert len(found.trials) == 4
    assert not found.left_out
    # An oracle without times: windows that start at the samples at which the cues were shown.
    shown = [e["sample"] for e in _events(writer.folder) if e["kind"] == "trial"]
    whole = read_recording(writer.folder / "signal.csv")
    near = sorted({s // 2 + k for s in shown for k in range(-3, 4)})
    by_start = {
        w.start: w.uv
        for path in [preprocessor_for_recording(whole, contract, starts=near, final=True)]
        for w in path.push(whole.samples, whole.timestamps) + path.flush()
    }
    for window, sample in zip(found.data, shown, strict=True):
        same = [k for k in range(-3, 4) if np.array_equal(by_start[sample // 2 + k], window)]
        assert same, f"no window within 3 samples of the cue at {sample}"
    assert {t.run for t in read_labels(writer.folder)} == {"02"}


def test_cue_scripts_that_cannot_be_shown_are_refused(tmp_path: Path) -> None:
    for text, message in (
        ("a,b\n1,2\n", "not a cue script"),
        ("label,seconds\ncalm,0\n", "line 2: no duration"),
        ("label,seconds\ncalm,nan\n", "line 2: no duration"),
        ("label,seconds\ncalm,1e308\n", "line 2: no duration"),
        ("label,seconds\n" + "calm,1\n" * 700_000, "cannot read"),
        ("label,seconds\ncalm,\n", "line 2: no duration"),
        ("label,seconds\n,2\n", "names no label"),
        ("label,seconds\n", "names no label"),
    ):
        with pytest.raises(DataError, match=message):
            read_cues(_cues(tmp_path, text))
    with pytest.raises(DataError, match="cannot read"):
        read_cues(tmp_path / "none.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(DataError, match="cannot read"):
        read_cues(tmp_path / "pipe.csv")
    with pytest.raises(ConfigError, match="not a label") as caught:
        read_cues(_cues(tmp_path, f"label,seconds\n{'x' * 100_000},2\n"))
    assert len(str(caught.value)) < 4096
    for text in ('label,seconds\n"ca\x1b[2Jlm",2\n', 'label,seconds,text\ncalm,2,"two\nlines"\n'):
        with pytest.raises(ConfigError, match="not a label"):
            read_cues(_cues(tmp_path, text))


def test_keys_begin_and_end_trials(tmp_path: Path) -> None:
    source = _clean_source(8.0)
    writer = _writer(tmp_path, source)
    # One key at a chunk: 12 samples later each time it is asked.
    pressed = iter(
        [""] * 19 + ["1"] + [""] * 49 + ["x2"] + [""] * 39 + ["2"] + [""] * 29 + ["1"] + [""] * 100
    )
    keys = KeyTrials({"1": "happy", "2": "sad"})
    Capture(source, writer, keys=keys, pressed=lambda: next(pressed)).run(Ending())
    trials = read_labels(writer.folder)
    assert [t.label for t in trials] == ["happy", "sad", "happy"]
    assert [round(t.start_s * 256) for t in trials] == [240, 840, 1680]
    assert [round(t.stop_s * 256) for t in trials[:2]] == [840, 1320]
    # The last one goes on to the end, less what must stand behind a trial.
    assert round(trials[-1].stop_s * 256) == 8 * 256 - 64
    assert [e["text"] for e in _events(writer.folder) if e["kind"] == "key"] == [
        "happy",
        "sad",
        "sad",
        "happy",
    ]


def test_markers_make_trials_around_them(tmp_path: Path) -> None:
    source = _clean_source(12.0)
    texts = {300: "1", 1000: "nothing to us", 1200: "2", 1210: "1", 2900: " 1 "}
    marked = []
    for number, chunk in enumerate(source.given):
        inside = [s for s in texts if number * 12 <= s < number * 12 + 12]
        notices = tuple(Notice("marker", texts[s], sample=s) for s in inside)
        marked.append(Chunk(chunk.samples, chunk.timestamps, notices=notices))
    source.given = marked
    writer = _writer(tmp_path, source)
    epochs = Epochs({"1": "flicker-30hz", "2": "flicker-20hz"}, 0.5, 2.5, 256.0)
    Capture(source, writer, epochs=epochs).run(Ending())
    trials = read_labels(writer.folder)
    # The marker at 1210 overlaps the one before; the one at 2900 has no end.
    assert [(t.label, t.stimulus) for t in trials] == [("flicker-30hz", "1"), ("flicker-20hz", "2")]
    assert [round(t.start_s * 256) for t in trials] == [428, 1328]
    assert [round((t.stop_s - t.start_s) * 256) for t in trials] == [512, 512]
    events = _events(writer.folder)
    assert [e["text"] for e in events if e["kind"] == "marker"] == list(texts.values())
    assert [e["sample"] for e in events if e["kind"] == "left-out"] == [1338, 3028]


class Tap:
    """Markers by LSL's clock, which stands 1,000 s before the wall clock."""

    def __init__(self, markers: list[tuple[str, float]], *, dies: bool = False) -> None:
        self._markers, self._dies, self.closed = list(markers), dies, False

    def unix_offset_s(self) -> float:
        return 1000.0

    def pull(self, timeout_s: float = 0.0) -> tuple[str, float] | None:
        if self._markers:
            return self._markers.pop(0)
        if self._dies:
            raise SourceError("the LSL markers 'x' are gone")
        return None

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("offset", [None, 0.25])
def test_markers_of_another_stream_find_their_sample_by_time(tmp_path: Path, offset: float | None) -> None:
    source = _clean_source(3.0)
    if offset is not None:
        # The source is an LSL stream of another computer: its stamps plus 0.25 s are this one's LSL clock.
        source.clock_offset_s = offset  # type: ignore[attr-defined]
    on_lsl_clock = 1.7e9 + 1.0 + (-1000.0 if offset is None else offset)
    tap, gone = Tap([("go", on_lsl_clock), ("lost", 5.0)]), Tap([], dies=True)
    writer = _writer(tmp_path, source)
    # Markers are asked for from 1.2 s on: the sample lies back.
    started = iter([False] * 25 + [True] * 1000)
    real = tap.pull
    tap.pull = lambda timeout_s=0.0: real() if next(started) else None  # type: ignore[method-assign]
    Capture(source, writer, markers=[tap, gone]).run(Ending())
    markers = {e["text"]: e for e in _events(writer.folder) if e["kind"] == "marker"}
    assert markers["go"]["sample"] == 256
    assert markers["go"]["t_unix"] == on_lsl_clock + 1000.0
    assert markers["lost"]["sample"] == 26 * 12
    assert [e["kind"] for e in _events(writer.folder)].count("markers-gone") == 1
    assert tap.closed
    assert gone.closed


class _Seen:
    """A source whose signal shows what is to be found in it: channel A is 1 while something is shown."""

    def __init__(self, timestamps: np.ndarray, shown: Callable[[int], bool], size: int = 12) -> None:
        self.name, self.ch_names, self.sfreq, self.unit = "seen", ("A", "B"), 256.0, "uV"
        self.rails_uv, self.live = None, False
        self.device: dict[str, Any] = {}
        self._timestamps, self._shown, self._size = timestamps, shown, size

    def chunks(self) -> Iterator[Chunk]:
        for at in range(0, len(self._timestamps), self._size):
            times = self._timestamps[at : at + self._size]
            samples = np.zeros((len(times), 2))
            samples[:, 0] = [self._shown(at + k) for k in range(len(times))]
            yield Chunk(samples, times)

    def close(self) -> None:
        pass


def _lossy(n: int, losses: Mapping[int, float], *, jitter_s: float = 0.004) -> np.ndarray:
    """Return timestamps at 256 Hz that jump by some seconds before some samples."""
    timestamps = 1.7e9 + np.arange(n) / 256
    for sample, seconds in losses.items():
        timestamps[sample:] += seconds
    return np.asarray(timestamps + np.random.default_rng(2).uniform(-jitter_s, jitter_s, n))


def _shown_rows(folder: Path) -> list[tuple[int, int]]:
    """Return first row and row after the last of each stretch in which the signal shows something."""
    on = np.concatenate([[0.0], read_recording(folder / "signal.csv").samples[:, 0], [0.0]])
    return list(zip(np.flatnonzero(np.diff(on) == 1), np.flatnonzero(np.diff(on) == -1), strict=True))


def _check_against_the_signal(folder: Path) -> None:
    """Hold labels.csv to the signal: its seconds are those of the rows at which something was shown."""
    times = read_recording(folder / "signal.csv").timestamps
    rows, trials = _shown_rows(folder), read_labels(folder)
    assert len(trials) == len(rows) > 0
    for (start, stop), trial in zip(rows, trials, strict=True):
        assert trial.start_s == pytest.approx(times[start] - times[0], abs=0.012)
        assert trial.stop_s == pytest.approx(times[stop - 1] + 1 / 256 - times[0], abs=0.012)
    events = find_events(times, 256.0)
    fit = fit_clock(times, events, 256.0)
    for (start, _), trial in zip(rows, trials, strict=True):
        lost = sum(event.n_lost for event in events if event.sample <= start)
        assert fit.grid(times[0] + trial.start_s) - lost == pytest.approx(start, abs=3)


@pytest.mark.parametrize("at", [-300, -30, -5, 0, 5, 60, 400, 512, 520])
@pytest.mark.parametrize("seconds", [0.2, 5.3])
def test_a_cue_near_a_loss_stands_where_the_signal_has_it(tmp_path: Path, at: int, seconds: float) -> None:
    cues = CueRun((Cue("calm", 2.0, ""), Cue("excited", 2.0, "")), 256.0)
    first = 780  # the end of the first chunk behind the three seconds of getting ready
    timestamps = _lossy(4000, {first + at: seconds})
    source = _Seen(timestamps, lambda n: cues.cue is not None and cues.cue.label == "calm")
    writer = _writer(tmp_path, source)
    Capture(source, writer, cues=cues).run(Ending())
    (start, _), *others = _shown_rows(writer.folder)
    assert (start, others) == (first, [])
    labels = writer.folder / "labels.csv"
    labels.write_text("".join(x for x in labels.read_text().splitlines(True) if "excited" not in x))
    # The cue ends at the chunk's end, the trial after its seconds.
    trial = read_labels(writer.folder)[0]
    recording = read_recording(writer.folder / "signal.csv")
    t = recording.timestamps
    assert trial.start_s == pytest.approx(t[start] - t[0], abs=0.012)
    assert trial.stop_s == pytest.approx(t[start + 511] + 1 / 256 - t[0], abs=0.012)
    events = find_events(t, 256.0)
    assert [e.n_lost for e in events] == [round(seconds * 256)]
    lost = sum(e.n_lost for e in events if e.sample <= start)
    assert fit_clock(t, events, 256.0).grid(t[0] + trial.start_s) - lost == pytest.approx(start, abs=3)


def test_keys_and_markers_near_a_loss_stand_where_the_signal_has_them(tmp_path: Path) -> None:
    # Keys are taken at the end of a chunk, 24 and 12 samples after losses.
    keys = KeyTrials({"1": "happy"})
    pressed = iter([""] * 41 + ["1"] + [""] * 49 + ["1"] + [""] * 1000)
    source = _Seen(_lossy(2400, {480: 4.0, 1080: 2.0}), lambda n: keys.label is not None)
    writer = _writer(tmp_path / "keys", source)
    Capture(source, writer, keys=keys, pressed=lambda: next(pressed)).run(Ending())
    _check_against_the_signal(writer.folder)

    # A marker in the middle of four lost seconds, heard of while nothing comes, and one right after them.
    timestamps = _lossy(2400, {600: 4.0}, jitter_s=0.0)
    source = _Seen(timestamps, lambda n: 600 <= n < 856 or 1000 <= n < 1256)
    source.clock_offset_s = 0.0  # type: ignore[attr-defined]
    tap = Tap([("go", float(timestamps[599]) + 2.0), ("go", float(timestamps[1000]))])
    writer = _writer(tmp_path / "markers", source)
    tap.unix_offset_s = lambda: 0.0  # type: ignore[method-assign]
    held = iter([False] * 49 + [True] * 1000)
    real = tap.pull
    tap.pull = lambda timeout_s=0.0: real() if next(held) else None  # type: ignore[method-assign]
    Capture(source, writer, markers=[tap], epochs=Epochs({"go": "flicker"}, 0.0, 1.0, 256.0)).run(Ending())
    _check_against_the_signal(writer.folder)


def test_a_trial_that_would_spoil_the_table_is_left_out(tmp_path: Path) -> None:
    writer = SessionWriter(tmp_path, some_info())
    for chunk in chunks_of(1000):
        writer.write(chunk.samples, chunk.timestamps)
    writer.trial("a", "", Mark(100, 1.0), 300)
    for start, stop in ((Mark(200, 2.0), 400), (Mark(400, 4.0), 400), (Mark(900, 9.0), 1100)):
        writer.trial("b", "", start, stop)
    # The clock was set back; the same border told a few milliseconds apart.
    writer.trial("c", "", Mark(300, 0.2), 310)
    writer.trial("d", "", Mark(310, 2.98), 510)
    writer.close()
    assert (writer.trials, writer.left_out) == (2, 4)
    assert [(t.label, t.start_s, t.stop_s) for t in read_labels(writer.folder)] == [
        ("a", 1.0, 3.0),
        ("d", 3.0, pytest.approx(5.1)),
    ]


def test_a_killed_recording_has_no_trial_that_training_cannot_cut(tmp_path: Path) -> None:
    writer = SessionWriter(tmp_path, some_info())
    chunks = chunks_of(1000, size=10)
    for chunk in chunks[:40]:
        writer.write(chunk.samples, chunk.timestamps)
    writer.trial("a", "", writer.mark(0), 400)
    assert not (writer.folder / "labels.csv").exists()
    for chunk in chunks[40:43]:
        writer.write(chunk.samples, chunk.timestamps)
    # Not closed: what is on the disk now is what a kill would leave.
    assert [t.stop_s for t in read_labels(writer.folder)] == [4.0]
    writer.close()


def test_training_can_cut_all_labels_at_the_moment_they_are_written(tmp_path: Path) -> None:
    recording, _ = simulate_recording(["calm", "excited"] * 3, trial_s=3.0, seed=6)
    write_recording(tmp_path / "sim.csv", recording)
    source = FileSource(tmp_path / "sim.csv", speed="max")
    writer = _writer(tmp_path / "sessions", source)
    taken: list[Path] = []

    def watch(capture: Capture, chunk: Chunk) -> None:
        table = writer.folder / "labels.csv"
        rows = len(table.read_text().splitlines()) - 1 if table.is_file() else 0
        if rows > len(taken):
            # What a kill right now would leave behind.
            taken.append(Path(shutil.copytree(writer.folder, tmp_path / f"killed-{rows}")))

    cues = CueRun(read_cues(_cues(tmp_path)), 256.0)
    Capture(source, writer, cues=cues).run(Ending(), watch)
    assert len(taken) == 4
    for number, folder in enumerate(taken[1:], start=2):
        found = trial_windows(open_dataset(folder), _contract())
        assert len(found.trials) + sum(found.left_out.values()) == number


def test_codes_and_labels_of_options() -> None:
    assert read_labelled(["1=happy", "2=sad"], "--key", one=True) == {"1": "happy", "2": "sad"}
    assert read_labelled(["stim=on=happy"], "--event") == {"stim=on": "happy"}
    for entries in (["happy"], ["=happy"], ["12=happy"], ["1=a", "1=b"], ["1="], ["1=\x1b[2J"]):
        with pytest.raises(ConfigError):
            read_labelled(entries, "--key", one=True)


def test_a_cue_script_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "cues.csv")
    for path in (tmp_path / "cues.csv", tmp_path):
        with pytest.raises(DataError, match="not a regular file"):
            read_cues(path)
