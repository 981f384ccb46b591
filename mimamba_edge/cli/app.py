"""The Typer application and how its verbs end: 0 done, 1 a finding, 2 could not run, 130 interrupted.

A verb's module imports only typer and :mod:`mimamba_edge.errors` at its top and everything else inside
its function, so that ``--help`` stays fast and no verb needs another verb's packages.
"""

from __future__ import annotations

import importlib
import signal
import sys
from typing import Any

import typer

from mimamba_edge import __version__
from mimamba_edge.cli.entry import OUT_OF_MEMORY, memory_ended
from mimamba_edge.console import printable_lines
from mimamba_edge.errors import DependencyError, MimambaError

__all__ = ["VERBS", "app", "main"]

VERBS = (
    "data",
    "train",
    "export",
    "quantize",
    "build",
    "parity",
    "bench",
    "stream",
    "sources",
    "record",
    "session",
    "check-signal",
    "calibrate",
    "inspect",
    "package",
    "plugin",
    "doctor",
    "simulate",
)

_INTERRUPTED = 130
_ENDED = "mimamba-edge: interrupted; no incomplete file was left"

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
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


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"mimamba-edge {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version and stop."
    ),
) -> None:
    pass


def main(args: list[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code."""
    code = _ended(args)
    try:
        sys.stdout.flush()
    except MimambaError as error:
        if code in (None, 0, 1):
            code = _tell(error)
    sys.exit(code)


def _ended(args: list[str] | None) -> Any:
    """Run the command line; return its exit code."""
    interrupted = False

    def note(number: int, frame: Any) -> None:
        nonlocal interrupted
        interrupted = True
        signal.default_int_handler(number, frame)

    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, note)
    try:
        app(args=args, standalone_mode=True)
    except SystemExit as end:
        if end.code == _INTERRUPTED:
            typer.echo(_ENDED, err=True)
        return end.code
    except KeyboardInterrupt:
        typer.echo(_ENDED, err=True)
        return _INTERRUPTED
    except Exception as error:
        # Packages make other errors of a Ctrl-C that comes while they are loaded.
        if interrupted:
            typer.echo(_ENDED, err=True)
            return _INTERRUPTED
        return _tell(error)
    finally:
        if before is signal.default_int_handler:
            signal.signal(signal.SIGINT, before)
    return 0


def _tell(error: Exception) -> int:
    """Print an error in plain words; return its exit code.

    Raises:
        Exception: It is a fault of the program, and is raised again.
    """
    # Names from a device, a network or a file are quoted, and a terminal must not obey them.
    if isinstance(error, MimambaError) and not isinstance(error, DependencyError):
        typer.echo(f"mimamba-edge: {printable_lines(str(error))}", err=True)
        return error.exit_code
    if memory_ended(error):
        typer.echo(OUT_OF_MEMORY, err=True)
    elif isinstance(error, DependencyError):
        typer.echo(f"mimamba-edge: {printable_lines(str(error))}", err=True)
    elif isinstance(error, OSError):
        # A path that may not even be looked at: what was asked of the system, not a fault of the program.
        typer.echo(f"mimamba-edge: the system refused: {printable_lines(str(error))}", err=True)
    else:
        raise error
    return MimambaError.exit_code
