"""Windows of recordings: the trials of a data set, or everything a stream would decide on."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.console import printable
from mimamba_edge.contract import Contract, Scaling
from mimamba_edge.data.cutting import LEAST_VALID, cut_recording, preprocessor_for_recording
from mimamba_edge.data.dataset import Dataset, open_dataset
from mimamba_edge.data.labels import Trial, label_tables
from mimamba_edge.data.recording import (
    KINDS,
    Recording,
    file_of,
    is_recording,
    read_recording,
)
from mimamba_edge.data.session_format import SIGNAL, is_session
from mimamba_edge.data.window_store import WindowStore, window_store
from mimamba_edge.errors import DataError
from mimamba_edge.signal.preprocessor import Window
from mimamba_edge.signal.quality import FLAT

__all__ = [
    "LEAST_VALID",
    "LeftOut",
    "Windows",
    "preprocessor_for_recording",
    "recordings_of",
    "sliding_windows",
    "stream_windows",
    "trial_windows",
]

_TOLD = 10
"""So many trials are named one by one."""


@dataclass(frozen=True)
class LeftOut:
    """A trial that was left out.

    Attributes:
        trial: Its row of the table.
        reason: What most of its windows without decision lack, see :class:`Window`.
        ch_names: Channels at fault; empty where it is none in particular.
        n_valid: Valid windows.
        n_windows: Windows that it would have had.
    """

    trial: Trial
    reason: str
    ch_names: tuple[str, ...]
    n_valid: int
    n_windows: int

    def __str__(self) -> str:
        trial, at = self.trial, f" ({', '.join(map(printable, self.ch_names))})" if self.ch_names else ""
        return (
            f"{printable(trial.file)}, trial {trial.start_s:g} to {trial.stop_s:g} s "
            f"({printable(trial.label)}): {self.n_valid} of {self.n_windows} windows valid; {self.reason}{at}"
        )


_MORE = "record more trials, or check electrode contact and time stamps"
_VOLTS = (
    "flat is less than 1 microvolt from peak to peak: `mimamba-edge data check` tells whether the values are "
    "volts; multiply those by 1e6 (docs/recordings.md)"
)


@dataclass(frozen=True)
class Windows:
    """The valid windows of a data set's trials.

    Attributes:
        data: Filtered and resampled, not scaled: microvolts ``(n, c, l)`` float64.
        labels: Class index of each window ``(n,)``.
        trial_of: Index into ``trials`` of each window ``(n,)``.
        class_names: Names of the classes.
        trials: The trials that gave windows, in the order of the table.
        dropped: The other trials: fewer than :data:`LEAST_VALID` of their windows are valid.
        without: Number of windows of ``trials`` that are not valid and stand nowhere here, by reason.
        lead_s: Seconds that a recording must run before a trial: until the filters have settled, and a
            window; of the recording that needs longest.
    """

    data: NDArray[np.float64]
    labels: NDArray[np.int64]
    trial_of: NDArray[np.int64]
    class_names: tuple[str, ...]
    trials: tuple[Trial, ...]
    dropped: tuple[LeftOut, ...] = ()
    without: dict[str, int] = field(default_factory=dict)
    lead_s: float = 0.0

    @property
    def left_out(self) -> dict[str, int]:
        """Number of trials left out, by reason."""
        return dict(sorted(Counter(one.reason for one in self.dropped).items()))

    def notes(self) -> list[str]:
        """Return what a person has to know of what was left out; nothing where nothing was."""
        found = _notes_on(self.dropped, self.lead_s)
        if self.without:
            n = sum(self.without.values())
            found.append(f"{n} windows left out of trials that are used: {_counted(self.without)}")
        return found


def _counted(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {reason}" for reason, n in sorted(reasons.items()))


def _notes_on(dropped: Sequence[LeftOut], lead_s: float) -> list[str]:
    if not dropped:
        return []
    reasons = Counter(one.reason for one in dropped)
    found = [
        f"{len(dropped)} trials left out: {_counted(reasons)}",
        *(f"  {one}" for one in dropped[:_TOLD]),
    ]
    if len(dropped) > _TOLD:
        found.append(f"  and {len(dropped) - _TOLD} more")
    if "settling" in reasons:
        found.append(
            f"start a recording {lead_s:.1f} s before its first trial, and wait as long after a gap: the "
            "filters must settle, and the first window must fill"
        )
    return found


def stream_windows(recording: Recording, contract: Contract) -> list[Window]:
    """Return the windows that a live stream of the recording gives, to the last bit."""
    return preprocessor_for_recording(recording, contract).push(recording.samples, recording.timestamps)


def trial_windows(
    dataset: Dataset,
    contract: Contract,
    *,
    hop: int | None = None,
    done: Callable[[], None] = lambda: None,
) -> Windows:
    """Cut the trials of a data set out of the filtered stream.

    A trial gives the valid ones of the windows that fit into it, from its start, every ``hop``. It is left
    out where fewer than :data:`LEAST_VALID` of them are valid. Training, scores out of fold and the
    judgement of lower precisions all take their trials from here.

    Args:
        dataset: Its trials.
        contract: Signal path and class names; its scaling is not applied.
        hop: Samples between windows of one trial, at the contract's rate; by default a window's length, so
            that they do not overlap.
        done: Called after each recording.

    Raises:
        DataError: A table or recording cannot be used, a trial is shorter than the window or outside its
            recording, or a class is left without trials.
        SignalError: A recording lacks a channel, or its rate does not fit.
    """
    contract = dataclasses.replace(contract, scaling=Scaling("none"))
    trials = dataset.trials
    unknown = sorted({t.label for t in trials} - set(contract.class_names))
    if unknown:
        raise DataError(
            "the labels do not match the model's classes", got=unknown, expected=contract.class_names
        )
    with window_store(dataset, contract, hop or contract.n_times) as store:
        for file in dataset.files:
            if file not in store:
                of_file = [t for t in trials if t.file == file]
                recording = dataset.read_channels(file, contract.ch_names)
                store.add(file, cut_recording(recording, contract, of_file, hop or contract.n_times))
            done()
        return _gathered(trials, contract, store)


def _gathered(trials: Sequence[Trial], contract: Contract, store: WindowStore) -> Windows:
    """Put together what a store holds of a data set's trials."""
    of_file: dict[str, list[int]] = {}
    for i, trial in enumerate(trials):
        of_file.setdefault(trial.file, []).append(i)
    found = {i: one for file, at in of_file.items() for i, one in zip(at, store.told(file), strict=True)}
    dropped = tuple(LeftOut(trials[i], *out) for i in range(len(trials)) if (out := found[i].out) is not None)
    lead_s = store.lead_s
    kept = [i for i in range(len(trials)) if found[i].out is None]
    empty = sorted(set(contract.class_names) - {trials[i].label for i in kept})
    if empty:
        raise DataError(
            f"no trial remains of class {', '.join(empty)}",
            got="\n            ".join(_notes_on(dropped, lead_s)) or "none in the table",
            do=_VOLTS if not kept and all(one.reason == FLAT for one in dropped) else _MORE,
        )
    number = {i: k for k, i in enumerate(kept)}
    # In the order of the recordings, which is that of the table but where it goes back to an earlier one.
    owner = np.array(
        [number[i] for at in of_file.values() for i in at if i in number for _ in range(found[i].n)]
    )
    data = store.data()
    if (np.diff(owner) < 0).any():
        order = np.argsort(owner, kind="stable")
        data, owner = data[order], owner[order]
    kept_trials = tuple(trials[i] for i in kept)
    index = {name: k for k, name in enumerate(contract.class_names)}
    without: Counter[str] = Counter()
    for i in kept:
        without.update(found[i].without)
    return Windows(
        data=data,
        labels=np.array([index[kept_trials[t].label] for t in owner], dtype=np.int64),
        trial_of=owner.astype(np.int64),
        class_names=contract.class_names,
        trials=kept_trials,
        dropped=dropped,
        without=dict(sorted(without.items())),
        lead_s=lead_s,
    )


def recordings_of(source: Path) -> list[Path]:
    """Return the recordings a path stands for.

    That is the file or session itself; of a folder those that its table lists (its own ``labels.csv``, or
    those of the folders in it), or where it has none all recordings and sessions in it.

    Raises:
        DataError: There are none, or the table cannot be used.
    """
    source = Path(source)
    if file_of(source).is_file():
        return [source]
    if label_tables(source):
        return [source / file for file in open_dataset(source).files]
    if is_session(source):
        return [source / SIGNAL]
    found = [path for path in sorted(source.glob("*")) if is_recording(path)]
    if not found:
        raise DataError(
            f"no recordings at {source}",
            got="it holds none" if source.is_dir() else "no such file or folder",
            expected=f"{KINDS}; or a folder of such",
        )
    return [path / SIGNAL if path.is_dir() else path for path in found]


def sliding_windows(
    source: Path, contract: Contract, *, hop: int | None = None, limit: int | None = None
) -> NDArray[np.float32]:
    """Return the valid windows of a recording or of a folder, scaled: ``(n, c, l)`` float32.

    Args:
        source: A recording, a data set or a folder of recordings.
        contract: The model's contract.
        hop: Samples between windows; the contract's by default.
        limit: No more than this many, spread evenly over all that there are.

    Raises:
        DataError: There is no valid window, or a recording cannot be used.
        SignalError: A recording lacks a channel, or its rate does not fit.
    """
    if hop is not None:
        contract = dataclasses.replace(contract, hop=hop)
    paths = recordings_of(source)
    windows, left_out, seconds = [], Counter[str](), 0.0
    for path in paths:
        recording = read_recording(path)
        seconds += len(recording.samples) / recording.sfreq
        for window in stream_windows(recording, contract):
            if window.valid:
                windows.append(window.data)
            else:
                left_out[str(window.reason)] += 1
    if not windows:
        reasons = ", ".join(f"{n} {reason}" for reason, n in left_out.most_common())
        raise DataError(
            f"{source} holds no valid window of {contract.window_s:g} s",
            got=f"{seconds:.1f} s in {len(paths)} file(s); windows left out: {reasons or 'none was full'}",
            expected="a recording of several windows, after the time that the filters need to settle",
            do="record longer, or check contact and channels",
        )
    if limit is not None and limit < len(windows):
        windows = [windows[i] for i in np.linspace(0, len(windows) - 1, limit).round().astype(int)]
    return np.stack(windows)
