"""SignalCheck: what is wrong with a channel is named, and all good for five seconds ends it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest

from mimamba_edge.contract import Contract, Scaling
from mimamba_edge.data.recording import Recording
from mimamba_edge.data.simulate import simulate_recording, write_recording
from mimamba_edge.errors import SourceError
from mimamba_edge.signal.filters import default_filters
from mimamba_edge.stream.signal_check import SignalCheck, watch
from mimamba_edge.stream.sources.base import Chunk
from tests.cli.conftest import run  # noqa: F401 - the fixture

RAILS = (-1000.0, 999.5)
SFREQ = 256.0


class Array:
    """A source of some samples; a live one may go silent at the end."""

    name, sfreq, rails_uv, live = "array", SFREQ, RAILS, False

    def __init__(
        self,
        samples: np.ndarray,
        names: tuple[str, ...] = ("A", "B", "C"),
        *,
        unit: str = "uV",
        silent: int = 0,
    ) -> None:
        self.samples, self.ch_names, self.unit = samples, names, unit
        self.live, self.silent, self.closed = silent > 0, silent, False
        self.device: dict[str, object] = {}

    def chunks(self) -> Iterator[Chunk]:
        times = np.arange(len(self.samples)) / SFREQ
        for at in range(0, len(self.samples), 16):
            yield Chunk(self.samples[at : at + 16], times[at : at + 16])
        for _ in range(self.silent):
            yield Chunk(np.zeros((0, len(self.ch_names))), np.zeros(0))

    def close(self) -> None:
        self.closed = True


def eeg(seconds: float, n_chans: int = 3, seed: int = 0) -> np.ndarray:
    """Ten microvolts of noise on an offset: as quiet as a good contact."""
    n = round(seconds * SFREQ)
    return np.random.default_rng(seed).normal(30, 10, (n, n_chans))


def sine(n: int, hz: float, uv: float) -> np.ndarray:
    return uv * np.sin(2 * np.pi * hz * np.arange(n) / SFREQ)


def checked(samples: np.ndarray, seconds: float = 60.0, **kind: object) -> tuple[SignalCheck, Array]:
    source = Array(samples, **kind)  # type: ignore[arg-type]
    check = SignalCheck(source)
    for _ in watch(check, source, seconds):
        pass
    assert source.closed
    return check, source


def spoil(what: str, x: np.ndarray) -> None:
    """Spoil channel B."""
    n = len(x)
    if what == "no signal":
        x[:, 1] = 12.0
    elif what == "railed":
        x[::20, 1] = RAILS[1]
    elif what == "mains":
        x[:, 1] += sine(n, 60.0, 300.0)
    elif what == "noisy":
        x[:, 1] += sine(n, 21.0, 90.0)
    elif what == "drifting":
        x[:, 1] += 70.0 * np.arange(n) / SFREQ - 500


@pytest.mark.parametrize("what", ["no signal", "railed", "mains", "noisy", "drifting"])
def test_each_fault_is_named_with_what_helps(what: str) -> None:
    x = eeg(12)
    spoil(what, x)
    check, _ = checked(x)
    assert not check.done
    assert what in check.channels["B"].faults
    assert check.channels["B"].do
    assert not check.channels["A"].faults
    assert not check.channels["C"].faults
    assert check.advice == ""
    json.dumps(check.report(), allow_nan=False)


def test_a_good_headset_is_done_after_settling_and_five_seconds() -> None:
    check, _ = checked(eeg(30))
    assert check.done
    assert 5 < check.seconds < 10
    assert check.report()["good"]


def test_the_five_seconds_start_again_after_a_fault_and_after_a_gap() -> None:
    plain, _ = checked(eeg(30))
    for hurt in (np.nan, 1.0):
        x = eeg(30)
        at = round(5 * SFREQ)
        x[at : at + round(0.5 * SFREQ), 1] = hurt if np.isnan(hurt) else RAILS[0]
        check, _ = checked(x)
        assert check.done
        assert check.seconds >= 10.5, "five good seconds after the fault"
        assert check.seconds > plain.seconds + 2


def test_all_channels_alike_point_to_the_reference() -> None:
    x = eeg(8)
    x += sine(len(x), 50.0, 400.0)[:, None]
    check, _ = checked(x)
    assert check.mains_hz == 50.0
    assert all(held.faults == ("mains",) for held in check.channels.values())
    assert "reference" in check.advice


def test_units_channels_and_filters_are_those_of_the_model() -> None:
    x = eeg(20, 4)
    x[:, 3] = 0.0
    contract = Contract(
        ("m1", "m2"),
        128.0,
        512,
        16,
        ("x", "y"),
        filters=default_filters(128.0, 60.0),
        mains_hz=60.0,
        scaling=Scaling("none"),
    )
    source = Array(x * 1e-6, ("A", "B", "C", "loose"), unit="V")
    check = SignalCheck(source, contract=contract, channel_map={"m1": "C", "m2": "A"})
    for _ in watch(check, source, 60):
        pass
    assert list(check.channels) == ["m1", "m2"]
    assert check.done, "the loose channel is not the model's"
    # Noise of 10 uV over 0 to 128 Hz, 44 of them in the band.
    assert check.channels["m1"].figures["rms_uv"] == pytest.approx(10 * np.sqrt(44 / 128), rel=0.2)
    with pytest.raises(SourceError, match="lacks channels"):
        SignalCheck(source, contract=contract)


def test_a_silent_source_is_not_waited_for_longer_than_asked() -> None:
    times = iter(np.arange(0, 1000, 0.25))
    source = Array(eeg(2), silent=10_000)
    check = SignalCheck(source)
    for _ in watch(check, source, 60, clock=lambda: float(next(times))):
        pass
    assert not check.done
    assert source.closed
    assert next(times) < 70


def test_the_command_on_recordings(tmp_path, run) -> None:  # noqa: F811
    good, _ = simulate_recording(["calm"] * 4, seed=1)
    write_recording(tmp_path / "good.csv", good)
    out = run("check-signal", "--source", tmp_path / "good.csv", "--speed", "max")
    assert out.code == 0, out.err
    assert "all channels were good for 5 s" in out.out
    samples = good.samples.copy()
    samples[:, 2] = 7.0
    names = ("TP9", "AF7", "\x1b[31mAF8", "TP10")
    bad = Recording(tmp_path / "bad.csv", names, 256.0, samples, good.timestamps, good.markers)
    write_recording(tmp_path / "bad.csv", bad)
    out = run("check-signal", "--source", tmp_path / "bad.csv", "--speed", "max")
    assert out.code == 1
    assert "no signal" in out.err
    assert "\x1b" not in out.err + out.out
    out = run("check-signal", "--source", tmp_path / "bad.csv", "--speed", "max", "--map", "x=TP9", "--json")
    assert out.code == 0, out.err
    assert list(json.loads(out.out)["channels"]) == ["x"]
    out = run("check-signal", "--source", tmp_path / "good.csv", "--speed", "max", "--seconds", "4", "--json")
    assert out.code == 1
    assert json.loads(out.out)["good_s"] < 5
