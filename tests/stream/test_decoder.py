"""The decoder: one signal without threads, sources or sinks, as a stream decides on it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from mimamba_edge.cli.app import app
from mimamba_edge.data.recording import Recording, read_recording
from mimamba_edge.data.simulate import simulate_recording, write_recording
from mimamba_edge.errors import ConfigError, ContractError, RunnerError, SignalError
from mimamba_edge.load import builtin_model, load_model
from mimamba_edge.profile import Profile
from mimamba_edge.stream.decoder import Decoder
from mimamba_edge.stream.options import StreamOptions
from tests.stream.engines import CONTRACT, MUSE, Model


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording with a hole in it, so that there are windows without a decision."""
    path = tmp_path_factory.mktemp("decoder") / "a.csv"
    recording, _ = simulate_recording(["calm", "excited"], trial_s=3.0, seed=5)
    recording.samples[1200:1240, 1] = np.nan
    write_recording(path, recording)
    return path


def streamed(path: Path, *options: str) -> list[dict[str, Any]]:
    """Return what the command line says of a recording."""
    done = CliRunner().invoke(
        app, ["stream", str(builtin_model()), "--source", str(path), "--speed", "max", *options]
    )
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def decided(decoder: Decoder, recording: Recording, size: int) -> list[dict[str, Any]]:
    x, t = recording.samples, recording.timestamps
    lines = [
        decision.to_json()
        for at in range(0, len(x), size)
        for decision in decoder.push(x[at : at + size], t[at : at + size])
    ]
    return [json.loads(line) for line in lines]


def but_latency(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "latency_ms"} for row in rows]


@pytest.mark.ort
@pytest.mark.parametrize("size", [1, 7, 12, 256])
def test_it_decides_as_the_command_line_does_whatever_the_chunks(file: Path, size: int) -> None:
    expected = streamed(file, "--smooth", "0.5", "--hysteresis", "0.1")
    recording = read_recording(file)
    options = StreamOptions(smooth_s=0.5, hysteresis=0.1)
    with Decoder(builtin_model(), **vars(recording.format), options=options) as decoder:
        got = decided(decoder, recording, size)
        assert decoder.report["windows"] == len(got)
    assert but_latency(got) == but_latency(expected)
    assert {row["reason"] for row in got} >= {None, "settling", "gap"}


@pytest.mark.ort
@pytest.mark.data
@pytest.mark.parametrize("size", [12, 256])
def test_it_decides_on_a_real_recording_as_the_command_line_does(recordings: Path, size: int) -> None:
    recording = read_recording(recordings / "run-03.csv")
    with load_model(builtin_model()) as model:
        got = decided(Decoder(model, **vars(recording.format)), recording, size)
    assert but_latency(got) == but_latency(streamed(recordings / "run-03.csv"))


def test_without_timestamps_samples_are_as_far_apart_as_the_rate_says() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(0, 15, (2000, 4))
    timed, untimed = (Decoder(Model().runner, MUSE, 256.0) for _ in "ab")
    expected = timed.push(x, np.arange(2000) / 256.0)
    got = [d for at in range(0, 2000, 33) for d in untimed.push(x[at : at + 33].tolist())]
    assert [(d.t_s, d.label, d.probs) for d in got] == [(d.t_s, d.label, d.probs) for d in expected]
    assert any(d.valid for d in got)


@pytest.mark.ort
def test_a_model_is_released_by_who_loaded_it(file: Path) -> None:
    recording = read_recording(file)
    with Decoder(str(builtin_model()), recording.ch_names, recording.sfreq) as decoder:
        runner = decoder.runner
    decoder.close()
    zeros = np.zeros((1, runner.contract.n_chans, runner.contract.n_times), np.float32)
    with pytest.raises(RunnerError, match="not loaded"):
        runner.logits(zeros)
    with load_model(builtin_model()) as model:
        with Decoder(model, recording.ch_names, recording.sfreq):
            pass
        assert np.isfinite(model.logits(zeros)).all()


def test_what_does_not_fit_is_refused() -> None:
    model = Model()
    with pytest.raises(SignalError, match="lacks channels"):
        Decoder(model.runner, ["Fz"], 256.0)
    with pytest.raises(ConfigError, match="channels that the model does not have"):
        Decoder(model.runner, MUSE, 256.0, options=StreamOptions(channel_map={"Oz": "Fz"}))
    with pytest.raises(SignalError, match="chunk"):
        Decoder(model.runner, MUSE, 256.0).push(np.zeros(4))
    model.runner.least_batch = 2
    with pytest.raises(RunnerError, match="cannot take single windows"):
        Decoder(model.runner, MUSE, 256.0)
    broken = Model(before=lambda windows: windows.fill(np.nan))
    with pytest.raises(RunnerError, match="not finite"):
        Decoder(broken.runner, MUSE, 256.0).push(np.random.default_rng(0).normal(0, 15, (2000, 4)))


def test_a_profile_of_another_model_is_refused(tmp_path: Path) -> None:
    profile = Profile(
        name="me",
        ch_names=CONTRACT.ch_names,
        scaling=CONTRACT.scaling,
        mains_hz=None,
        model={"file": "m.onnx", "sha256": "0" * 64, "contract_sha256": "0" * 64},
    )
    with pytest.raises(ContractError, match="another model"):
        Decoder(Model().runner, MUSE, 256.0, options=StreamOptions(profile=profile))


def test_channels_that_the_signal_calls_otherwise() -> None:
    x = np.random.default_rng(0).normal(0, 15, (1500, 4))
    plain = Decoder(Model().runner, MUSE, 256.0).push(x)
    names = StreamOptions(channel_map={"AF7": "Fp1"})
    mapped = Decoder(Model().runner, ("TP9", "Fp1", "AF8", "TP10"), 256.0, options=names).push(x)
    assert [dataclasses.replace(d, latency_ms=0.0) for d in mapped] == [
        dataclasses.replace(d, latency_ms=0.0) for d in plain
    ]
