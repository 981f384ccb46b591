"""A new model file is taken up between two batches; what is wrong with it is refused."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimamba_edge.artifact import manifest_path, sha256_file
from mimamba_edge.contract import Contract, Scaling
from mimamba_edge.data.recording import read_recording
from mimamba_edge.data.simulate import simulate_recording, write_recording
from mimamba_edge.data.windows import stream_windows
from mimamba_edge.errors import ConfigError, RunnerError
from mimamba_edge.runtime.base import Runner
from mimamba_edge.runtime.function import FunctionRunner
from mimamba_edge.stream.engine import StreamEngine
from mimamba_edge.stream.reload import ModelFile, Reloader
from mimamba_edge.stream.sources.base import Chunk
from tests.modelfiles import tiny_contract, write_manifest_for, write_model
from tests.stream.engines import CONTRACT, Kept, Played


def _write(path: Path, text: str, contract: Contract = CONTRACT) -> None:
    """Put a model's bytes there, and its manifest."""
    path.write_text(text)
    write_manifest_for(path, contract, "onnx")


class _Runner(FunctionRunner):
    """Answers with its file's text, which is a number; knows whether it is loaded."""

    def __init__(self, path: Path, contract: Contract) -> None:
        def answer(windows: np.ndarray) -> np.ndarray:
            assert self.loaded, "was run before it was activated, or after it was released"
            logits = np.zeros((len(windows), contract.n_outputs), np.float32)
            logits[:, 0] = float(path.read_text()) if self.text is None else float(self.text)
            return logits

        super().__init__(answer, contract, artifact=str(path))
        self.loaded, self.text, self._path = False, None, path

    def activate(self) -> None:
        self.loaded, self.text = True, self._path.read_text()

    def deactivate(self) -> None:
        self.loaded = False


class _World:
    def __init__(self, path: Path, **more: Any) -> None:
        self.path, self.notes, self.contract = path, list[str](), CONTRACT
        self.made: list[_Runner] = []
        _write(path, "1")
        self.reloader = Reloader(
            ModelFile(path, lambda: self.open()),
            contract=CONTRACT,
            sha256=sha256_file(path),
            note=self.notes.append,
            **more,
        )

    def open(self) -> Runner:
        self.made.append(_Runner(self.path, self.contract))
        return self.made[-1]

    def look_twice(self) -> Runner | None:
        self.reloader.look()
        self.reloader.look()
        return self.reloader.take()


@pytest.fixture
def world(tmp_path: Path) -> _World:
    return _World(tmp_path / "m.onnx")


def test_a_file_that_did_not_change_is_left_alone(world: _World) -> None:
    assert [world.look_twice() for _ in range(3)] == [None] * 3
    manifest_path(world.path).touch()
    assert world.look_twice() is None
    assert (world.made, world.notes) == ([], [])


def test_a_new_file_is_loaded_once_it_stands_still(world: _World) -> None:
    old = world.reloader.sha256
    _write(world.path, "2")
    world.reloader.look()
    assert world.reloader.take() is None
    world.reloader.look()
    runner = world.reloader.take()
    assert runner is world.made[0]
    assert world.made[0].loaded
    assert world.reloader.sha256 == sha256_file(world.path) != old
    assert (world.reloader.reloads, world.reloader.refused) == (1, 0)
    assert world.look_twice() is None
    assert len(world.notes) == 1


def test_a_wrong_hash_is_refused_and_told_of_once(world: _World) -> None:
    world.path.write_text("3")
    assert [world.look_twice() for _ in range(3)] == [None] * 3
    assert world.made == []
    assert world.reloader.refused == 1
    assert len(world.notes) == 1
    assert "disagree" in world.notes[0]
    # The manifest that was missing comes: now it is taken.
    write_manifest_for(world.path, CONTRACT, "onnx")
    assert world.look_twice() is world.made[0]


@pytest.mark.parametrize(
    "error", [RecursionError("deep"), MemoryError(), ValueError("x" * 10**6), KeyError("k"), OSError(5, "io")]
)
@pytest.mark.parametrize("where", ["made", "activated"])
def test_whatever_happens_while_a_new_model_is_looked_at_is_one_refusal(
    world: _World, monkeypatch: pytest.MonkeyPatch, error: Exception, where: str
) -> None:
    def fail(*_: object) -> Runner:
        raise error

    monkeypatch.setattr(*((world, "open") if where == "made" else (_Runner, "activate")), fail)
    _write(world.path, "2")
    assert world.look_twice() is None
    assert (world.reloader.refused, len(world.notes)) == (1, 1)
    assert "the old model stays in use" in world.notes[0]
    assert len(world.notes[0]) < 4096
    monkeypatch.undo()
    _write(world.path, "3 ")
    assert world.look_twice() is not None


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"contract":' * 100_000, '{"hop": ' + "9" * 5001 + "}", '{"x": NaN}', "\0" * 9, "[]"],
    ids=["lists", "objects", "digits", "NaN", "NUL", "list"],
)
def test_a_hostile_manifest_is_one_refusal(world: _World, text: str) -> None:
    manifest_path(world.path).write_text(text)
    assert world.look_twice() is None
    assert (world.reloader.refused, len(world.notes), world.made) == (1, 1, [])
    assert len(world.notes[0]) < 4096


def test_a_half_written_file_is_refused_and_the_whole_one_taken(world: _World, tmp_path: Path) -> None:
    whole = tmp_path / "new.onnx"
    _write(whole, "4" + " " * 999)
    shutil.copy(manifest_path(whole), manifest_path(world.path))
    for size in (1, 400, 700):
        world.path.write_text("4" + " " * (size - 1))
        world.reloader.look()
    assert world.notes == []
    world.reloader.look()
    assert world.reloader.take() is None
    assert world.reloader.refused == 1
    world.path.write_text("4" + " " * 999)
    assert world.look_twice() is world.made[0]


def test_a_file_that_goes_away_is_told_of_and_may_come_back(world: _World) -> None:
    world.path.unlink()
    assert world.look_twice() is None
    assert "not there" in world.notes[0]
    _write(world.path, "5")
    assert world.look_twice() is world.made[0]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"ch_names": ("AF7", "TP10")}, "ch_names"),
        ({"hop": 32}, "hop"),
        ({"n_times": 256}, "n_times"),
        ({"sfreq": 256.0}, "sfreq"),
        ({"filters": ()}, "filters"),
        ({"class_names": ("a", "b", "c")}, "class_names"),
    ],
)
def test_a_model_of_another_signal_is_refused_with_the_reason(
    world: _World, changes: dict[str, Any], named: str
) -> None:
    _write(world.path, "6", dataclasses.replace(CONTRACT, **changes))
    assert world.look_twice() is None
    assert world.made == []
    assert named in world.notes[0]
    assert world.reloader.refused == 1


def test_a_model_whose_answers_are_no_numbers_is_refused_and_released(world: _World) -> None:
    _write(world.path, "nan")
    assert world.look_twice() is None
    assert "not finite" in world.notes[0]
    assert not world.made[0].loaded


def test_a_model_that_cannot_be_loaded_is_refused(tmp_path: Path) -> None:
    world = _World(tmp_path / "m.onnx")

    def fail() -> Runner:
        raise RunnerError("no memory")

    world.open = fail  # type: ignore[method-assign]
    _write(world.path, "7")
    assert world.look_twice() is None
    assert "no memory" in world.notes[0]


def test_a_profile_of_the_old_model_refuses_the_new_one(tmp_path: Path) -> None:
    def fits(contract: Contract, sha256: str) -> None:
        raise ConfigError("the profile is of another model")

    world = _World(tmp_path / "m.onnx", fits=fits)
    _write(world.path, "8")
    assert world.look_twice() is None
    assert "profile" in world.notes[0]


def test_of_two_new_files_the_newer_is_taken_and_the_other_released(world: _World) -> None:
    for text in ("2", "3"):
        _write(world.path, text)
        world.reloader.look()
        world.reloader.look()
    assert world.reloader.take() is world.made[1]
    assert [runner.loaded for runner in world.made] == [False, True]
    _write(world.path, "4")
    world.reloader.look()
    world.reloader.look()
    world.reloader.close()
    assert [runner.loaded for runner in world.made] == [False, True, False]


def test_the_hub_swaps_between_batches_and_scales_as_the_new_contract_says(tmp_path: Path) -> None:
    recording, path = tmp_path / "a.csv", tmp_path / "m.onnx"
    write_recording(recording, simulate_recording(["calm", "excited"], seed=4)[0])
    other = dataclasses.replace(CONTRACT, scaling=Scaling("robust", (5.0, 5.0), (2.0, 2.0)), temperature=1.0)
    world, seen = _World(path), list[np.ndarray]()
    at = 2400

    a = read_recording(recording)
    before = [w for w in stream_windows(a, CONTRACT) if 2 * w.stop <= at]

    def chunks() -> Iterator[Chunk]:
        for start in range(0, len(a.samples), 12):
            if start == at:
                # All that was given before is decided on.
                while len(kept.decisions) < len(before):
                    time.sleep(1e-4)
                _write(path, "0.9", other)
                world.contract = other
                engine.reloader.look()
                engine.reloader.look()
            yield Chunk(a.samples[start : start + 12], a.timestamps[start : start + 12])

    def reopen() -> Runner:
        return world.open()

    first = world.open()
    first.activate()
    old = sha256_file(path)
    engine = StreamEngine(
        first, [Played(chunks(), live=False)], sinks=[kept := Kept()], model=ModelFile(path, reopen),
        note=world.notes.append,
    )  # fmt: skip
    for runner in world.made:
        _spy(runner, seen)
    engine.begin()
    make = world.open

    def spied() -> Runner:
        runner = make()
        _spy(runner, seen)
        return runner

    world.open = spied  # type: ignore[method-assign]
    seen.clear()
    summary = engine.run()
    assert summary["model"]["reloads"] == 1
    assert summary["model"]["sha256"] == sha256_file(path) != old
    assert kept.infos[0].model_sha256 == old
    assert [notice.kind for _, notice in kept.notices] == ["model"]
    assert [runner.loaded for runner in world.made] == [False, False]
    p_old = np.exp(1 / 2) / (np.exp(1 / 2) + 2)
    p_new = np.exp(0.9) / (np.exp(0.9) + 2)
    got = [d.probs["calm"] for d in kept.decisions if d.probs is not None]
    turn = len([w for w in before if w.valid])
    assert got[:turn] == pytest.approx([p_old] * turn, abs=1e-6)
    assert got[turn:] == pytest.approx([p_new] * (len(got) - turn), abs=1e-6)
    valid_old = [w.data for w in stream_windows(a, CONTRACT) if w.valid]
    valid_new = [w.data for w in stream_windows(a, other) if w.valid]
    frames = [batch for batch in seen if not _is_noise(batch)]
    assert len(frames) == len(valid_old)
    assert all(np.array_equal(f[0], w) for f, w in zip(frames[:turn], valid_old, strict=False))
    assert all(np.array_equal(f[0], w) for f, w in zip(frames[turn:], valid_new[turn:], strict=True))


def _spy(runner: _Runner, seen: list[np.ndarray]) -> None:
    inner = runner.fn

    def fn(windows: np.ndarray) -> Any:
        seen.append(windows.copy())
        return inner(windows)

    runner.fn = fn


def _is_noise(batch: np.ndarray) -> bool:
    """Whether this is what a model is warmed up with."""
    noise = np.random.default_rng(0).normal(size=(1, CONTRACT.n_chans, CONTRACT.n_times))
    return np.array_equal(batch, noise.astype(np.float32))


@pytest.mark.ort
@pytest.mark.torch
def test_an_onnx_file_is_taken_up(tmp_path: Path) -> None:
    from mimamba_edge.runtime.ort import OrtRunner

    contract = tiny_contract()
    write_model(tmp_path / "m.onnx", contract)
    (tmp_path / "b").mkdir()
    write_model(tmp_path / "b" / "m.onnx", dataclasses.replace(contract, temperature=3.0))
    reloader = Reloader(
        ModelFile(tmp_path / "m.onnx", lambda: OrtRunner(tmp_path / "m.onnx")),
        contract=contract,
        sha256=sha256_file(tmp_path / "m.onnx"),
        batches=(1, 3),
    )
    for name in ("m.onnx", "m.onnx.json"):
        shutil.copy(tmp_path / "b" / name, tmp_path / name)
    reloader.look()
    reloader.look()
    runner = reloader.take()
    assert runner is not None
    assert runner.contract.temperature == 3.0
    assert runner.logits(np.ones((3, 3, 20), np.float32)).shape == (3, 2)
