"""A new model file is taken up without a restart."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mimamba_edge.artifact import Manifest, manifest_path
from mimamba_edge.contract import Contract
from mimamba_edge.errors import ArtifactError, ContractError, MimambaError, RunnerError, shorten
from mimamba_edge.runtime.base import Runner, need_contract

__all__ = ["ModelFile", "Reloader", "check_runner"]

_PATH_FIELDS = (
    *("ch_names", "sfreq", "n_times", "hop", "reference", "unit", "filters", "mains_hz", "resampler"),
    "class_names",
)
"""What streams and sinks were set up for; the rest of a contract may change under way."""

_Signature = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True)
class ModelFile:
    """The file that a runner was made of, its manifest beside it.

    Attributes:
        path: The file.
        reopen: Gives a runner of the file, not yet activated; ``None``: it cannot be opened again.
    """

    path: Path
    reopen: Callable[[], Runner] | None = None


class Reloader:
    """Watches a model's file and has its successor ready.

    Args:
        file: The file, which can be opened again.
        contract: The contract that streams were set up for.
        sha256: Hash of the file that is in use.
        batches: Numbers of windows to warm up with.
        fits: Raises where a contract and hash do not fit the streams for another reason (a profile).
        note: Told for people.

    Attributes:
        reloads: Models taken up.
        refused: Files refused.
        sha256: Hash of the file in use.
    """

    def __init__(
        self,
        file: ModelFile,
        *,
        contract: Contract,
        sha256: str,
        batches: tuple[int, ...] = (1,),
        fits: Callable[[Contract, str], object] = lambda contract, sha256: None,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        assert file.reopen is not None
        self._path, self._reopen, self._contract = file.path, file.reopen, contract
        self._batches, self._fits, self._note = batches, fits, note
        self._lock = threading.Lock()
        self._next: tuple[Runner, str] | None = None
        self._checked = self._last = self._signature()
        self.sha256 = sha256
        self.reloads = self.refused = 0

    def look(self) -> None:
        """Look at the file; called about once a second, never by the thread that runs the model.

        A file is judged once it stayed as it is from one look to the next.
        """
        now = self._signature()
        steady, self._last = now == self._last, now
        if not steady or now == self._checked:
            return
        self._checked = now
        try:
            self._load(now)
        except Exception as error:  # whatever a file does to its readers, a running stream outlives it
            self.refused += 1
            known = isinstance(error, (MimambaError, OSError))
            why = str(error) if known else f"{type(error).__name__}: {shorten(str(error), 500)}"
            self._note(f"{self._path} has changed and was refused; the old model stays in use: {why}")

    def take(self) -> Runner | None:
        """Return the activated runner of a new file, once; ``None`` where there is none."""
        if self._next is None:
            return None
        with self._lock:
            runner, self.sha256 = self._next
            self._next = None
        self.reloads += 1
        self._note(f"{self._path} has changed: decisions are now those of sha256 {self.sha256[:12]}")
        return runner

    def close(self) -> None:
        """Release a runner that nobody took."""
        with self._lock:
            if self._next is not None:
                self._next[0].deactivate()
                self._next = None

    def _signature(self) -> _Signature:
        return tuple(_facts(path) for path in (self._path, manifest_path(self._path)))

    def _load(self, seen: _Signature) -> None:
        manifest = Manifest.load(self._path)
        if manifest.sha256 == self.sha256:
            return
        contract = need_contract(manifest.promise, self._path)
        self._check(contract)
        self._fits(contract, manifest.sha256)
        runner = self._reopen()
        try:
            runner.activate()
            self._check(runner.contract)
            check_runner(runner, self._batches)
            if self._signature() != seen:
                raise ArtifactError(
                    f"{self._path} changed while it was loaded", do="wait: the file is checked again"
                )
        except BaseException:
            with contextlib.suppress(Exception):
                runner.deactivate()
            raise
        with self._lock:
            if self._next is not None:
                self._next[0].deactivate()
            self._next = (runner, manifest.sha256)

    def _check(self, contract: Contract) -> None:
        other = [name for name in _PATH_FIELDS if getattr(contract, name) != getattr(self._contract, name)]
        if other:
            raise ContractError(
                "the new model needs a different signal or has different classes",
                got={name: getattr(contract, name) for name in other},
                expected={name: getattr(self._contract, name) for name in other},
                do="stop the stream and start it with the new model",
            )


def check_runner(runner: Runner, batches: tuple[int, ...]) -> None:
    """Run a model on noise, so that it is warm, and see that its answers are numbers.

    Raises:
        RunnerError: They are not, or it cannot run as many windows.
    """
    contract = runner.contract
    noise = np.random.default_rng(0).normal(size=(max(batches), contract.n_chans, contract.n_times))
    for batch in batches:
        if not np.isfinite(runner.logits(noise[:batch].astype(np.float32))).all():
            raise RunnerError(f"{runner.artifact} gave logits that are not finite in a test on noise")


def _facts(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
