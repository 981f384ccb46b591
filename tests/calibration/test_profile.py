"""The personal profile: its numbers against their definitions, what it changes, and what it is bound to."""

from __future__ import annotations

import dataclasses
import json
import stat
from pathlib import Path

import numpy as np
import pytest
from scipy import signal

from mimamba_edge.calibration.make_profile import make_profile
from mimamba_edge.contract import Contract, Scaling
from mimamba_edge.errors import ArtifactError, ContractError, GateError, SourceError
from mimamba_edge.profile import Profile, contract_sha256
from mimamba_edge.runtime.function import FunctionRunner
from mimamba_edge.signal.filters import default_filters
from tests.stream.test_signal_check import SFREQ, Array, eeg, sine

CONTRACT = Contract(
    ("A", "B"),
    128.0,
    128,
    16,
    ("calm", "excited"),
    filters=default_filters(128.0, 60.0),
    mains_hz=60.0,
    scaling=Scaling("robust", (0.0, 0.0), (10.0, 10.0)),
    temperature=2.0,
)
SHA = "ab" * 32


def answers(windows: np.ndarray) -> np.ndarray:
    return np.stack([windows.std(axis=(1, 2)), windows.mean(axis=(1, 2))], axis=1)


def made(samples: np.ndarray, contract: Contract = CONTRACT, **kind: object) -> Profile:
    source = Array(samples, ("B", "A"), **kind)  # type: ignore[arg-type]
    runner = FunctionRunner(answers, contract)
    with runner:
        return make_profile(source, runner, name="me", model=Path("dir/m.onnx"), model_sha256=SHA, seconds=60)


def person() -> np.ndarray:
    """Fifty seconds: B twice as large as A, an alpha rhythm, and European mains."""
    x = eeg(50, 2) * [2.0, 1.0]
    n = len(x)
    return x + sine(n, 10.25, 20.0)[:, None] + sine(n, 50.0, 8.0)[:, None]


def test_scaling_mains_noise_and_baseline_are_what_they_are_called() -> None:
    x = person()
    profile = made(x)
    assert profile.mains_hz == 50.0
    # The oracle filters offline, all at once, and knows nothing of windows.
    sos = signal.butter(4, (1.0, 45.0), "bandpass", output="sos", fs=SFREQ)
    notch = signal.tf2sos(*signal.iirnotch(50.0, 30.0, fs=SFREQ))
    y = signal.sosfilt(np.concatenate([sos, notch]), x[:, ::-1], axis=0)[round(3 * SFREQ) :]
    low, center, high = np.quantile(y, (0.25, 0.5, 0.75), axis=0)
    np.testing.assert_allclose(profile.scaling.scale, high - low, rtol=0.02)
    np.testing.assert_allclose(profile.scaling.center, center, atol=0.3)
    # White noise of deviation s has density s^2 / 128 Hz.
    for name, s in (("A", 10.0), ("B", 20.0)):
        held = profile.channels[name]
        assert held["noise_uv_rthz"] == pytest.approx(s / np.sqrt(128), rel=0.1)
        assert held["band_uv2"]["alpha"] == pytest.approx(20**2 / 2 + 5 * s**2 / 128, rel=0.15)
        assert held["band_uv2"]["theta"] == pytest.approx(4 * s**2 / 128, rel=0.35)
    # The first answer is the deviation of a window, which the profile's own numbers have scaled.
    logits = np.array(profile.baseline["logits_mean"])
    assert logits[0] == pytest.approx(((y - center) / (high - low)).std(), rel=0.03)
    p = 1 / (1 + np.exp((logits[1] - logits[0]) / 2.0))
    assert profile.baseline["probs_mean"][0] == pytest.approx(p, abs=0.01)
    assert profile.signal["valid"] >= 45
    assert profile.signal["no_decision"] == {"settling": profile.signal["windows"] - profile.signal["valid"]}


def test_a_profile_is_private_and_reads_back_equal(tmp_path: Path) -> None:
    profile = made(person())
    path = tmp_path / "me.json"
    profile.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Profile.load(path) == profile
    assert json.loads(path.read_text())["schema"] == "mimamba.profile.1"


def test_apply_changes_the_scaling_and_nothing_else() -> None:
    profile = made(person())
    applied = profile.apply(CONTRACT, SHA)
    assert applied.scaling == profile.scaling != CONTRACT.scaling
    assert dataclasses.replace(applied, scaling=CONTRACT.scaling) == CONTRACT
    own = dataclasses.replace(CONTRACT, scaling=Scaling("window-zscore"))
    assert made(person(), own).apply(own, SHA) == own


def test_another_model_is_refused() -> None:
    profile = made(person())
    with pytest.raises(ContractError, match="another model"):
        profile.apply(CONTRACT, "cd" * 32)
    with pytest.raises(ContractError, match="another model"):
        profile.apply(dataclasses.replace(CONTRACT, hop=8), SHA)
    assert profile.model == {"file": "m.onnx", "sha256": SHA, "contract_sha256": contract_sha256(CONTRACT)}


def test_an_engine_that_takes_several_windows_at_a_time_gives_the_same() -> None:
    source, runner = Array(person(), ("B", "A")), FunctionRunner(answers, CONTRACT)
    runner.least_batch = 7
    sizes: list[int] = []
    plain = runner.logits
    runner.logits = lambda windows: sizes.append(len(windows)) or plain(windows)  # type: ignore[method-assign]
    with runner:
        profile = make_profile(source, runner, name="me", model=Path("m"), model_sha256=SHA, seconds=60)
    assert set(sizes) == {7}
    assert profile.baseline == made(person()).baseline


def test_no_mains_line_leaves_the_notch_alone() -> None:
    assert made(eeg(50, 2)).mains_hz is None


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda x: x[: round(15 * SFREQ)], "fewer than 20"),
        (lambda x: np.where(np.arange(len(x))[:, None] % 512 < 300, np.nan, x), "gap"),
        (lambda x: np.column_stack([x[:, 0], np.full(len(x), 5.0)]), "flat"),
        (lambda x: x + sine(len(x), 21.0, 90.0)[:, None] * [1, 0], "B: noisy"),
        (lambda x: x + sine(len(x), 50.0, 400.0)[:, None] * [0, 1], "A: mains"),
    ],
)
def test_poor_signal_makes_no_profile(change, word: str) -> None:
    with pytest.raises(GateError, match="no profile") as caught:
        made(change(person()))
    assert word in str(caught.value)
    assert caught.value.exit_code == 1


def test_no_signal_at_all_is_another_matter() -> None:
    with pytest.raises(SourceError, match="no signal"):
        made(np.zeros((0, 2)))


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw.update(schema="mimamba.profile.2"),
        lambda raw: raw.update(extra=1),
        lambda raw: raw.pop("model"),
        lambda raw: raw.update(mains_hz=55.0),
        lambda raw: raw["scaling"].update(scale=[1.0]),
        lambda raw: raw["scaling"].update(scale=[1.0, 0.0]),
        lambda raw: raw["scaling"].update(center=[1.0, float("nan")]),
        lambda raw: raw["scaling"].update(center="ab"),
        lambda raw: raw.update(ch_names="AB"),
        lambda raw: raw.update(model=[]),
    ],
)
def test_damaged_profiles_are_named_as_such(tmp_path: Path, change) -> None:
    path = tmp_path / "me.json"
    made(person()).save(path)
    raw = json.loads(path.read_text())
    change(raw)
    path.write_text(json.dumps(raw))
    with pytest.raises(ArtifactError, match=r"me\.json"):
        Profile.load(path)


def test_files_that_are_no_profiles(tmp_path: Path) -> None:
    for text in ("", "[]", '"x"', "{}", "\x00"):
        (tmp_path / "me.json").write_text(text)
        with pytest.raises(ArtifactError):
            Profile.load(tmp_path / "me.json")
    with pytest.raises(ArtifactError, match="not there"):
        Profile.load(tmp_path / "none.json")
