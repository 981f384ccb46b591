"""Fenced blocks of a page, and what the Python and shell ones among them do."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

DOCS = Path(__file__).resolve().parents[2] / "docs"


class Block(NamedTuple):
    """A fenced block: its language and its text."""

    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    found = re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [Block(*one) for one in found]


@functools.cache
def run_python(page: Path) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Run the Python blocks of a page in turn.

    Returns:
        The names that they defined; and what each printed, with the ``text`` block after it.
    """
    names: dict[str, Any] = {}
    found, all_of_it = [], blocks(page)
    for block, after in zip(all_of_it, [*all_of_it[1:], Block("", "")], strict=True):
        if block.language == "python":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(block.text, page.name, "exec"), names)
            found.append((printed.getvalue(), after.text if after.language == "text" else ""))
    return names, found


def run_shell(command: str, folder: Path) -> str:
    """Run the ``sh`` block of a page as it stands; return what it prints on both outputs."""
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "120"}
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert ran.returncode == 0, f"{command}\n{ran.stdout}"
    return ran.stdout


def missing_lines(shown: str, printed: str) -> list[str]:
    """Return the lines of a ``text`` block that a command did not print.

    Numbers, random ids and the widths of columns may differ; ``…`` stands for anything.
    """
    lines = [_shape(line) for line in printed.splitlines()]
    patterns = {line: ".*".join(map(re.escape, _shape(line).split("…"))) for line in shown.splitlines()}
    return [line for line, form in patterns.items() if not any(re.fullmatch(form, one) for one in lines)]


def _shape(line: str) -> str:
    numbers = r"\bp?[0-9a-f]{12}\b|\bp[0-9a-f]{6}\b|[-+]?\d[\d.,:]*(e[-+]\d+)?"
    return re.sub(numbers, "#", " ".join(line.replace("…", " … ").split())).replace(" … ", "…")
