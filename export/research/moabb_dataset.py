"""A data set of ours as one of MOABB's, for its paradigms and evaluations."""

from __future__ import annotations

from typing import Any

import mne
from moabb.datasets.base import BaseDataset

from mimamba_edge.data.dataset import Dataset
from mimamba_edge.data.labels import Trial

__all__ = ["MoabbDataset"]

_VOLTS = 1e-6


class MoabbDataset(BaseDataset):  # type: ignore[misc]
    """Subjects, sessions and recordings in their order, numbered as MOABB wants them; events are the labels.

    A recording is a run. An event's interval is as long as the shortest trial. Paradigms that take any event,
    such as ``MotorImagery(events=[...], n_classes=...)``, take these. They filter forwards and backwards,
    which no live stream can, and give arrays in microvolts.

    Args:
        data: As :func:`mimamba_edge.data.dataset.open_dataset` returned it.
    """

    def __init__(self, data: Dataset) -> None:
        self.data = data
        labels = sorted({t.label for t in data.trials})
        super().__init__(
            subjects=list(range(1, len(data.subjects) + 1)),
            sessions_per_subject=min(len(data.sessions(s)) for s in data.subjects),
            events={label: i + 1 for i, label in enumerate(labels)},
            code="MoabbDataset",
            interval=[0, min(t.stop_s - t.start_s for t in data.trials)],
            paradigm="imagery",
        )

    def _get_single_subject_data(self, subject: int) -> dict[str, dict[str, Any]]:
        name = self.data.subjects[subject - 1]
        found = {}
        for i, session in enumerate(self.data.sessions(name)):
            of_file: dict[str, list[Trial]] = {}
            for trial in self.data.trials:
                if (trial.subject, trial.session) == (name, session):
                    of_file.setdefault(trial.file, []).append(trial)
            found[str(i)] = {str(j): self._raw(*one) for j, one in enumerate(of_file.items())}
        return found

    def _raw(self, file: str, trials: list[Trial]) -> Any:
        recording = self.data.read(file)
        info = mne.create_info(list(recording.ch_names), recording.sfreq, "eeg")
        raw = mne.io.RawArray(recording.samples.T * _VOLTS, info, verbose=False)
        starts, lengths = [t.start_s for t in trials], [t.stop_s - t.start_s for t in trials]
        return raw.set_annotations(mne.Annotations(starts, lengths, [t.label for t in trials]))

    def data_path(self, *_: Any, **__: Any) -> list[str]:
        """Return no path: the recordings are here."""
        return []
