"""BrainFlow: its boards, its sessions, its log."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.resources
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.console import printable
from mimamba_edge.errors import ConfigError, DependencyError, SourceError, pip_install
from mimamba_edge.naming import close_names, listed
from mimamba_edge.signal.devices import COUNTINGS

__all__ = ["Board", "Driver", "load_driver"]

_LAST_LINES = 3
_PLAYS = "playback_file"
_GUI = b"%OpenBCI"
"""First bytes of the text files of the OpenBCI GUI, from version 4 on."""
_BOARDS = "https://brainflow.readthedocs.io/en/stable/SupportedBoards.html"
_BUILD = (
    "build it: git clone --branch 5.22.2 https://github.com/brainflow-dev/brainflow && cd brainflow && "
    "python3 tools/build.py --ble && pip install ./python_package"
)


@dataclass(frozen=True)
class Board:
    """A board and how it is reached.

    Attributes:
        name: As the user names it.
        kind: Whose rows and numbers it has: itself, or the board that was recorded or is relayed.
        ident: Its number.
        parameters: BrainFlow's input parameters.
        ch_names: Channels.
        sfreq: Nominal rate in Hz.
        rows: Row of each channel in BrainFlow's data.
        timestamp_row: Row of Unix seconds.
        number_row: Row of the packet's number.
        n_samples: Samples it will give, if it plays a file.
    """

    name: str
    kind: str
    ident: int
    parameters: Any
    ch_names: tuple[str, ...]
    sfreq: float
    rows: tuple[int, ...]
    timestamp_row: int
    number_row: int
    n_samples: int | None


def load_driver() -> Driver:
    """Return BrainFlow.

    Raises:
        DependencyError: It or its library is missing.
    """
    try:
        shim: Any = importlib.import_module("brainflow.board_shim")
        if hasattr(shim, "files"):
            # It asks for the files of a module, which Python before 3.12 denies, and then for
            # pkg_resources, which setuptools 82 has no longer.
            shim.files = lambda _: importlib.resources.files("brainflow")
        shim.BoardControllerDLL.get_instance()
    except ModuleNotFoundError as error:
        if error.name == "pkg_resources":
            raise DependencyError(
                "this version of BrainFlow needs pkg_resources, which newer setuptools lack",
                do="pip install --upgrade brainflow, or pip install 'setuptools<82'",
            ) from error
        raise DependencyError("this source needs BrainFlow", do=pip_install("live")) from error
    except OSError as error:
        raise DependencyError(
            "BrainFlow's library cannot be loaded: its wheels have none for this machine",
            got=printable(error),
            expected="libBoardController.so of this machine's architecture",
            do=_BUILD,
        ) from error
    return Driver(shim)


class _Log:
    """BrainFlow's log, kept off stdout and stderr. There is one in a process."""

    def __init__(self, shim: Any) -> None:
        self._shim, self._lock = shim, threading.Lock()
        handle, path = tempfile.mkstemp(prefix="mimamba-brainflow-")
        shim.BoardShim.disable_board_logger()
        shim.BoardShim.set_log_file(path)
        # BrainFlow has it open; without a name it is gone with the process, whatever ends that.
        Path(path).unlink()
        self._file = os.fdopen(handle, "r+b")

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Let BrainFlow write errors and warnings; nobody else connects meanwhile."""
        with self._lock:
            self._file.truncate(0)
            self._shim.BoardShim.set_log_level(self._shim.LogLevels.LEVEL_WARN.value)
            try:
                yield
            finally:
                self._shim.BoardShim.disable_board_logger()

    def last(self) -> str:
        """Return the last lines that were written while listening."""
        self._file.seek(0)
        lines = self._file.read().replace(b"\0", b"").decode("utf-8", "replace").splitlines()
        return "; ".join(printable(line.split("] ", 2)[-1], limit=300) for line in lines[-_LAST_LINES:])


class Driver:
    """What is needed of BrainFlow.

    Args:
        shim: Its module ``board_shim``.
    """

    _log: _Log | None = None

    def __init__(self, shim: Any) -> None:
        self.shim, self._error = shim, shim.BrainFlowError
        if Driver._log is None:
            Driver._log = _Log(shim)
        self._listen = Driver._log
        self.version = importlib.metadata.version("brainflow")
        self._idents = {
            ident.name.lower().replace("_board", ""): int(ident)
            for ident in shim.BoardIds
            if ident.name != "NO_BOARD"
        }

    def board(self, name: str, parameters: Mapping[str, str]) -> Board:
        """Return a board by its name.

        Raises:
            ConfigError: The board or a parameter is not known, or the board has no EEG.
        """
        plain, ident = self._ident(name)
        values = self.shim.BrainFlowInputParams()
        for key, value in parameters.items():
            self._set(values, key, value)
        kind, described = plain, ident
        if plain in (_PLAYS, "streaming"):
            if "master_board" not in parameters:
                raise ConfigError(
                    f"brainflow:{plain} does not say which board's data it gives",
                    do=f"add the board: brainflow:{plain}?master_board=muse_2&…",
                )
            kind, described = next(one for one in self._idents.items() if one[1] == values.master_board)
        try:
            what = self.shim.BoardShim.get_board_descr(described)
        except self._error as error:
            raise ConfigError(f"BrainFlow does not describe {kind}", got=str(error)) from error
        rows = list(what.get("eeg_channels", ()))
        if not rows or "timestamp_channel" not in what:
            raise ConfigError(
                f"the board {kind} has no EEG channels",
                expected="a board with EEG channels",
            )
        names = [one.strip() for one in what.get("eeg_names", "").split(",") if one.strip()]
        if len(names) != len(rows):
            names = [f"EEG{k}" for k in range(1, len(rows) + 1)]
        if kind.startswith("muse"):
            others = what.get("other_channels", [])
            rows += others
            names += ["Right AUX"] if len(others) == 1 else [f"AUX{k}" for k in range(1, len(others) + 1)]
        return Board(
            name=plain,
            kind=kind,
            ident=ident,
            parameters=values,
            ch_names=tuple(names),
            sfreq=float(what["sampling_rate"]),
            rows=tuple(rows),
            timestamp_row=int(what["timestamp_channel"]),
            number_row=int(what["package_num_channel"]),
            n_samples=_count_lines(values.file, int(what["num_rows"])) if plain == _PLAYS else None,
        )

    def _ident(self, name: str) -> tuple[str, int]:
        plain = name.lower().replace("_board", "")
        if plain not in self._idents:
            near = close_names(plain, self._idents)
            # All names are more than an error holds: those that tell losses stand first.
            names = sorted(self._idents, key=lambda one: (one not in COUNTINGS, one))
            raise ConfigError(
                "unknown BrainFlow board",
                got=printable(name),
                expected=listed(names, limit=400) if near is None else None,
                do=near or f"take one of these names, or one from {_BOARDS}",
            )
        return plain, self._idents[plain]

    def _set(self, values: Any, key: str, value: str) -> None:
        if key not in vars(values):
            raise ConfigError(
                "unknown BrainFlow parameter",
                got=printable(key),
                expected=", ".join(sorted(vars(values))),
                do=close_names(key, vars(values)),
            )
        if key == "master_board":
            values.master_board = self._ident(value)[1]
        elif isinstance(getattr(values, key), int):
            if not value.isdecimal():
                raise ConfigError(
                    f"{key} of the board is not a number", got=printable(value), expected="digits"
                )
            setattr(values, key, int(value))
        else:
            setattr(values, key, value)

    def prepare(self, board: Board) -> Any:
        """Connect a board and return its session.

        Raises:
            SourceError: It is not there or refuses.
        """
        with self._listen.listening():
            try:
                session = self.shim.BoardShim(board.ident, board.parameters)
                session.prepare_session()
                if board.n_samples is not None:
                    # As recorded; else losses of the recording would be hidden by times of now.
                    session.config_board("old_timestamps")
            except self._error as error:
                raise self._refused(board.name, "cannot be connected", error) from error
        return session

    def start(self, session: Any, ring: int) -> None:
        """Let samples come, into a buffer of ``ring`` of them.

        Raises:
            SourceError: The board refuses.
        """
        with self._listen.listening():
            try:
                session.start_stream(ring)
            except self._error as error:
                raise self._refused("the board", "does not start", error) from error

    def _refused(self, name: str, what: str, error: Exception) -> SourceError:
        said = self._listen.last()
        return SourceError(
            f"{name} {what}",
            got=printable(error) + (f"; BrainFlow says: {said}" if said else ""),
            do="check that the device is on, near and not in use elsewhere, and check its parameters: "
            "https://brainflow.readthedocs.io/en/stable/SupportedBoards.html",
        )

    def take(self, session: Any) -> NDArray[np.float64] | None:
        """Return the samples that are there, ``(rows, n)``, or ``None`` if the session is no more."""
        try:
            data: NDArray[np.float64] = session.get_board_data()
        except self._error:
            return None
        return data

    def release(self, session: Any) -> None:
        """Let go of a board; it may take seconds."""
        with contextlib.suppress(self._error):
            session.release_session()


def _count_lines(path: str, n_rows: int) -> int:
    """Return how many samples BrainFlow will read from a file: lines with a value for each row.

    BrainFlow takes what is not a number for the value of the line before (playback_file_board.cpp), so a file
    with such a cell is refused here.

    Raises:
        SourceError: There is no such file, no such line, or it is of another format.
    """
    try:
        if not Path(path).is_file() and Path(path).exists():
            raise OSError(0, "not a regular file")
        with Path(path).open("rb") as file:
            n = 0
            for number, line in enumerate(file, start=1):
                if number == 1 and line.startswith(_GUI):
                    raise SourceError(
                        "BrainFlow cannot play the text files of the OpenBCI GUI",
                        got=printable(path),
                        expected="a file of BrainFlow: the GUI writes one beside it, BrainFlow-RAW_….csv",
                        do="use that one: &file=BrainFlow-RAW_….csv",
                    )
                cells = line.split(b"\t" if b"\t" in line else b",")
                if len(cells) == n_rows:
                    _check_numbers(path, number, cells)
                    n += 1
    except OSError as error:
        raise SourceError(
            "the file to play cannot be read", got=printable(error), do="name the file: &file=recording.csv"
        ) from error
    if not n:
        raise SourceError(
            "the file to play holds no samples of that board",
            got=printable(path),
            expected=f"lines of {n_rows} values, as BrainFlow's file streamer writes them",
            do="check master_board",
        )
    return n


def _check_numbers(path: str, number: int, cells: list[bytes]) -> None:
    for cell in cells:
        try:
            float(cell)
        except ValueError:
            raise SourceError(
                f"the file to play is not in BrainFlow's format: line {number} of {printable(path)}",
                got=printable(cell.decode("utf-8", "replace").strip()),
                expected="a number in every column",
                do="use a file that BrainFlow's file streamer wrote",
            ) from None
