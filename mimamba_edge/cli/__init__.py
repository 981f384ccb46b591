"""The command line: one verb, one file. Each parses, calls and prints."""

from __future__ import annotations

# Nothing else: from `main` on a Ctrl-C is answered in one line, so what is imported before is quick.
import os
import signal

__all__ = ["main"]


def _interrupted_early(number: int, frame: object) -> None:
    # At once: an exception could come out of a half-imported package as anything. Nothing was written yet.
    os.write(2, b"mimamba-edge: interrupted\n")
    os._exit(130)


def main(args: list[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code."""
    # Who ignores Ctrl-C, or has a handler of their own, keeps it.
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, _interrupted_early)
    try:
        from mimamba_edge.cli.entry import load

        run = load()
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    run(args)
