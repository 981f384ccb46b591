"""The Typer application and how its verbs end: 0 done, 1 a finding, 2 could not run, 130 interrupted.

A verb's module imports only typer and :mod:`mimamba_edge.errors` at its top and everything else inside
its function, so that ``--help`` stays fast and no verb needs another verb's packages.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import typer

from mimamba_edge import __version__
from mimamba_edge.console import printable_lines
from mimamba_edge.errors import MimambaError

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
    "fit",
    "calibrate",
    "inspect",
    "package",
    "plugin",
    "doctor",
    "simulate",
)

_INTERRUPTED = 130

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Take a Mamba network for EEG from a PyTorch checkpoint to a wearable.",
)
for _verb in VERBS:
    _run = getattr(importlib.import_module(f"mimamba_edge.cli.{_verb}"), _verb)
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


def main(args: list[str] | None = None) -> Any:
    """Run the command line and leave the process with its exit code."""
    try:
        app(args=args, standalone_mode=True)
    except MimambaError as error:
        # Names from a device, a network or a file are quoted, and a terminal must not obey them.
        typer.echo(f"mimamba-edge: {printable_lines(str(error))}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        # A path that may not even be looked at: what was asked of the system, not a fault of the program.
        typer.echo(f"mimamba-edge: the system refused: {printable_lines(str(error))}", err=True)
        sys.exit(MimambaError.exit_code)
    except MemoryError as error:
        typer.echo(f"mimamba-edge: the memory does not suffice\n  got:      {error or 'no more'}", err=True)
        sys.exit(MimambaError.exit_code)
    except SystemExit as end:
        if end.code == _INTERRUPTED:
            typer.echo("mimamba-edge: interrupted; no file was left half written", err=True)
        raise
