"""A few of the attacks, and that the harness sees what it is there to see."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

for _name in ("torch", "onnx", "onnxruntime", "safetensors", "mne", "pyxdf", "websockets"):
    pytest.importorskip(_name)
pytestmark = [pytest.mark.torch, pytest.mark.ort, pytest.mark.slow]

from tests.attack.__main__ import attack_all  # noqa: E402
from tests.attack.attacks import all_attacks, sampled  # noqa: E402
from tests.attack.corpus import Corpus, write_corpus  # noqa: E402
from tests.attack.forks import Job, Result, Server, run_process  # noqa: E402
from tests.attack.plan import Attack, judge, tree_hash  # noqa: E402

_EVERY = 151


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return write_corpus(tmp_path_factory.mktemp("attack") / "corpus")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def test_some_attacks(corpus: Corpus, server: Server, tmp_path: Path) -> None:
    attacks = all_attacks(corpus)
    assert len(attacks) >= 400
    found = attack_all(sampled(attacks, _EVERY), corpus, tmp_path, [server])
    assert [f"{one.line}: {one.wrong}: {one.said}" for one in found if one.wrong] == []


def test_every_verb_is_attacked(corpus: Corpus) -> None:
    from mimamba_edge.cli.app import VERBS

    assert {attack.args[0] for attack in all_attacks(corpus) if attack.args} >= set(VERBS)


def test_a_job(server: Server, tmp_path: Path) -> None:
    job = Job(["inspect", str(tmp_path / "none.onnx")], str(tmp_path))
    for run in (server.run, run_process):
        result = run(job)
        assert (result.code, result.late) == (2, False)
        assert b"is not there" in (tmp_path / "err").read_bytes()
        (tmp_path / "err").unlink()


def test_a_job_that_does_not_end(server: Server, corpus: Corpus, tmp_path: Path) -> None:
    args = ["stream", str(corpus.seeds / "model.onnx"), "--source", "stdin:?sfreq=256"]
    result = server.run(Job(args, str(tmp_path), stdin="open", deadline_s=0.5))
    assert result.late
    assert result.code == -9


def test_verdicts() -> None:
    attack = Attack("planted", ("inspect", "x"))
    good = Result(2, 0.1, 500.0, False)
    assert judge(attack, good, b"", b"mimamba-edge: no\n") == []
    traceback = b"Traceback (most recent call last):\n  File ...\nKeyError: 1\n"
    assert judge(attack, Result(1, 0.1, 500.0, False), b"", traceback) == [
        "Traceback (most recent call last)"
    ]
    assert judge(attack, good, b"", b"x" * 5000) == ["5,000 bytes of error text"]
    assert judge(attack, good, b"", b"") == ["exit 2 without a word"]
    assert judge(attack, Result(-11, 0.1, 500.0, False), b"", b"x") == ["exit -11"]
    assert judge(attack, Result(-9, 20.0, 500.0, True), b"", b"") == ["no end within 20 s"]
    assert judge(attack, Result(0, 0.1, 4000.0, False), b"", b"") == ["4,000 MiB"]


def test_a_changed_file_is_seen(tmp_path: Path) -> None:
    file, link = tmp_path / "a", tmp_path / "b"
    file.write_text("1")
    link.symlink_to("a")
    before = tree_hash([tmp_path])
    file.write_text("2")
    assert tree_hash([tmp_path]) != before
    file.write_text("1")
    assert tree_hash([tmp_path]) == before
    link.unlink()
    link.write_text("1")
    assert tree_hash([tmp_path]) != before
