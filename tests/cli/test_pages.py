"""Every option of ours that a page names is one of the verb beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from mimamba_edge.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "plugins" / "README.md",
    ROOT / "benchmarks" / "submissions" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
ROOT_COMMAND: Any = typer.main.get_command(app)


def _calls(text: str) -> Iterator[list[str]]:
    """Yield the words of each command, from ``mimamba-edge`` or a verb in backticks to its end."""
    for line in text.splitlines():
        for call in re.findall(r"mimamba-edge ([a-z][^`#|;&)]*)", line):
            yield call.split()
        for call in re.findall(r"`([a-z-]+ [^`]*--[^`]*)`", line):
            if call.split()[0] in ROOT_COMMAND.commands:
                yield call.split()


def _unknown(words: list[str]) -> list[str]:
    command = ROOT_COMMAND
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    known = {opt for param in command.params for opt in (*param.opts, *param.secondary_opts)}
    given = {word.partition("=")[0].rstrip(",.:") for word in words if word.startswith("--")}
    return sorted(given - known - {"--help"}) if command is not ROOT_COMMAND else []


def test_pages_name_options_that_there_are() -> None:
    calls = [(page.name, words) for page in PAGES for words in _calls(page.read_text(encoding="utf-8"))]
    assert len(calls) > 100
    assert [(name, words[:2], wrong) for name, words in calls if (wrong := _unknown(words))] == []


def test_an_old_option_would_be_seen() -> None:
    assert _unknown(["quantize", "m.onnx", "--to", "int8", "--calib", "eeg"]) == ["--calib"]
