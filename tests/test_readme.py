"""README is short, links what is there, and its blocks run as they stand."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, flags=re.DOTALL | re.MULTILINE)
INSTALL, DEMO, CHAIN, OF_YOURS = (code for language, code in BLOCKS if language == "sh")
MODEL, DECIDE = (code for language, code in BLOCKS if language == "python")


def _environment() -> dict[str, str]:
    # So little is trained that a second process would cost more than it brings.
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "LOKY_MAX_CPU_COUNT": "1"}


def _bash(commands: str, folder: Path) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        env=_environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_takes_ten_minutes() -> None:
    assert len(TEXT.splitlines()) <= 120
    assert len(DECIDE.splitlines()) <= 12
    assert len(CHAIN.splitlines()) == 6


def test_what_it_installs_is_there(tmp_path: Path) -> None:
    """The block itself, but that stand-ins of python3 and pip note what they are asked for."""
    clone = tmp_path / "mimamba-edge"
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / ".venv" / "bin" / "activate").touch()
    noting = 'python3() { echo python3 "$@"; }; pip() { echo pip "$@"; }; cd() { builtin cd mimamba-edge; }\n'
    asked = _bash(noting + INSTALL, tmp_path).splitlines()
    assert asked[0] == "python3 -m venv .venv"
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for line in asked[1:]:
        extras = re.fullmatch(r"pip install \.\[([a-z,]+)\]", line)
        assert extras, line
        assert all(re.search(rf"^{extra} = \[", project, re.MULTILINE) for extra in extras[1].split(","))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The empty folder in which all is done, in README's order."""
    return tmp_path_factory.mktemp("reader")


@pytest.mark.ort
def test_the_demo_decides_and_leaves_nothing(folder: Path) -> None:
    demo = subprocess.Popen(
        ["bash", "-c", f"exec {DEMO}"], cwd=folder, env=_environment(), stdout=subprocess.PIPE, text=True
    )
    assert demo.stdout is not None
    with demo:
        shown = [demo.stdout.readline() for _ in range(3)]
        demo.send_signal(signal.SIGINT)  # for q, which takes a terminal
    assert all(shown)
    assert demo.returncode in (0, 130)
    assert list(folder.iterdir()) == []


@pytest.mark.torch
@pytest.mark.ort
@pytest.mark.slow
@pytest.mark.parametrize("line", CHAIN.splitlines(), ids=lambda line: line.split()[1])
def test_the_chain_runs_as_written(folder: Path, line: str) -> None:
    _bash(line, folder)


@pytest.mark.torch
@pytest.mark.ort
@pytest.mark.slow
def test_what_the_chain_made(folder: Path) -> None:
    decisions = [json.loads(line) for line in (folder / "decisions.jsonl").read_text().splitlines()]
    assert sum(decision["valid"] for decision in decisions) > 10
    formats = (ROOT / "docs" / "formats" / "README.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```json\n(.*?)^```", formats, flags=re.DOTALL | re.MULTILINE)
    assert json.loads(shown).keys() == decisions[0].keys()
    with tarfile.open(folder / "model.tar") as packed:
        assert {"model/model.onnx", "model/model.trt.onnx"} <= set(packed.getnames())


@pytest.mark.torch
@pytest.mark.ort
@pytest.mark.slow
def test_a_model_of_the_readers(folder: Path) -> None:
    name = re.match(r"# (\w+\.py)\n", MODEL)
    assert name
    (folder / name[1]).write_text(MODEL)
    assert "float" in _bash(OF_YOURS, folder)


@pytest.mark.ort
def test_a_decision_in_python(tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, "-c", DECIDE], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    labels = [line.partition(": ")[2] for line in ran.stdout.splitlines()]
    assert {"settling", "calm", "excited"} <= set(labels)


def test_every_verb_is_named() -> None:
    from mimamba_edge.cli.app import VERBS

    pages = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))
    for verb in VERBS:
        assert f"mimamba-edge {verb}" in TEXT + pages


_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)


def _anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    titles = _HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", ["README.md", "docs/measured.md"])
def test_what_it_links_exists(page: str) -> None:
    here = ROOT / page
    links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", here.read_text(encoding="utf-8"))
    assert len(links) > 10
    for target, anchor in links:
        linked = here.parent / target if target else here
        assert linked.exists(), target
        assert not anchor or anchor in _anchors(linked), f"{target}#{anchor}"
