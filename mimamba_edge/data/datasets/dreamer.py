"""DREAMER: 23 people watch 18 film clips, with an Emotiv EPOC.

S. Katsigiannis and N. Ramzan, "DREAMER: a database for emotion recognition through EEG and ECG signals
from wireless low-cost off-the-shelf devices", IEEE Journal of Biomedical and Health Informatics 22 (2018);
by request, https://zenodo.org/records/546113. ``DREAMER.mat`` holds one variable: ``Data{s}.EEG.stimuli{t}``
and ``.baseline{t}``, each (time, 14) at 128 Hz, and ``Data{s}.ScoreValence``, ``.ScoreArousal`` and
``.ScoreDominance`` (18, 1), whole numbers from 1 to 5, as torcheeg's ``DREAMERDataset`` and LibEER's
``read_dreamer`` take them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.data.bounds import evenly_sampled
from mimamba_edge.data.dataset import Dataset, Fault, Processing
from mimamba_edge.data.labels import Trial
from mimamba_edge.data.mat5 import Leaf, mat_variables
from mimamba_edge.data.ratings import RatingRule, take_rule
from mimamba_edge.data.recording import Recording
from mimamba_edge.data.spec_options import SpecOptions
from mimamba_edge.errors import DataError

__all__ = ["CHANNELS", "Dreamer", "open_spec"]

CHANNELS = ("AF3", "F7", "F3", "FC5", "T7", "P7", "O1", "O2", "P8", "T8", "FC6", "F4", "F8", "AF4")
_SCORES = {"valence": "ScoreValence", "arousal": "ScoreArousal", "dominance": "ScoreDominance"}
_SFREQ = 128.0
_PEOPLE, _CLIPS = 23, 18
_LAST_S = 60.0
_LEAST_S = 5.0


class Dreamer(Dataset):
    """DREAMER.mat.

    A recording is a clip as one person saw it; its trial is the last seconds of it, and what stands before
    lets the filters settle. Opening walks through the whole file once, for ratings stand behind signals.

    Args:
        path: The file, or the folder it lies in.
        rule: Which rating gives the classes, and how.
        last_s: Length of a trial in seconds, at the end of the clip.

    Raises:
        DataError: It is no such file.
    """

    channels = ("AF3", "AF4", "F7", "F8")
    # By the EPOC itself, which notches 50 and 60 Hz too (Emotiv's specification).
    processing = Processing(band_hz=(0.2, 45.0), known=True)

    def __init__(self, path: Path, rule: RatingRule, last_s: float = _LAST_S) -> None:
        self.path = path / "DREAMER.mat" if path.is_dir() else path
        self.spec, self.name = f"dreamer:{path}", "DREAMER"
        self.labelling = f"{rule}; the last {last_s:g} s of a clip"
        self.licence = "DREAMER's licence on Zenodo: research, not to be passed on"
        self.source = "https://zenodo.org/records/546113"
        self._file = mat_variables(self.path)[0]
        self._leaves: dict[str, Leaf] = {}
        clips: dict[int, dict[int, Leaf]] = {}
        scores: dict[int, NDArray[np.float64]] = {}
        variable = self._file

        def visit(leaf: Leaf) -> None:
            match leaf.path:
                case ("Data", int(subject), "EEG", "stimuli", int(clip)):
                    clips.setdefault(subject + 1, {})[clip + 1] = leaf
                case ("Data", int(subject), str(score)) if score == _SCORES[rule.name]:
                    scores[subject + 1] = variable.values(leaf).ravel()

        variable.walk(visit)
        if not clips:
            raise DataError(
                f"{self.path} is not DREAMER",
                got="no Data{s}.EEG.stimuli{t} in its first variable",
                expected="DREAMER.mat",
                do="ask for it at https://zenodo.org/records/546113; see docs/datasets.md",
            )
        trials, faults = list[Trial](), list[Fault]()
        for subject in range(1, max(_PEOPLE, *clips) + 1):
            if subject not in clips:
                faults.append(Fault("missing", f"subject {subject}", "not in the file"))
            elif problem := _problem(clips[subject], scores.get(subject), rule.name):
                faults.append(Fault("damaged", f"subject {subject}", problem))
            else:
                if len(clips[subject]) != _CLIPS:
                    faults.append(Fault("odd", f"subject {subject}", f"{len(clips[subject])} clips, not 18"))
                for number, leaf in sorted(clips[subject].items()):
                    trial = _trial(
                        subject, number, leaf, rule.label(float(scores[subject][number - 1])), last_s
                    )
                    trials.append(trial)
                    self._leaves[trial.file] = leaf
        self.trials, self.faults = tuple(trials), tuple(faults)

    def read(self, file: str) -> Recording:
        """Read a clip, named ``01/01`` to ``23/18``."""
        samples = np.ascontiguousarray(self._file.values(self._leaves[file]))
        return evenly_sampled(self.path / file, CHANNELS, _SFREQ, samples)

    def recording_sha256(self, file: str) -> str:
        """Return the SHA-256 of the file and the clip's place in it."""
        return self._part_sha256(self.path, file)


def _problem(clips: dict[int, Leaf], scores: NDArray[np.float64] | None, name: str) -> str:
    """Return why a person's clips cannot be used; empty where they can."""
    for number, leaf in clips.items():
        if len(leaf.shape) != 2 or leaf.shape[1] != len(CHANNELS):
            return f"clip {number} has the shape {leaf.shape}, not (time, {len(CHANNELS)})"
        if leaf.shape[0] < _LEAST_S * _SFREQ:
            return f"clip {number} holds {leaf.shape[0]} samples"
    if scores is None or len(scores) < max(clips):
        return f"no ratings of {name} for all clips"
    if not ((scores >= 1) & (scores <= 5)).all():
        return f"ratings of {name} from {scores.min():g} to {scores.max():g}, not from 1 to 5"
    return ""


def _trial(subject: int, number: int, leaf: Leaf, label: str, last_s: float) -> Trial:
    stop_s = leaf.shape[0] / _SFREQ
    return Trial(
        file=f"{subject:02}/{number:02}",
        start_s=max(0.0, stop_s - last_s),
        stop_s=stop_s,
        label=label,
        subject=str(subject),
        session="1",
        run="1",
        stimulus=f"clip-{number:02}",
    )


def open_spec(rest: str) -> Dreamer:
    """Open ``PATH?label=valence|arousal|dominance&threshold=3&tie=low|high&last=60``."""
    options = SpecOptions(rest, "dreamer")
    rule = take_rule(options, tuple(_SCORES), threshold=3.0, scale=(1.0, 5.0))
    last_s = options.number("last", _LAST_S, least=_LEAST_S, most=3600.0)
    options.end()
    return Dreamer(options.path, rule, last_s)
