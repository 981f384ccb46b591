"""README's blocks are run as they stand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.torch
@pytest.mark.ort
@pytest.mark.slow
def test_the_blocks_run_as_written(tmp_path: Path) -> None:
    """But for less data and one epoch."""
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    (commands,) = blocks("sh")
    for much, little in (("--runs 4 --trials 10", "--runs 3 --trials 4"), ("--epochs 4", "--epochs 1")):
        assert much in commands
        commands = commands.replace(much, little)
    out = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert out.returncode == 0, out.stdout + out.stderr
    assert json.loads((tmp_path / "parity.json").read_text())["passed"] is True
    assert (tmp_path / "bench.html").stat().st_size > 1000
    decisions = [json.loads(line) for line in (tmp_path / "decisions.jsonl").read_text().splitlines()]
    assert sum(d["valid"] for d in decisions) > 10
    shown = json.loads(blocks("json")[0])
    assert shown.keys() == decisions[0].keys()


@pytest.mark.ort
def test_a_decision_in_python_takes_at_most_twelve_lines(tmp_path: Path) -> None:
    (code,) = blocks("python")
    assert len(code.splitlines()) <= 12
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    labels = [line.partition(": ")[2] for line in ran.stdout.splitlines()]
    assert {"settling", "calm", "excited"} <= set(labels)


def test_every_verb_is_named() -> None:
    from mimamba_edge.cli.app import VERBS

    for verb in VERBS:
        assert f"mimamba-edge {verb}" in TEXT


def test_linked_files_exist() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", TEXT):
        assert (ROOT / target).exists(), target
