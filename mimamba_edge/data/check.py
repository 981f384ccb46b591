"""What is missing, doubled or odd in a data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.data.arrays import odd_spread
from mimamba_edge.data.dataset import Dataset, Fault
from mimamba_edge.data.fingerprint import fingerprint, same_signals
from mimamba_edge.data.labels import Trial
from mimamba_edge.data.recording import Recording
from mimamba_edge.errors import DataError, SignalError

__all__ = ["DatasetCheck", "check_dataset"]

_KINDS = ("damaged", "missing", "doubled", "odd")
_MISSING_SHARE = 0.05


@dataclass(frozen=True)
class DatasetCheck:
    """What was found.

    Attributes:
        faults: In the order: damaged, missing, doubled, odd; those that say the same are one.
        rates: Hz of the recordings, and how many have each.
        seconds: Length of all recordings that could be read.
    """

    faults: tuple[Fault, ...]
    rates: dict[float, int]
    seconds: float


def check_dataset(dataset: Dataset, done: Callable[[], None] = lambda: None) -> DatasetCheck:
    """Read every recording of a data set once, one after the other, and say what is wrong.

    Args:
        dataset: Opened with its damaged files.
        done: Called after each recording.
    """
    faults = [*dataset.faults, *_of_labels(dataset.trials)]
    sketches: dict[str, NDArray[np.uint64]] = {}
    rates, seconds = Counter[float](), 0.0
    layouts: dict[tuple[str, ...], list[str]] = {}
    by_file: dict[str, list[Trial]] = {}
    for trial in dataset.trials:
        by_file.setdefault(trial.file, []).append(trial)
    for file, trials in by_file.items():
        try:
            recording = dataset.read(file)
        except (DataError, SignalError) as error:
            told = [str(part) for part in (error.what, error.got) if part]
            faults.append(Fault("damaged", file, ": ".join(told)))
        else:
            faults += [Fault("odd", file, what) for what in _of_signal(recording, trials)]
            sketches[file] = fingerprint(recording.samples)
            layouts.setdefault(recording.ch_names, []).append(file)
            rates[recording.sfreq] += 1
            seconds += len(recording.samples) / recording.sfreq
        done()
    faults += _of_layouts(layouts, rates) + _doubled(sketches, by_file)
    alike: dict[tuple[str, str], list[str]] = {}
    for fault in sorted(faults, key=lambda fault: _KINDS.index(fault.kind)):
        alike.setdefault((fault.kind, fault.what), []).append(fault.where)
    result = tuple(Fault(kind, _few(where), what, len(where)) for (kind, what), where in alike.items())
    return DatasetCheck(result, dict(sorted(rates.items())), seconds)


def _of_labels(trials: Sequence[Trial]) -> list[Fault]:
    found = []
    people: dict[str, set[str]] = {}
    for trial in trials:
        people.setdefault(trial.label, set()).add(trial.subject)
    everybody = set().union(*people.values())
    if len(people) == 1:
        found.append(Fault("odd", "labels", f"only one class: {next(iter(people))}"))
    for label, who in sorted(people.items()):
        if len(everybody) > 1 and len(who) == 1:
            found.append(Fault("odd", "labels", f"{label} comes from {next(iter(who))} alone"))
    return found


def _of_signal(recording: Recording, trials: Sequence[Trial]) -> list[str]:
    samples, names = recording.samples, recording.ch_names
    found = []
    absent = np.isnan(samples).mean(axis=0)
    if lost := [name for name, share in zip(names, absent, strict=True) if share > _MISSING_SHARE]:
        found.append(f"up to {absent.max():.0%} of the samples are missing, in {_few(lost)}")
    with np.errstate(invalid="ignore"):
        flat = [
            name
            for name, column in zip(names, samples.T, strict=True)
            if np.isfinite(column).any() and np.nanmax(column) == np.nanmin(column)
        ]
    if flat:
        found.append(f"flat: {_few(flat)}")
    spread = odd_spread(samples)
    if spread is not None and len(flat) < len(names):
        volts = spread > 0 and odd_spread(samples * 1e6) is None
        do = "; like volts: multiply them by 1e6 (docs/recordings.md)" if volts else ""
        found.append(f"the middle half of the values spreads over {spread:.3g}: are they microvolts?{do}")
    end_s = max(recording.duration_s, len(samples) / recording.sfreq) + 1
    if outside := [trial for trial in trials if trial.stop_s > end_s]:
        found.append(f"{len(outside)} trials end after the recording, which has {recording.duration_s:.1f} s")
    return found


def _of_layouts(layouts: dict[tuple[str, ...], list[str]], rates: Counter[float]) -> list[Fault]:
    found = []
    if len(layouts) > 1:
        common = set.intersection(*map(set, layouts))
        usual = max(layouts, key=lambda names: len(layouts[names]))
        for names, files in layouts.items():
            if names != usual:
                what = _other_channels(names, usual, [name for name in usual if name in common])
                found += [Fault("odd", file, what) for file in files]
    if len(rates) > 1:
        told = ", ".join(f"{n} of {hz:g} Hz" for hz, n in sorted(rates.items()))
        found.append(Fault("odd", "recordings", f"different rates: {told}"))
    return found


def _other_channels(names: Sequence[str], usual: Sequence[str], common: Sequence[str]) -> str:
    lacks = [name for name in usual if name not in names]
    more = [name for name in names if name not in usual]
    told = [f"lacks {_few(lacks)}"] if lacks else []
    told += [f"has {_few(more)} besides"] if more else []
    told += [] if told else ["the same in another order"]
    told += [f"all have {_few(common)}" if common else "none is in all"]
    return f"other channels than most: {'; '.join(told)}"


def _doubled(sketches: dict[str, NDArray[np.uint64]], by_file: dict[str, list[Trial]]) -> list[Fault]:
    """Return whose recordings are copies; those of the same two people or sessions in one line."""
    groups: dict[tuple[str, str], list[tuple[str, str, float]]] = {}
    for (one, two), share in same_signals(sketches).items():
        above = one.rpartition("/")[0] or one, two.rpartition("/")[0] or two
        groups.setdefault(above if above[0] != above[1] else (one, two), []).append((one, two, share))
    found = []
    for (one, two), pairs in groups.items():
        share = min(share for *_, share in pairs)
        what = f"the same signal as {one}: {share:.0%} of the blocks compared"
        if len(pairs) > 1:
            what = (
                f"{len(pairs)} recordings hold signals of {one}: {share:.0%} or more of the blocks compared"
            )
        people = {by_file[file][0].subject for pair in pairs for file in pair[:2]}
        labels = any({t.label for t in by_file[a]} != {t.label for t in by_file[b]} for a, b, _ in pairs)
        what += "; under two people's names" if len(people) > 1 else ""
        found.append(Fault("doubled", two, what + ("; with other labels" if labels else "")))
    return found


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:4])
    return shown + (f" and {len(names) - 4} more" if len(names) > 4 else "")
