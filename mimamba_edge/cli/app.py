"""The Typer application and how its verbs end: 0 done, 1 a finding, 2 could not run, 130 interrupted.

A verb's module imports only typer and :mod:`mimamba_edge.errors` at its top and everything else inside
its function, so that ``--help`` stays fast and no verb needs another verb's packages.
"""

from __future__ import annotations

import importlib
import io
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any

import typer

from mimamba_edge import __version__
from mimamba_edge.cli import leave_interrupted
from mimamba_edge.cli.entry import (
    OUT_OF_MEMORY,
    interrupt_later,
    loads_compiled_module,
    memory_ended,
    raised_again,
)
from mimamba_edge.cli.help import VERBS, Panels, check_spelling, name_values
from mimamba_edge.console import json_only, printable_lines
from mimamba_edge.errors import ConfigError, DependencyError, MimambaError, shorten

__all__ = ["VERBS", "app", "main"]

_INTERRUPTED = 130
_MOST_TEXT = 4000
"""Bytes of a message, whoever wrote it: Typer and the system quote what they were given in full."""
_ENDED = "mimamba-edge: interrupted; no incomplete file was left"

app = typer.Typer(
    cls=Panels,
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Take a Mamba network for EEG from a PyTorch checkpoint to a wearable.",
)
for _verb in VERBS:
    _run = getattr(
        importlib.import_module(f"mimamba_edge.cli.{_verb.replace('-', '_')}"), _verb.replace("-", "_")
    )
    if isinstance(_run, typer.Typer):
        app.add_typer(_run, name=_verb)
    else:
        app.command(_verb)(_run)
name_values(app)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"mimamba-edge {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: bool = typer.Option(
        False, "--version", "-V", callback=_show_version, is_eager=True, help="Show the version and stop."
    ),
) -> None:
    # A program that calls this one goes on afterwards: what it shows is not of this call.
    context.call_on_close(lambda: json_only(False))


def main(args: list[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code."""
    code = _ended(args)
    try:
        sys.stdout.flush()
    except MimambaError as error:
        if code in (None, 0, 1):
            code = _tell(error)
    sys.exit(0 if code is None else code)


def _ended(args: list[str] | None) -> Any:
    """Run the command line; return its exit code."""
    interrupted = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        if loads_compiled_module(frame):
            interrupt_later()
            return
        interrupted = True
        signal.default_int_handler(number, frame)

    before = signal.getsignal(signal.SIGINT)
    ours = before in (signal.default_int_handler, leave_interrupted)
    try:
        try:
            if ours:
                signal.signal(signal.SIGINT, note)
            with raised_again():
                check_arguments(sys.argv[1:] if args is None else args)
                code = app(args=args, standalone_mode=False)
        except KeyboardInterrupt:
            code = _INTERRUPTED
        except SystemExit as end:
            code = end.code
        except Exception as error:
            # Packages make other errors of a Ctrl-C that comes while they are loaded.
            code = _INTERRUPTED if interrupted else _tell(error)
        finally:
            if ours:
                signal.signal(signal.SIGINT, leave_interrupted)
        if code == _INTERRUPTED:
            _say(_ENDED)
        return code
    finally:
        if ours:
            signal.signal(signal.SIGINT, before)


def check_arguments(args: Sequence[str]) -> None:
    """Check what holds for the arguments of all verbs.

    Raises:
        ConfigError: One is empty, which as a path would be the working folder, or is no text: names of files
            stand in manifests, tables and pages; or an option is spelled as elsewhere.
    """
    for number, word in enumerate(args, 1):
        value = word.partition("=")[2] if word.startswith("--") and "=" in word else word
        if not value:
            raise ConfigError(
                f"argument {number} is empty",
                got=repr(word),
                do="give a value, or leave the option out; a variable of the shell may be unset",
            )
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise ConfigError(
                f"argument {number} is no text in this locale",
                got=value,
                do="rename the file, or set LC_ALL=C.UTF-8",
            )
    check_spelling(args)


def _say(text: str) -> None:
    """Print a message; what names from a device, a network or a file hold neither floods nor steers."""
    typer.echo(printable_lines(shorten(text, _MOST_TEXT)), err=True)


def _how_to_give(error: Exception) -> str:
    """Return an example of an option that was left out, for those that are not clear from their names."""
    if (
        type(error).__name__ != "MissingParameter"
        or getattr(getattr(error, "param", None), "name", "") != "source"
    ):
        return ""
    return "\nfor example: --source simulated:; `mimamba-edge sources` lists the headsets in reach"


def _tell(error: Exception) -> int:
    """Print an error in plain words; return its exit code.

    Raises:
        Exception: It is a fault of the program, and is raised again.
    """
    if callable(show := getattr(error, "show", None)):  # Typer's, about arguments
        text = io.StringIO()
        show(text)
        _say(text.getvalue().rstrip() + _how_to_give(error))
        return int(getattr(error, "exit_code", MimambaError.exit_code))
    if isinstance(error, typer.Abort):
        _say("Aborted!")
        return 1
    if isinstance(error, MimambaError) and not isinstance(error, DependencyError):
        _say(f"mimamba-edge: {error}")
        return error.exit_code
    if memory_ended(error):
        _say(OUT_OF_MEMORY)
    elif isinstance(error, DependencyError):
        _say(f"mimamba-edge: {error}")
    elif isinstance(error, OSError):
        # A path that may not even be looked at: what was asked of the system, not a fault of the program.
        _say(f"mimamba-edge: the system refused: {error}")
    else:
        raise error
    return MimambaError.exit_code
