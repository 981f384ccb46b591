"""What the command line says about itself: every verb, at any width, in words that people read."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from mimamba_edge.cli.app import app
from mimamba_edge.cli.help import PANELS, VERBS, WORDS


def _commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield words, command
    for name, one in getattr(command, "commands", {}).items():
        yield from _commands(one, (*words, name))


COMMANDS = dict(_commands(typer.main.get_command(app)))


@pytest.mark.parametrize("columns", ["80", "60"])
def test_the_list_of_verbs_is_whole(run, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    said = run("-h").out
    assert said == run("--help").out
    assert max(map(len, said.splitlines())) <= int(columns)
    assert "..." not in said.replace("[ARGS]...", "")
    found = {panel: said.partition(f"\n{panel}:\n")[2].partition("\n\n")[0] for panel in PANELS}
    shown = {panel: tuple(re.findall(r"^  (\S+)  ", text, re.M)) for panel, text in found.items()}
    assert shown == PANELS
    flat = " ".join(said.split())
    for verb in VERBS:
        assert f"{verb} {COMMANDS[verb,].short_help}" in flat


@pytest.mark.parametrize("words", list(COMMANDS), ids=" ".join)
def test_every_help_names_its_values(run, words: tuple[str, ...]) -> None:
    done = run(*words, "-h")
    assert done.code == 0
    # What older and newer releases of Typer put around a value or in place of its name.
    assert not re.findall(r"<(str|path|list)|\{", done.out), done.out
    assert "..." not in re.sub(r"[A-Z]\]?\.\.\.", "", done.out)


def test_the_version(run) -> None:
    assert run("-V") == run("--version")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("mimamba-edge st", ["stream"]),
        ("mimamba-edge bench --p", ["--provider"]),
        ("mimamba-edge pack --host ", ["device", "triton"]),
        ("mimamba-edge train eeg --protocol cross", ["cross-session", "cross-subject"]),
    ],
)
def test_a_shell_completes_verbs_options_and_values(line: str, found: list[str]) -> None:
    code = "import sys; sys.argv = ['mimamba-edge']; from mimamba_edge.cli import main; main()"
    asked = {"_MIMAMBA_EDGE_COMPLETE": "complete_bash", "COMP_CWORD": str(line.count(" "))}
    asked["COMP_WORDS"] = line
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **asked}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == found


@pytest.mark.parametrize(("verb", "option"), [(v, o) for v, options in WORDS.items() for o in options])
def test_words_that_a_shell_completes_stand_in_the_help(verb: str, option: str) -> None:
    (shown,) = (one for one in COMMANDS[verb.replace("_", "-"),].params if one.name == option)
    for word in WORDS[verb][option]:
        assert re.search(rf"\b{re.escape(word.rstrip(':'))}\b", f"{shown.help} {shown.default}"), word
