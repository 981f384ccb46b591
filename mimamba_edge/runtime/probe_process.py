"""Tries things in a process of their own, which may crash or hang there, and brings back what it told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["QUOTED", "Answer", "ask"]

QUOTED = 300
"""Characters of somebody else's words in one line."""


@dataclass(frozen=True)
class Answer:
    """What a process told of one thing.

    Attributes:
        told: What it found; empty where it told nothing.
        problem: Why it told nothing; empty where it told something.
        said: All of the process's stderr.
    """

    told: Mapping[str, Any]
    problem: str
    said: str


def ask(command: Sequence[str], things: Sequence[str], limit_s: float) -> dict[str, Answer]:
    """Try things, all in one process as long as it lives.

    It gets their names as arguments and prints a JSON object for each, in their order, as soon as it has it.
    A thing at which it crashes or hangs has that as its problem; another process tries those after it.

    Args:
        command: Program and its first arguments.
        things: What to try.
        limit_s: Seconds after which a process is killed.
    """
    answers: dict[str, Answer] = {}
    left = list(things)
    while left:
        told, problem, said = _run([*command, *left], limit_s)
        answers |= {thing: Answer(one, "", said) for thing, one in zip(left, told, strict=False)}
        left = left[len(told) :]
        if left:
            answers[left.pop(0)] = Answer({}, problem, said)
    return answers


def _run(command: Sequence[str], limit_s: float) -> tuple[list[dict[str, Any]], str, str]:
    """Return what a process told, how it ended, and its stderr."""
    # With -m the current folder would be searched for packages first (Python 3.11 and later heed this).
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=environment,
        )
    except OSError as error:
        return [], f"cannot be tried: {error}", ""
    with process:
        try:
            out, said = process.communicate(timeout=limit_s)
            lines = [line for line in said.splitlines() if line.strip()]
            last = " ".join(lines[-1:])[:QUOTED] or "nothing said"
            problem = f"ended the process ({_end(process.returncode)}): {last}"
        except subprocess.TimeoutExpired:
            process.kill()
            out, said = process.communicate()
            problem = f"gave no answer within {limit_s:g} s"
    return list(_objects(out)), problem, said


def _objects(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found


def _end(code: int) -> str:
    names = {int(one): one.name for one in signal.Signals}
    return f"exit {code}, {names[-code]}" if -code in names else f"exit {code}"
