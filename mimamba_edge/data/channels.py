"""Which channels of a recording are EEG: names that are no electrodes, and columns that only count.

Names: those of Emotiv's files (TestBench, EmotivPRO), of OpenBCI's GUI and BrainFlow, of BioSemi's and MNE's
trigger channels, and the marker columns of eegnb and muselsl. What a format says of a channel stands above
its name.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.data.recording import Recording

__all__ = ["eeg_channels", "is_label", "is_marker", "select", "why_no_eeg", "why_other_kind"]

_MARKER = re.compile(r"marker\s?\d*|stim|sti[ _]?\d+|status|triggers?|event[ _]marker", re.IGNORECASE)
_LABEL = re.compile(r"labels?|class(es)?|target|condition|emotion|trial[_ ]?type", re.IGNORECASE)
_NO_EEG = {
    "a number of the sample or packet": (
        r"counter.*",
        r"(sample|packet|package)[ _-]?(index|num(ber)?|count(er)?)",
        r"index",
        r"unnamed: ?\d+",
        r"interpolated.*",
    ),
    "a time": (r"times?", r"time[ _-]?stamps?.*", r"unix.*time.*"),
    "a label": (_LABEL.pattern,),
    "a marker": (_MARKER.pattern, r"markers?([ _-].*|index|type|value.*)?", r"events?"),
    "contact quality": (
        r"(raw[ _]?)?[ce]q([._ ].*)?",
        r"(contact|signal)[ _]?quality.*",
        r"(.*[ _])?impedances?",
        r"horseshoe.*",
    ),
    "motion": (
        r"gyro.*",
        r"acc(el.*|[ _.]?[xyz])?",
        r"(mag|mot|q)[._]?[xyz0-3]",
        r"mot\..*",
        r"magnetometer.*",
        r"imu.*",
    ),
    "a state of the device": (
        r"batt(ery.*)?",
        r"temp(erature)?([ _].*)?",
        r"sync.*",
        r"digital.*",
        r"analog channel.*",
        r"other([ _]?\d+)?",
        r"validation indicator",
    ),
    "a derived figure": (r"(pow|pm|fe|fac)[._].+",),
    "another part of the body": (
        r"[hv]?eog([ _-].*|\d+)?",
        r"e[ck]g([ _-].*|\d+)?",
        r"emg([ _-].*|\d+)?",
        r"resp(iration)?([ _-].*)?",
        r"(ppg|gsr|eda|erg|plet|spo2|pulse)\d*",
    ),
}
_PATTERNS = [(why, re.compile("|".join(forms), re.IGNORECASE)) for why, forms in _NO_EEG.items()]
_PREFIX = re.compile(r"(?:ied_|eeg\.)", re.IGNORECASE)
"""What Emotiv puts before all names, its counters included."""
_LEAST = 32
"""So many samples before a column is judged by what it holds."""
_COUNTS = 0.9
"""Share of steps of a counter that are 1: losses and wraps are the others."""


_OTHER_KINDS = {"misc", "audio", "video", "gaze", "mocap", "aux", "other", "unknown"}


def why_other_kind(kind: str) -> str | None:
    """Return why a channel of a kind, as a format calls it, is no EEG; ``None``: it may be."""
    kind = kind.strip().lower()
    if kind in _OTHER_KINDS or any(pattern.fullmatch(kind) for _, pattern in _PATTERNS):
        return f"of the kind {kind}"
    return None


def is_marker(name: str) -> bool:
    """Return whether a column of this name only marks something, as ``stim`` or ``Marker0`` do."""
    return _MARKER.fullmatch(name.strip()) is not None


def is_label(name: str) -> bool:
    """Return whether a column of this name says in which state a sample was recorded."""
    return _LABEL.fullmatch(name.strip()) is not None


def why_no_eeg(name: str, values: NDArray[np.float64]) -> str | None:
    """Return what a column ``(n,)`` is by its name, or that it only counts; ``None``: it may be EEG."""
    plain = _PREFIX.sub("", name.strip(), count=1)
    if not plain:
        return "without a name"
    for why, pattern in _PATTERNS:
        if pattern.fullmatch(plain):
            return why
    found = values[np.isfinite(values)]
    if not len(found):
        return "no value at all"
    if len(found) < _LEAST:
        return None
    steps = np.diff(found)
    if (steps > 0).all():
        return "it only rises, as a time or a counter"
    counted = float(np.mean(steps == 1.0))
    return "it counts" if counted >= _COUNTS and (found == np.round(found)).all() else None


def eeg_channels(recording: Recording) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the channels that may be EEG, and what the others are, by name.

    A channel is left out for the kind that the format gives it, its name, or because it only counts. One that
    is flat is not: that is what an electrode without contact looks like.
    """
    others: dict[str, str] = {}
    for k, name in enumerate(recording.ch_names):
        why = recording.others.get(name) or why_no_eeg(name, recording.samples[:, k])
        if why is not None:
            others[name] = why
    return tuple(name for name in recording.ch_names if name not in others), others


def select(recording: Recording, names: Sequence[str]) -> Recording:
    """Return a recording with these of its channels only."""
    columns = [recording.ch_names.index(name) for name in names]
    return dataclasses.replace(recording, ch_names=tuple(names), samples=recording.samples[:, columns])
