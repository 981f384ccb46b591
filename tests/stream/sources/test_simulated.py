"""The simulated headset: pace, markers, losses; its person follows cues, the built-in model its states."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mimamba_edge.cli import main
from mimamba_edge.data.labels import read_labels
from mimamba_edge.data.recording import read_recording
from mimamba_edge.errors import ConfigError
from mimamba_edge.load import builtin_model
from mimamba_edge.stream.decoder import Decoder
from mimamba_edge.stream.options import StreamOptions
from mimamba_edge.stream.sources.base import Chunk
from mimamba_edge.stream.sources.simulated import HISTORY_S, STATE_S, SimulatedHeadset
from mimamba_edge.stream.sources.spec import open_source


class Clock:
    """Time that passes where somebody waits."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


def _played(seconds: float, seed: int = 3) -> Iterator[tuple[float, Chunk]]:
    """Yield chunks, each with when it came, as seconds since the headset was asked."""
    clock = Clock()
    for chunk in SimulatedHeadset(seed, clock=clock, wait=clock.wait).chunks():
        if clock.now - 100.0 > seconds:
            return
        yield clock.now - 100.0, chunk


def test_it_has_been_on_for_a_while_and_then_keeps_its_rate() -> None:
    came = list(_played(40.0))
    ends = np.cumsum([len(chunk.samples) for _, chunk in came])
    at, first = came[0]
    assert at == pytest.approx(0.0, abs=0.01)
    assert len(first.samples) / 256 == pytest.approx(HISTORY_S, abs=0.05)
    assert {len(chunk.samples) for _, chunk in came[1:]} == {12}
    assert [at for at, _ in came] == pytest.approx(ends / 256.02 - HISTORY_S, abs=0.01)
    times = np.concatenate([chunk.timestamps for _, chunk in came])
    late = times - times[0] - np.arange(len(times)) / 256.02
    assert -0.005 < late.min() <= late.max() < 0.03


def test_states_take_turns_and_losses_are_counted() -> None:
    chunks = [chunk for _, chunk in _played(60.0)]
    samples = np.concatenate([chunk.samples for chunk in chunks])
    notices = [notice for chunk in chunks for notice in chunk.notices]
    marks = [notice for notice in notices if notice.kind == "marker"]
    assert [mark.text for mark in marks] == list(
        itertools.islice(itertools.cycle(["calm", "excited"]), len(marks))
    )
    assert np.diff([mark.sample for mark in marks]) / 256 == pytest.approx(STATE_S + 1.0, abs=0.05)
    (lost,) = [notice for notice in notices if notice.kind == "lost"]
    missing = np.flatnonzero(np.isnan(samples).all(axis=1))
    assert missing.tolist() == list(range(lost.sample - lost.n, lost.sample))
    # Then the electrode of one channel came off for a while.
    railed = samples == 999.5
    assert railed.sum(axis=0).tolist() == [0, 0, 0, 312]
    # No step where one simulated stretch becomes the next.
    steps = np.abs(np.diff(samples, axis=0)).max(axis=1)
    seams = [3588 * i for i in range(1, len(samples) // 3588)]
    assert len(seams) >= 3
    assert max(steps[seam - 3 : seam + 3].max() for seam in seams) < 40.0


def test_a_seed_gives_the_same_signal_and_none_another_one() -> None:
    def begin(source: object) -> np.ndarray:
        assert isinstance(source, SimulatedHeadset)
        return next(source.chunks()).samples

    again = begin(open_source("simulated:?seed=3"))
    assert np.array_equal(again, next(_played(1.0))[1].samples)
    assert not np.array_equal(begin(open_source("simulated:")), begin(open_source("simulated:")))


def test_who_was_stopped_gets_no_flood() -> None:
    clock = Clock()
    chunks = SimulatedHeadset(1, clock=clock, wait=clock.wait).chunks()
    next(chunks), next(chunks)
    clock.now += 3600.0
    next(chunks)
    before = clock.now
    next(chunks)
    assert clock.now - before == pytest.approx(12 / 256.02, abs=0.001)


def _alpha_over_beta(samples: np.ndarray) -> float:
    """Return the log of the ratio of both powers of a stretch ``(n, c)``, over its channels."""
    power = np.abs(np.fft.rfft(samples - samples.mean(axis=0), axis=0)) ** 2
    hz = np.fft.rfftfreq(len(samples), 1 / 256)
    alpha, beta = (power[(low <= hz) & (hz <= high)].sum() for low, high in ((8, 12), (17, 25)))
    return float(np.log(alpha / beta))


def test_the_person_follows_cues_and_has_no_states_of_its_own_then(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cues = tmp_path / "cues.csv"
    order = ["calm", "excited", "excited", "calm", "left", "calm", "calm", "excited"] * 2
    cues.write_text("label,seconds\n" + "".join(f"{label},3\n,1\n" for label in order))
    command = ["record", "--source", "simulated:?seed=2&speed=max", "-o", str(tmp_path / "s"), "--yes"]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--cue", str(cues)])
    said = capsys.readouterr()
    assert ended.value.code == 0
    assert "calm and excited" in said.err
    assert "left" in said.err
    folder = Path(said.out.strip())
    trials = read_labels(folder)
    assert [trial.label for trial in trials] == order
    signal = read_recording(folder)
    assert '"marker"' not in (folder / "events.jsonl").read_text()
    at = signal.timestamps - signal.timestamps[0]
    found: dict[str, list[float]] = {"calm": [], "excited": [], "left": []}
    for trial in trials:
        part = signal.samples[(trial.start_s + 0.5 <= at) & (at < trial.stop_s)]
        if np.isfinite(part).all() and part.max() < 900:
            found[trial.label].append(_alpha_over_beta(part))
    calm, excited, rest = (np.mean(found[label]) for label in ("calm", "excited", "left"))
    # Trials overlap, their means do not: the classes' own gains differ by a factor of 1.8 and of 1.9.
    assert calm - excited > 1.0
    assert excited < rest < calm
    # The state changes with the cue, within a third of a second.
    start = round(256 * trials[1].start_s)
    after = signal.samples[start + 80 : start + 336]
    assert _alpha_over_beta(after) < _alpha_over_beta(signal.samples[start - 512 : start - 256])


def test_closing_ends_it() -> None:
    source = SimulatedHeadset(1)
    chunks = source.chunks()
    next(chunks)
    source.close()
    assert list(chunks) == []


@pytest.mark.parametrize(
    "rest", ["x", "?seed=x", "?seed=-1", "?seed=", "?speed=2", "?seed=1&speed=", "?seed=" + "9" * 30]
)
def test_anything_but_a_seed_is_refused(rest: str) -> None:
    with pytest.raises(ConfigError, match="seed"):
        open_source(f"simulated:{rest}")


@pytest.mark.ort
def test_the_built_in_model_follows_its_states() -> None:
    right = []
    for seed in range(3):
        source = SimulatedHeadset(seed)
        options = StreamOptions(smooth_s=0.5)
        state, since = "", 0.0
        with Decoder(
            builtin_model(),
            source.ch_names,
            source.sfreq,
            rails_uv=source.rails_uv,
            counted=True,
            options=options,
        ) as decoder:
            for _, chunk in _played(25.0, seed):
                for notice in chunk.notices:
                    if notice.kind == "marker":
                        state, since = notice.text, notice.sample / 256
                for decision in decoder.push(chunk.samples, chunk.timestamps):
                    if decision.valid and since + 1.0 <= decision.t_s <= since + STATE_S:
                        right.append(decision.label == state)
    # 0.88 over many; by chance 0.5.
    assert len(right) > 200
    assert np.mean(right) > 0.75
