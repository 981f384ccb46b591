"""Tries something in a process of its own, which may crash or hang there, and brings back what it told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["QUOTED", "Answer", "ask"]

QUOTED = 300
"""Characters of somebody else's words in one line."""


@dataclass(frozen=True)
class Answer:
    """What a process told.

    Attributes:
        told: The object that its last line on stdout is; empty where there is none.
        problem: Why it told nothing; empty where it told something.
        said: All of its stderr.
    """

    told: Mapping[str, Any]
    problem: str
    said: str


def ask(command: Sequence[str], limit_s: float) -> Answer:
    """Run a command whose last line on stdout is a JSON object.

    Args:
        command: Program and arguments.
        limit_s: Seconds after which it is killed.
    """
    # With -m the current folder would be searched for packages first (Python 3.11 and later heed this).
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit_s,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer({}, f"gave no answer within {limit_s:g} s", "")
    except OSError as error:
        return Answer({}, f"cannot be tried: {error}", "")
    try:
        told = json.loads(done.stdout.splitlines()[-1])
        if isinstance(told, dict):
            return Answer(told, "", done.stderr)
    except (IndexError, ValueError):
        pass
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    last = " ".join(lines[-1:])[:QUOTED] or "nothing said"
    return Answer({}, f"ended the process ({_end(done.returncode)}): {last}", done.stderr)


def _end(code: int) -> str:
    names = {int(one): one.name for one in signal.Signals}
    return f"exit {code}, {names[-code]}" if -code in names else f"exit {code}"
