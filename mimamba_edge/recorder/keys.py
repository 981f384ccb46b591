"""Keys of the terminal while something else runs: read one by one, the terminal left as it was."""

from __future__ import annotations

import contextlib
import os
import re
import select
import sys
import termios
import tty
from collections.abc import Callable, Iterator

from mimamba_edge.errors import ConfigError

__all__ = ["pressed_keys"]

_SEQUENCE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|O.|.)?", re.DOTALL)
"""What arrows and function keys send (ECMA-48)."""


@contextlib.contextmanager
def pressed_keys() -> Iterator[Callable[[], str]]:
    """Give a function that returns the keys pressed since it was called last, without waiting.

    Arrows and other keys that send a sequence count as none. Ctrl-C keeps its meaning.

    Raises:
        ConfigError: There is no terminal.
    """
    if not sys.stdin.isatty():
        raise ConfigError(
            "--key needs a terminal",
            got="input that is not a terminal",
            do="run the command on a terminal, or use --cue or --markers",
        )
    handle = sys.stdin.fileno()
    before = termios.tcgetattr(handle)

    def poll() -> str:
        if not select.select([handle], [], [], 0)[0]:
            return ""
        try:
            text = os.read(handle, 1024).decode(errors="ignore")
        except OSError:  # the terminal was closed
            return ""
        return _SEQUENCE.sub("", text)

    try:
        tty.setcbreak(handle)
        yield poll
    finally:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(handle, termios.TCSADRAIN, before)
