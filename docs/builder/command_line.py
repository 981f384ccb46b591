"""Pages of the command line, made from the Typer application: one a verb, in the panels of ``--help``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from typing import Any

import typer.main

from mimamba_edge.cli.app import app
from mimamba_edge.cli.help import PANELS

from .markdown import cell, table, toctree

PROGRAM = "mimamba-edge"
EXIT_CODES = """## Exit codes

| code | meaning |
|---|---|
| 0 | done |
| 1 | a finding: models differ, a check failed, a file is below the acceptance limits and was not written |
| 2 | could not run; the message says what was got, what was expected and what to do |
| 130 | ended by Ctrl-C; no incomplete file is left |

A reader that leaves early (`mimamba-edge inspect model.onnx | head`) changes none of them.

## What many verbs share

- `--json` prints the result as JSON and nothing else; `--report PATH` writes it to a file.
- Inputs are never replaced, and an output only where this program wrote a file of that kind before.
- `mimamba-edge --install-completion` installs completion for the current shell.

## Environment

| variable | meaning |
|---|---|
| `MIMAMBA_CACHE` | folder of files that can be made again; default: `~/.cache/mimamba-edge` |
| `MIMAMBA_PLUGIN` | TensorRT plugin library to take before those in the cache |
| `MIMAMBA_ORT_OPS` | library of native ops for ONNX Runtime, or `none` |
| `RAY_ADDRESS` | cluster of `--engine ray` |
"""


def _text(words: str) -> str:
    """Return a help text as Markdown: options in it are code, and keep their dashes."""
    return re.sub(r"(?<![`\w-])(--[a-z][\w-]*)", r"`\1`", words)


def _rows(command: Any, context: Any, kind: str) -> Iterator[Sequence[str]]:
    for param in command.get_params(context):
        record = param.get_help_record(context)
        if param.param_type_name != kind or record is None or "--help" in param.opts:
            continue
        names, told = record
        # Defaults and bounds stand behind two spaces, in brackets.
        text, *extra = told.split("  ")
        bounds = [one.strip("[]") for one in "  ".join(extra).split("  ") if one]
        default = next((one.removeprefix("default: ") for one in bounds if one.startswith("default")), "")
        if found := re.search(r"; default: (.*)\.$", text):
            default, text = found[1], text[: found.start()] + "."
        if "required" in bounds:
            default = "required"
        range_of = next((one for one in bounds if "<=" in one), "")
        if kind == "argument":
            yield f"`{param.metavar or param.name.upper()}`", cell(_text(text)), cell(default)
        else:
            words, _, value = (
                names.rpartition(" ") if not names.split()[-1].startswith("-") else (names, "", "")
            )
            words = ", ".join(f"`{name.strip()}`" for name in words.split(",")) + (
                value and f" *{_one_of(value)}*"
            )
            limits = f" ({range_of.replace('<=x<=', ' to ')})" if range_of else ""
            yield cell(words), cell(_text(text) + limits), cell(_shown(default))


def _one_of(value: str) -> str:
    """Return the name of a value, or in words what it may be."""
    return value.strip("<>[]{}").replace("|", " or ")


def _shown(default: str) -> str:
    """Return a default value as code, and words about one as words."""
    return f"`{default}`" if re.fullmatch(r"[\w.+-]+", default) and default != "required" else default


def _section(command: Any, name: str, level: int) -> Iterator[str]:
    context = command.context_class(command, info_name=name)
    help_text = inspect.cleandoc(command.help or "")
    summary, _, more = help_text.partition("\n\n")
    yield f"{'#' * level} {name.removeprefix(PROGRAM + ' ')}\n"
    yield " ".join(_text(summary).split()) + "\n"
    commands = getattr(command, "commands", {})
    usage = command.get_usage(context).removeprefix("Usage: ")
    yield f"```console\n{' '.join(usage.split())}\n```\n"
    if more:
        yield _text(more) + "\n"
    for kind, title in (("argument", "argument"), ("option", "option")):
        rows = list(_rows(command, context, kind))
        if rows:
            yield table((title, "what", "default"), rows)
    for sub, held in commands.items():
        yield from _section(held, f"{name} {sub}", level + 1)


def pages() -> Iterator[tuple[str, str]]:
    """Yield name and text of each page."""
    root: Any = typer.main.get_command(app)
    index = ["# Command line\n", f"{root.help} `{PROGRAM} VERB --help` shows what is here.\n"]
    for panel, verbs in PANELS.items():
        rows = [
            (f"[{verb}]({verb}.md)", cell(_text(root.commands[verb].get_short_help_str()))) for verb in verbs
        ]
        index += [f"## {panel}\n", table(("verb", "what it does"), rows)]
    index += [EXIT_CODES, toctree([verb for verbs in PANELS.values() for verb in verbs])]
    yield "reference/cli/index.md", "\n".join(index)
    for verb in (verb for verbs in PANELS.values() for verb in verbs):
        text = "\n".join(_section(root.commands[verb], f"{PROGRAM} {verb}", 1))
        yield f"reference/cli/{verb}.md", text + "\nHow it ends: [exit codes](index.md#exit-codes).\n"
