"""What an evaluation reports: types of the JSON report, from which its schema is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mimamba_edge.export.evaluation.calibration_scores import Calibration

__all__ = [
    "SCHEMA",
    "DataStatement",
    "Difference",
    "EvaluationReport",
    "Group",
    "Method",
    "Overlap",
    "PersonalCurve",
    "PersonalGroup",
    "PersonalPoint",
    "Score",
    "ScoredTrial",
]

SCHEMA = "mimamba.evaluation/1"


@dataclass(frozen=True)
class Score:
    """A balanced accuracy with its 95 % interval.

    Attributes:
        mean: Mean over classes of the share of trials that were right.
        interval: 95 % interval over independent units.
        method: How it was computed.
        groups: Number of independent units.
        unit: What these are: subject, or of one subject trial.
        seeds: Balanced accuracy of each seed; one value where nothing is random.
        majority_share: Share of the largest class: the plain accuracy of always guessing it.
    """

    mean: float
    interval: list[float]
    method: str
    groups: int
    unit: str
    seeds: list[float]
    majority_share: float


@dataclass(frozen=True)
class Difference:
    """A difference in balanced accuracy of two methods on the same trials.

    Attributes:
        difference: This method less the other one.
        interval: 95 % interval, paired over independent units.
        method: How it was computed.
        groups: Number of independent units.
        unit: What these are.
        sign_flip_p: That differences of either sign are as likely, two-sided: MOABB's paired permutation test
            over these units.
        lost: Trials on which the other method alone is right; null where seeds differ.
        gained: Trials on which this method alone is right; null where seeds differ.
        mcnemar_p: Exact, two-sided; null where seeds differ.
    """

    difference: float
    interval: list[float]
    method: str
    groups: int
    unit: str
    sign_flip_p: float
    lost: int | None = None
    gained: int | None = None
    mcnemar_p: float | None = None


@dataclass(frozen=True)
class Group:
    """The score of one fold or subject.

    Attributes:
        name: Which.
        n_trials: Tested trials.
        balanced_accuracy: Mean over the classes that it has, and over seeds.
        accuracy: Share of right trials, mean over seeds.
    """

    name: str
    n_trials: int
    balanced_accuracy: float
    accuracy: float


@dataclass(frozen=True)
class Method:
    """One row of the table.

    Attributes:
        name: For people.
        kind: model (the network in PyTorch), artefact (a file made of it), baseline or network (of others).
        balanced_accuracy: With its interval.
        accuracy: Share of right trials, mean over seeds.
        permutation_p: That labels which say nothing score as high; labels permuted within subject and fold.
        against: What it is compared with: the first row, the model.
        folds: Score of each fold.
        subjects: Score of each subject.
        predicted: Class of each trial by its number in the report's class_names, a list for each seed.
        calibration: Of its window probabilities; null for a baseline.
    """

    name: str
    kind: str
    balanced_accuracy: Score
    accuracy: float
    permutation_p: float
    against: Difference | None
    folds: list[Group]
    subjects: list[Group]
    predicted: list[list[int]]
    calibration: Calibration | None = None


@dataclass(frozen=True)
class Overlap:
    """What tested trials share with the training of their fold.

    Attributes:
        factor: trial, neighbour (in time), stimulus, run, session or subject.
        n_tested: Tested trials.
        n_train: Those that share it with a trained trial.
        n_validation: Those that share it with a validation trial.
        both: Names that stand on both sides.
    """

    factor: str
    n_tested: int
    n_train: int
    n_validation: int
    both: list[str]


@dataclass(frozen=True)
class PersonalPoint:
    """What a model scores after minutes of one kind of personal calibration.

    Attributes:
        adapted: What was fitted on the person's trials: nothing, scaling, final layer, final layer and
            scaling, or all weights and scaling.
        minutes: Minutes of trials that were asked for.
        used_minutes: What whole trials and every class came to, the mean over groups.
        scored: On the later trials, which are the same at every point; compared with nothing adapted.
    """

    adapted: str
    minutes: float
    used_minutes: float
    scored: Method


@dataclass(frozen=True)
class PersonalGroup:
    """What one held-out group was calibrated and scored on.

    Attributes:
        name: Subject, session, run or block.
        n_scored: Trials that are scored.
        n_calibration: Trials of the calibration at each number of minutes.
        used_minutes: What these came to.
    """

    name: str
    n_scored: int
    n_calibration: list[int]
    used_minutes: list[float]


@dataclass(frozen=True)
class PersonalCurve:
    """Accuracy against minutes of personal calibration.

    Attributes:
        minutes: Asked for, in rising order, 0 first.
        points: As delivered, then every kind of calibration at each number of minutes.
        groups: Held-out groups that are long enough.
        left_out: The others: what they lack, by name.
        scored: The scored trials, as indices into the report's trials, in the order of the predictions.
        neighbours: Those whose neighbour in time is a calibration trial at the most minutes.
        overlap: What scored trials share with the calibration at the most minutes.
    """

    minutes: list[float]
    points: list[PersonalPoint]
    groups: list[PersonalGroup]
    left_out: dict[str, str]
    scored: list[int]
    neighbours: list[int]
    overlap: list[Overlap]


@dataclass(frozen=True)
class DataStatement:
    """What a data set is, and what was done to its signal before it came here.

    Attributes:
        name: Short.
        labels_sha256: Of its trials.
        n_subjects: People.
        n_sessions: Sessions of all people.
        n_recordings: Recordings.
        n_trials: Trials in its table, scored or not.
        licence: Text of its licence; empty where it comes with none.
        source: Where it comes from; empty where that is not known.
        labelling: How ratings became classes; empty where the labels are as recorded.
        reference: Reference scheme of the signal.
        band_hz: Edges of the filter that it went through before, in Hz; null where none is known.
        cleaning: What else was removed before; empty where nothing was.
        faults: What was found wrong with it.
    """

    name: str
    labels_sha256: str
    n_subjects: int
    n_sessions: int
    n_recordings: int
    n_trials: int
    licence: str
    source: str
    labelling: str
    reference: str
    band_hz: list[float] | None
    cleaning: str
    faults: list[str]


@dataclass(frozen=True)
class ScoredTrial:
    """A trial, in the order of the predictions.

    Attributes:
        file: Its recording.
        start_s: Start in seconds from the recording's first sample.
        label: Class.
        subject: Who.
        session: On which occasion.
        run: Which run of it.
        stimulus: What was shown; empty where that is not known.
        fold: Which fold tested it; empty where there are none.
    """

    file: str
    start_s: float
    label: str
    subject: str
    session: str
    run: str
    stimulus: str
    fold: str


@dataclass(frozen=True)
class EvaluationReport:
    """The report of `evaluate`.

    Attributes:
        model: What was evaluated, as named.
        contract: Of the model: channels, rate, window, filters, configuration, training.
        data: What it was evaluated on.
        protocol: How trials were held out.
        trained_on: out-of-fold (each trial by a fold model that never saw it) or unseen (by the model itself,
            which was trained on other recordings).
        class_names: Names of the classes.
        n_trials: Scored trials.
        chance: Balanced accuracy of guessing: one by the number of classes.
        methods: The table.
        overlap: What tested trials share with trained ones; empty where the training trials are not known.
        trials: The scored trials, in the order of the predictions.
        left_out: Number of trials left out, by reason.
        picked_on_test: What choosing the epoch on the tested trials would have added, from the training.
        personal: Accuracy against minutes of personal calibration; null where it was not asked for.
        notes: What a reader has to know.
        warning: Where the protocol leaks.
        command: What made this report, as typed; empty where it was made from Python.
        schema: Version of this format.
        environment: Machine, versions and commit.
    """

    model: str
    contract: dict[str, Any]
    data: DataStatement
    protocol: str
    trained_on: str
    class_names: list[str]
    n_trials: int
    chance: float
    methods: list[Method]
    overlap: list[Overlap]
    trials: list[ScoredTrial]
    left_out: dict[str, int]
    picked_on_test: dict[str, Any] | None
    personal: PersonalCurve | None = None
    notes: list[str] = field(default_factory=list)
    warning: str = ""
    command: str = ""
    schema: str = SCHEMA
    environment: dict[str, Any] = field(default_factory=dict)
