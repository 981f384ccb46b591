"""Single windows go through buffers that are bound once: the same answers, nobody else's memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mimamba_edge.runtime.bound import BoundRun
from mimamba_edge.runtime.ort import OrtRunner, open_session
from tests.modelfiles import noise, tiny_contract, write_model

pytestmark = [pytest.mark.torch, pytest.mark.ort]


@pytest.fixture(scope="module")
def runner(tmp_path_factory) -> Iterator[OrtRunner]:
    path: Path = tmp_path_factory.mktemp("bound") / "m.onnx"
    write_model(path)
    with OrtRunner(path, threads=1) as active:
        yield active


def test_the_answers_are_those_of_a_plain_run(runner) -> None:
    session = open_session(Path(runner.artifact), name="plain", threads=1)
    windows = noise(runner.contract, 40)
    for window in (*windows, *windows[::-1]):
        (plain,) = session.run(["logits"], {"windows": window[None]})
        assert np.array_equal(runner.logits(window[None]), plain)
        assert np.array_equal(runner.logits(np.asfortranarray(window[None])), plain)


def test_an_answer_stays_as_it_was_and_inputs_are_not_kept(runner) -> None:
    windows = noise(runner.contract, 8)
    held = [runner.logits(window[None]) for window in windows]
    before = [logits.copy() for logits in held]
    assert not np.array_equal(before[0], before[1])
    for window in windows[::-1]:
        window = window.copy()
        runner.logits(window[None])
        window[:] = np.nan
    assert all(np.array_equal(a, b) for a, b in zip(held, before, strict=True))
    held[0][:] = np.nan
    assert np.array_equal(runner.logits(windows[:1]), before[0])


def test_threads_that_share_a_model_get_their_own_answers(runner) -> None:
    windows = noise(runner.contract, 4)
    expected = [runner.logits(window[None]) for window in windows]
    wrong: list[int] = []

    def ask(i: int) -> None:
        for _ in range(200):
            if not np.array_equal(runner.logits(windows[i : i + 1]), expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    assert not any(thread.is_alive() for thread in threads)


def test_whoever_comes_while_the_buffers_are_taken_is_told() -> None:
    came = []

    class Session:
        """Asks for the same buffers while they are in use."""

        def io_binding(self) -> Session:
            return self

        def bind_input(self, *_: object) -> None: ...

        bind_output = bind_input

        def run_with_iobinding(self, _: object) -> None:
            came.append(bound.run(window))
            if len(came) == 2:
                raise ValueError

    contract = tiny_contract()
    window = noise(contract, 1)
    bound = BoundRun(Session(), contract.signature)
    assert bound.run(window) is not None
    with pytest.raises(ValueError):
        bound.run(window)
    assert bound.run(window) is not None  # neither an answer nor an error kept them
    assert came == [None, None, None]
