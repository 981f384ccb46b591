"""``calibrate`` as typed, with the built-in model on a simulated rest."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

pytestmark = pytest.mark.ort

from mimamba_edge.artifact import Manifest, sha256_file  # noqa: E402
from mimamba_edge.data.recording import Recording  # noqa: E402
from mimamba_edge.data.simulate import simulate_recording, write_recording  # noqa: E402
from mimamba_edge.load import builtin_model  # noqa: E402
from mimamba_edge.profile import Profile  # noqa: E402


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rest") / "rest.csv"
    write_recording(path, simulate_recording(["calm"] * 8, seed=3)[0])
    return path


def test_a_profile_is_written_for_this_model_only(rest: Path, tmp_path: Path, run) -> None:
    model, out = builtin_model(), tmp_path / "anna.json"
    done = run("calibrate", model, "--source", rest, "--speed", "max", "--seconds", 40, "-o", out)
    assert done.code == 0, done.err
    assert "mains 50 Hz" in done.out
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    profile = Profile.load(out)
    assert profile.name == "anna"
    # Two more seconds until the filters had settled.
    assert profile.signal["seconds"] == pytest.approx(42, abs=0.1)
    assert profile.signal["valid"] == 40
    assert "2 s until the filters have settled, then 40 s of rest" in done.out
    contract = Manifest.load(model).contract
    assert profile.apply(contract, sha256_file(model)).scaling == profile.scaling
    for name in contract.ch_names:
        assert f"{profile.channels[name]['rms_uv']:.3g}" in done.out


def test_what_settles_is_not_taken_off_the_rest(rest: Path, tmp_path: Path, run) -> None:
    out = tmp_path / "me.json"
    done = run("calibrate", builtin_model(), "--source", rest, "--speed", "max", "--seconds", 21, "-o", out)
    assert done.code == 0, done.err
    assert Profile.load(out).signal["valid"] == 21


def test_what_ends_without_a_profile(rest: Path, tmp_path: Path, run) -> None:
    model, out = builtin_model(), tmp_path / "me.json"
    short = run("calibrate", model, "--source", rest, "--speed", "max", "--seconds", 10, "-o", out)
    assert short.code == 1
    assert "fewer than 20" in short.err
    over = run("calibrate", model, "--source", rest, "--speed", "max", "-o", rest)
    assert over.code == 2
    assert "overwritten" in over.err
    wrong = run("calibrate", model, "--source", rest, "--speed", "max", "--map", "Oz=TP9", "-o", out)
    assert wrong.code == 2
    assert "Oz" in wrong.err
    plain = simulate_recording(["calm"], seed=3)[0]
    foreign = Recording(rest, ("a", "b", "c", "d"), 256.0, plain.samples, plain.timestamps, plain.markers)
    write_recording(tmp_path / "foreign.csv", foreign)
    missing = run("calibrate", model, "--source", tmp_path / "foreign.csv", "--speed", "max", "-o", out)
    assert missing.code == 2
    assert "a, b, c, d" in missing.err
    assert not out.exists()
