"""The command line: one verb, one file. Each parses, calls and prints."""

from __future__ import annotations

# Nothing else: from `main` on a Ctrl-C is answered in one line, so what is imported before is quick.
import os
import signal

__all__ = ["leave_interrupted", "main"]


def leave_interrupted(number: int, frame: object) -> None:
    """Answer Ctrl-C before and after a verb: at once, as an exception there could come out as anything."""
    os.write(2, b"mimamba-edge: interrupted\n")
    os._exit(130)


def main(args: list[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code.

    Args:
        args: Its arguments; without them it is the process's own, and nothing comes after it but the
            interpreter's end, in which Ctrl-C stays quiet too.
    """
    # Who ignores Ctrl-C, or has a handler of their own, keeps it.
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, leave_interrupted)
    try:
        from mimamba_edge.cli.entry import load

        load()(args)
    finally:
        if ours and args is not None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
