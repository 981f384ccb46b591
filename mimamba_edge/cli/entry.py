"""The way into the command line: what must hold before anything heavy is imported.

Standard streams that are closed or full, readers that leave, Ctrl-C and memory that ends while packages are
loaded: each ends with a documented exit code and one message, never with a traceback.
"""

from __future__ import annotations

import _thread
import contextlib
import io
import os
import resource
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.machinery import ExtensionFileLoader
from types import FrameType
from typing import TextIO

from mimamba_edge.errors import OutputError

__all__ = [
    "OUT_OF_MEMORY",
    "interrupt_later",
    "load",
    "loads_compiled_module",
    "memory_ended",
    "raised_again",
]

OUT_OF_MEMORY = (
    "mimamba-edge: out of memory\n"
    "  do this:  stop other programs, or raise the limit (`ulimit -v`); one stream needs about 0.2 GiB"
)
_SIGNS = (
    "cannot allocate memory",
    "failed to map segment",
    "can't start new thread",
    "bad_alloc",
    "bad allocation",
    "not enough memory",
    "can't allocate memory",
)


class _Stream(io.TextIOWrapper):
    """Stdout or stderr as the verbs need it.

    A reader that left (``| head``) has all that it wanted: what is still written goes nowhere, and the verb
    runs to its end and its exit code. What cannot be written otherwise (a full disk, a closed stdout) is an
    error, but on stderr, where nobody could be told. Characters that the encoding lacks are escaped.
    """

    reader_left = False
    """Nobody reads any more; a stream of decisions ends then."""
    _lost: OutputError | None = None

    def write(self, text: str) -> int:
        if self._lost is not None:
            raise self._lost
        try:
            # Typer tries an empty text and swallows what happens; a full device refuses even that.
            return super().write(text) if text != "" else 0
        except OSError as error:
            self._give_up(error)
        return len(text)

    def flush(self) -> None:
        lost, self._lost = self._lost, None
        if lost is not None:
            raise lost  # once more, for whoever ends the process; the interpreter's own flush finds nothing
        try:
            super().flush()
        except OSError as error:
            try:
                self._give_up(error)
            finally:
                self._lost = None

    def _give_up(self, error: OSError) -> None:
        # What is in the buffer is written once more when the interpreter ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        super().flush()
        if isinstance(error, BrokenPipeError):
            self.reader_left = True
        elif self.fileno() == 1:
            self._lost = OutputError(
                "cannot write to standard output",
                got=error.strerror,
                do="free some space, or redirect the output; files that the command wrote are complete",
            )
            raise self._lost from error


def open_streams() -> None:
    """See to it that all three standard streams are there, so that no file takes the number of one."""
    # Read only: writing to a stdout that was closed fails, as it should; messages may go nowhere.
    for number, (name, flags, mode) in enumerate(
        (("stdin", os.O_RDONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_RDWR, "w"))
    ):
        if getattr(sys, name) is not None:
            continue
        opened = os.open(os.devnull, flags)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
        stream = io.TextIOWrapper(
            io.FileIO(number, mode, closefd=False), encoding="utf-8", write_through=True
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    for name in ("stdout", "stderr"):
        held: TextIO = getattr(sys, name)
        # A test or an embedding program may have put something of its own there.
        if held is getattr(sys, f"__{name}__") and type(held) is io.TextIOWrapper:
            how = {
                "encoding": held.encoding,
                "errors": "backslashreplace" if held.errors == "strict" else held.errors,
                "line_buffering": held.line_buffering,
                "write_through": held.write_through,
            }
            mended = _Stream(held.detach(), **how)  # type: ignore[arg-type]
            setattr(sys, name, mended)
            setattr(sys, f"__{name}__", mended)


def memory_ended(error: BaseException | None) -> bool:
    """Return whether an error, or what led to it, is that memory (or room for another thread) ended."""
    seen = 0
    while error is not None and seen < 20:
        text = str(error).lower()
        if isinstance(error, MemoryError) or any(sign in text for sign in _SIGNS):
            return True
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False


def interrupt_later() -> None:
    """Let the Ctrl-C that cannot be raised here come once more, in 10 ms."""
    again = threading.Timer(0.01, _thread.interrupt_main)
    again.daemon = True
    again.start()


def loads_compiled_module(frame: FrameType | None) -> bool:
    """Return whether a compiled module is being initialised: some end the process at an exception in it."""
    while frame is not None:
        if frame.f_code.co_name in ("create_module", "exec_module") and isinstance(
            frame.f_locals.get("self"), ExtensionFileLoader
        ):
            return True
        frame = frame.f_back
    return False


@contextlib.contextmanager
def raised_again() -> Iterator[None]:
    """See to it that no Ctrl-C is lost: what Python cannot raise (in finalisers) is raised soon after."""
    before = sys.unraisablehook

    def hook(found: sys.UnraisableHookArgs, /) -> None:
        if isinstance(found.exc_value, KeyboardInterrupt):
            interrupt_later()
        else:
            before(found)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def load() -> Callable[[list[str] | None], None]:
    """Make the standard streams ready and return the command line.

    Raises:
        SystemExit: Out of memory.
    """
    open_streams()
    if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
        # OpenBLAS, in NumPy, takes memory for each thread, and sends this process a SIGINT where it cannot.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        from mimamba_edge.cli.app import main
    except (ImportError, MemoryError, OSError, RuntimeError, SystemError) as error:
        if not memory_ended(error):
            raise
        sys.stderr.write(OUT_OF_MEMORY + "\n")
        sys.exit(2)
    return main
