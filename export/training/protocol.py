"""Splits that keep whole groups together, so that no trial, run, session or subject stands on two sides.

Windows of one trial overlap in everything that is not emotion; a random split of windows therefore
measures memory (a survey finds accuracy inflated by up to 46 %). Every protocol here moves whole groups,
but for ``leaky-window``, which is that random split: there to show what it adds.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.data.labels import Trial
from mimamba_edge.data.windows import Windows
from mimamba_edge.errors import ConfigError, DataError
from mimamba_edge.files import sha256_bytes
from mimamba_edge.naming import natural_order

__all__ = [
    "EXCLUDES",
    "LEAKY",
    "LEAKY_WARNING",
    "PROTOCOLS",
    "STIMULUS",
    "Fold",
    "check_protocol",
    "excluded",
    "fold_mark",
    "group_names",
    "make_folds",
    "split",
]

PROTOCOLS = {
    "within-session": "blocks of neighbouring trials of one session are held out in turn",
    "leave-one-run-out": "each run is held out in turn",
    "cross-session": "each session is held out in turn",
    "cross-subject": "each subject is held out in turn",
}
"""From fine to coarse."""
STIMULUS = "cross-stimulus"
"""Joined to one of :data:`PROTOCOLS` by ``+``: no stimulus of the test part was trained on either."""
LEAKY = "leaky-window"
LEAKY_WARNING = (
    "leaky-window puts windows of one trial on both sides of the split: its scores measure memory of trials, "
    "not recognition, and must not be quoted as accuracy"
)
EXCLUDES = {
    LEAKY: (),
    "within-session": ("trial",),
    "leave-one-run-out": ("trial", "order", "run"),
    "cross-session": ("trial", "order", "run", "session"),
    "cross-subject": ("trial", "order", "run", "session", "subject"),
}
"""What a tested window cannot be recognised by. ``order``: the place in a session, by drift; within a
session the edges of a block stand beside trained trials."""
_BLOCKS = 5
_STIMULUS_PARTS = 5
_LEAKY_PARTS = 5


@dataclass(frozen=True)
class Fold:
    """Indices of trials: disjoint, and no group in two of them.

    Attributes:
        name: The group that is tested.
        validation_name: The group that stops the training.
        train: Trials that are fitted.
        validation: Trials that choose the epoch.
        test: Trials that are scored, once.
    """

    name: str
    validation_name: str
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def check_protocol(protocol: str) -> tuple[str, bool]:
    """Return the name of a protocol without ``+cross-stimulus``, and whether that was there.

    Raises:
        ConfigError: Unknown protocol.
    """
    base, plus, more = protocol.partition("+")
    if base in PROTOCOLS and (not plus or more == STIMULUS):
        return base, bool(plus)
    if protocol == LEAKY:
        return LEAKY, False
    raise ConfigError(
        f"unknown protocol {protocol!r}",
        expected=f"{', '.join(PROTOCOLS)}, each also with +{STIMULUS}; or {LEAKY}, which measures memory",
    )


def excluded(protocol: str) -> tuple[str, ...]:
    """Return what a tested window cannot be recognised by under a protocol: see :data:`EXCLUDES`."""
    base, stimuli = check_protocol(protocol)
    return (*EXCLUDES[base], *(("stimulus",) if stimuli else ()))


def split(windows: Windows, protocol: str) -> tuple[Windows, list[Fold]]:
    """Return the windows with the trials that folds count in, and the folds.

    These are the trials themselves; under :data:`LEAKY` each window counts as a trial of its own.

    Raises:
        ConfigError: See :func:`make_folds`.
        DataError: See there.
    """
    if protocol == LEAKY:
        windows = dataclasses.replace(
            windows,
            trials=tuple(windows.trials[i] for i in windows.trial_of),
            trial_of=np.arange(len(windows.trial_of)),
        )
    return windows, make_folds(windows.trials, protocol)


def fold_mark(trials: Sequence[Trial], fold: Fold) -> str:
    """Return the SHA-256 that tells which trials a fold fitted, validated and tested."""
    rows = [
        f"{side},{trials[i].file},{trials[i].start_s:.6f},{int(i)}"
        for side in ("train", "validation", "test")
        for i in getattr(fold, side)
    ]
    return sha256_bytes("\n".join(rows).encode())


def make_folds(trials: Sequence[Trial], protocol: str) -> list[Fold]:
    """Split trials by a protocol; the group after the tested one, in order, is the validation group.

    With ``+cross-stimulus`` a fold tests the trials of one group that show one fifth of the stimuli, and
    validates on those of another group that show another fifth. No trial of either group, and no trial that
    shows any of these stimuli, is trained on.

    Args:
        trials: All trials, in the order of the label table.
        protocol: A key of :data:`PROTOCOLS`, alone or followed by ``+cross-stimulus``, or :data:`LEAKY`.

    Raises:
        ConfigError: Unknown protocol.
        DataError: Fewer than three groups (one each to train, validate and test), a training part without
            one of the classes, or trials that share samples on two sides of a fold.
    """
    base, stimuli = check_protocol(protocol)
    groups = group_names(trials, base)
    names = list(dict.fromkeys(groups))
    if len(names) < 3:
        raise DataError(
            f"the protocol {protocol} needs at least 3 groups: one each for training, validation and test",
            got=f"{len(names)}: {', '.join(names)}",
            do=_advice("record more", trials, protocol),
        )
    of_group = np.array([names.index(g) for g in groups])
    parts = _stimulus_parts(trials) if stimuli else np.zeros(len(trials), dtype=np.int64)
    labels = np.array([t.label for t in trials])
    n_parts = int(parts.max()) + 1
    folds = []
    for i, p in ((i, p) for i in range(len(names)) for p in range(n_parts)):
        test = np.flatnonzero((of_group == i) & (parts == p))
        if not len(test):
            continue
        j, q = _validation(of_group, parts, i, p)
        train = (of_group != i) & (of_group != j)
        if stimuli:
            train &= (parts != p) & (parts != q)
        shown = [f", stimuli {k + 1}/{n_parts}" if stimuli else "" for k in (p, q)]
        fold = Fold(
            names[i] + shown[0],
            names[j] + shown[1],
            np.flatnonzero(train),
            np.flatnonzero((of_group == j) & (parts == q)),
            test,
        )
        absent = sorted(set(labels.tolist()) - set(labels[fold.train].tolist()))
        if absent:
            raise DataError(
                f"the fold that tests {fold.name} has no training trial of {', '.join(absent)}",
                expected="every class in at least three groups",
                do=_advice("record the missing classes in more groups", trials, protocol),
            )
        folds.append(fold)
    if base != LEAKY:
        _check_apart(trials, folds)
    return folds


def _validation(of_group: NDArray[np.int64], parts: NDArray[np.int64], i: int, p: int) -> tuple[int, int]:
    """Return the next group, and with held-out stimuli the next part of these that it shows."""
    n_groups, n_parts = int(of_group.max()) + 1, int(parts.max()) + 1
    for j in ((i + step) % n_groups for step in range(1, n_groups)):
        for q in ((p + step) % n_parts for step in range(min(1, n_parts - 1), n_parts)):
            if ((of_group == j) & (parts == q)).any():
                return j, q
    raise DataError(
        "no other group shows stimuli to validate on",
        expected="groups that share some of their stimuli, or several stimuli in each group",
        do=f"choose a protocol without +{STIMULUS}",
    )


def _stimulus_parts(trials: Sequence[Trial]) -> NDArray[np.int64]:
    """Deal the stimuli, by class, to parts of about equal size; return the part of each trial.

    Raises:
        DataError: A trial names no stimulus, or a class has too few.
    """
    unnamed = sum(not t.stimulus for t in trials)
    if unnamed:
        raise DataError(
            f"+{STIMULUS} needs the stimulus of every trial",
            got=f"{unnamed} of {len(trials)} trials without one",
            do="name in labels.csv what was shown",
        )
    by_class = Counter(label for label, _ in {(t.label, t.stimulus) for t in trials})
    few = [f"{label} by {n}" for label, n in sorted(by_class.items()) if n < 3]
    if few:
        raise DataError(
            f"+{STIMULUS} needs at least 3 stimuli of each class: one each for training, validation and test",
            got=", ".join(few),
            do=f"choose a protocol without +{STIMULUS}; where a stimulus is its class, none can be held out",
        )
    shown: dict[str, Counter[str]] = {}
    for t in trials:
        shown.setdefault(t.stimulus, Counter())[t.label] += 1
    ordered = sorted(shown, key=lambda s: (max(sorted(shown[s]), key=lambda label: shown[s][label]), s))
    part = {stimulus: i % min(_STIMULUS_PARTS, len(ordered)) for i, stimulus in enumerate(ordered)}
    return np.array([part[t.stimulus] for t in trials], dtype=np.int64)


def _advice(first: str, trials: Sequence[Trial], protocol: str) -> str:
    """Return what to do, with the finer protocols that can split these very trials."""
    base, stimuli = check_protocol(protocol)
    works = []
    for finer in list(PROTOCOLS)[: list(PROTOCOLS).index(base)] if base in PROTOCOLS else ():
        name = finer + (f"+{STIMULUS}" if stimuli else "")
        try:
            make_folds(trials, name)
        except DataError:
            continue
        works.append(name)
    return (
        f"{first}, or choose a finer protocol: --protocol {' or '.join(reversed(works))}" if works else first
    )


def group_names(trials: Sequence[Trial], protocol: str) -> list[str]:
    """Return the name of each trial's group.

    Args:
        trials: All trials.
        protocol: A key of :data:`PROTOCOLS`, or :data:`LEAKY`.
    """
    if protocol == LEAKY:
        order = np.random.default_rng(0).permutation(len(trials))
        return [f"random part {int(i) % _LEAKY_PARTS + 1}" for i in order]
    if protocol == "cross-subject":
        return [t.subject for t in trials]
    if protocol == "cross-session":
        return [f"{t.subject}/{t.session}" for t in trials]
    if protocol == "leave-one-run-out":
        return [f"{t.subject}/{t.session}/{t.run}" for t in trials]
    return _blocks(trials)


def _blocks(trials: Sequence[Trial]) -> list[str]:
    """Cut each session, in time order, into blocks of neighbouring trials.

    Neighbours share drift and state; a block keeps them on one side.
    """
    by_session: dict[str, list[int]] = {}
    for i, t in enumerate(trials):
        by_session.setdefault(f"{t.subject}/{t.session}", []).append(i)
    names = [""] * len(trials)
    for session, members in by_session.items():
        members.sort(key=lambda i: (*map(natural_order, (trials[i].run, trials[i].file)), trials[i].start_s))
        for block, part in enumerate(np.array_split(np.array(members), min(_BLOCKS, len(members)))):
            for i in part:
                names[int(i)] = f"{session}/block-{block + 1}"
    return names


def _check_apart(trials: Sequence[Trial], folds: Sequence[Fold]) -> None:
    """Check that no two trials that share samples stand on two sides of a fold.

    Raises:
        DataError: Two do.
    """
    ordered = sorted(range(len(trials)), key=lambda i: (trials[i].file, trials[i].start_s))
    pairs, last = list[tuple[int, int]](), -1
    for i in ordered:
        one, longest = trials[i], trials[last]
        if last >= 0 and one.file == longest.file and one.start_s < longest.stop_s:
            pairs.append((last, i))
            last = i if one.stop_s > longest.stop_s else last
        else:
            last = i
    for fold in folds if pairs else ():
        side = np.zeros(len(trials), dtype=np.int64)
        for number, part in enumerate((fold.train, fold.validation, fold.test), 1):
            side[part] = number
        for i, j in pairs:
            if side[i] and side[j] and side[i] != side[j]:
                times = (f"{trials[k].start_s:g} to {trials[k].stop_s:g} s" for k in (i, j))
                raise DataError(
                    f"the fold that tests {fold.name} has two trials on different sides that share samples",
                    got=f"{trials[i].file}, {' and '.join(times)}",
                    do="shorten one of them, or choose a protocol that keeps a recording together",
                )
