"""Live signal from boards, through BrainFlow.

BrainFlow has no call that waits for samples: its ring buffer is asked every 4 ms, so that a sample waits 2 ms
on average. What a device adds is its own: a Muse sends 12 samples at a time. All calls of a process share one
lock in BrainFlow, so that while one board is being connected (seconds, with Bluetooth) the others are not
read; their samples wait in their ring buffers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.errors import SourceError
from mimamba_edge.signal.devices import COUNTINGS, rails_uv
from mimamba_edge.signal.packet_counter import Counter
from mimamba_edge.stream.sources.base import HEARTBEAT_S, PACKET_COUNTER, Chunk, Notice
from mimamba_edge.stream.sources.boards import Board, Driver, load_driver
from mimamba_edge.stream.sources.spec import read_rate

__all__ = ["BrainFlowSource", "open_spec"]

_POLL_S = 0.004
SILENT_S = 5.0
"""Without a sample for so long, a device counts as gone: BrainFlow does not tell."""
BACK_OFF_S = (0.5, 30.0)
_RING_S = 60


def open_spec(rest: str, parameters: Mapping[str, str]) -> BrainFlowSource:
    """Open ``brainflow:BOARD?KEY=VALUE&…``.

    Args:
        rest: The board, as in BrainFlow's ``BoardIds`` without ``_BOARD``, in any case.
        parameters: Fields of BrainFlow's ``BrainFlowInputParams``; ``master_board`` is a board's name;
            ``sfreq`` overrules BrainFlow's rate.

    Raises:
        ConfigError: The board or a parameter is not known.
        DependencyError: BrainFlow or its library is missing.
        SourceError: The board is not there or refuses.
    """
    parameters = dict(parameters)
    sfreq = read_rate(parameters)
    return BrainFlowSource(load_driver(), rest, parameters, sfreq=sfreq)


class BrainFlowSource:
    """Reads one board; when it falls silent, connects it again.

    Args:
        driver: BrainFlow.
        board: Name of the board.
        parameters: How it is reached.
        sfreq: Its rate in Hz, if BrainFlow's is wrong.

    Raises:
        ConfigError: The board or a parameter is not known.
        SourceError: The board is not there or refuses.
    """

    live = True

    def __init__(
        self, driver: Driver, board: str, parameters: Mapping[str, str], *, sfreq: float | None = None
    ) -> None:
        self._driver = driver
        self._board: Board = driver.board(board, parameters)
        self.name = f"brainflow:{self._board.name}"
        self.ch_names = self._board.ch_names
        self.sfreq = self._board.sfreq if sfreq is None else sfreq
        self.unit = "uV"
        self.rails_uv = rails_uv(self._board.kind)
        counting = COUNTINGS.get(self._board.kind)
        self._counter = None if counting is None else Counter(counting, self.sfreq)
        self.device: dict[str, Any] = {
            "driver": f"BrainFlow {driver.version}",
            "board": self._board.name,
            PACKET_COUNTER: counting is not None,
        }
        self._ring = int(_RING_S * self.sfreq)
        self._closed = threading.Event()
        self._reading = False
        self._given = 0
        self._left = self._board.n_samples
        self.session: Any = driver.prepare(self._board)

    def chunks(self) -> Iterator[Chunk]:
        """Yield samples as they come; a board that plays a file ends with it.

        Raises:
            SourceError: The board does not start.
        """
        if self._closed.is_set():
            return
        self._reading = True
        seeker: _Seeker | None = None
        notices: list[Notice] = []
        try:
            self._driver.start(self.session, self._ring)
            heard = told = time.monotonic()
            while not self._closed.wait(_POLL_S) and (self._left is None or self._left > 0):
                if seeker is not None:
                    if (found := seeker.found(HEARTBEAT_S / 2)) is None:
                        yield self._nothing()
                        continue
                    self.session, seeker = found, None
                    notices.append(self._notice("reconnected", f"{self.name} is back"))
                    heard = told = time.monotonic()
                data = self._driver.take(self.session)
                now = time.monotonic()
                if data is not None and data.shape[1]:
                    heard = told = now
                    yield self._chunk(data, notices)
                    notices = []
                # A file that is played may have a pause of any length.
                elif data is None or (self._left is None and now - heard > SILENT_S):
                    why = "BrainFlow lost the session" if data is None else f"no sample for {SILENT_S:g} s"
                    yield self._nothing([*notices, self._notice("disconnected", f"{self.name}: {why}")])
                    notices = []
                    seeker = _Seeker(self._driver, self._board, self.session, self._ring, self._closed)
                    self.session = None
                    if self._counter is not None:
                        self._counter.restart()
                elif now - told >= HEARTBEAT_S:
                    told = now
                    yield self._nothing(notices)
                    notices = []
        finally:
            self._closed.set()
            if seeker is not None:
                seeker.give_up()
            self._release()

    def close(self) -> None:
        """End :meth:`chunks` and let go of the board."""
        self._closed.set()
        if not self._reading:
            self._release()

    def _release(self) -> None:
        session, self.session = self.session, None
        if session is not None:
            self._driver.release(session)

    def _chunk(self, data: NDArray[np.float64], notices: list[Notice]) -> Chunk:
        arrived, wall = time.perf_counter(), time.time()
        found = list(notices)
        if data.shape[1] >= self._ring:
            found.append(
                self._notice("overrun", "BrainFlow's ring buffer was full: the program was too slow")
            )
        if self._left is not None:
            self._left -= data.shape[1]
        samples = np.ascontiguousarray(data[list(self._board.rows)].T)
        timestamps = data[self._board.timestamp_row].copy()
        if self._counter is not None:
            samples, timestamps, more = self._counter.push(samples, timestamps, data[self._board.number_row])
            found += [Notice(e.kind, "by the packet counter", e.n, e.sample) for e in more]
        self._given += len(samples)
        return Chunk(samples, timestamps, arrived, wall, tuple(found))

    def _notice(self, kind: str, text: str) -> Notice:
        return Notice(kind, text, sample=self._given)

    def _nothing(self, notices: list[Notice] | None = None) -> Chunk:
        return Chunk(np.empty((0, len(self.ch_names))), np.empty(0), notices=tuple(notices or ()))


class _Seeker:
    """Releases a session and prepares it again, as often as it takes, in a thread: both may take seconds."""

    def __init__(
        self, driver: Driver, board: Board, session: Any, ring: int, closed: threading.Event
    ) -> None:
        self._driver, self._board, self._old, self._ring, self._closed = driver, board, session, ring, closed
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._found: Any = None
        threading.Thread(target=self._seek, name="brainflow-reconnect", daemon=True).start()

    def found(self, timeout_s: float) -> Any:
        """Wait a while; return the new session, which is then the caller's, or ``None``."""
        self._done.wait(timeout_s)
        with self._lock:
            found, self._found = self._found, None
        return found

    def give_up(self) -> None:
        """Let go of a session that nobody fetched; ``closed`` is set."""
        if (found := self.found(0.0)) is not None:
            self._driver.release(found)

    def _seek(self) -> None:
        self._driver.release(self._old)
        self._old = None
        wait_s, longest = BACK_OFF_S
        while not self._closed.wait(wait_s):
            wait_s = min(2 * wait_s, longest)
            try:
                session = self._driver.prepare(self._board)
            except SourceError:
                continue
            try:
                self._driver.start(session, self._ring)
            except SourceError:
                self._driver.release(session)
                continue
            with self._lock:
                if not self._closed.is_set():
                    self._found, session = session, None
            if session is not None:
                self._driver.release(session)
            self._done.set()
            return
