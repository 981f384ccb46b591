"""MOABB itself: its splits, its statistics and its evaluations beside ours, on the same trials.

``moabb_rules.py`` is what holds ours in every run; here it is held to MOABB.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("moabb", reason="needs MOABB: pip install moabb (in a venv; BSD-3, Python 3.11 on)")
pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]

import moabb  # noqa: E402
import pandas as pd  # noqa: E402
from moabb.analysis.meta_analysis import (  # noqa: E402
    compute_dataset_statistics,
    compute_effect,
    compute_pvals_perm,
)
from moabb.evaluations import (  # noqa: E402
    CrossSessionEvaluation,
    CrossSubjectEvaluation,
    WithinSessionEvaluation,
)
from moabb.evaluations.splitters import (  # noqa: E402
    CrossSessionSplitter,
    CrossSubjectSplitter,
    WithinSessionSplitter,
)
from moabb.paradigms import MotorImagery  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.metrics import roc_auc_score  # noqa: E402
from sklearn.model_selection import LeaveOneGroupOut  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import FunctionTransformer  # noqa: E402

from mimamba_edge import MSiMambaClassifier, Recording  # noqa: E402
from mimamba_edge.data.dataset import Dataset, open_dataset  # noqa: E402
from mimamba_edge.data.windows import Windows  # noqa: E402
from mimamba_edge.export.evaluation.permutation import sign_flip_p  # noqa: E402
from mimamba_edge.export.evaluation.table import Scorer  # noqa: E402
from mimamba_edge.export.research.moabb_dataset import MoabbDataset  # noqa: E402
from mimamba_edge.export.training.protocol import make_folds  # noqa: E402
from tests.research import trials_of  # noqa: E402
from tests.research.moabb_rules import effect, one_sided_p, splits  # noqa: E402

moabb.set_log_level("ERROR")
RUNS: dict[str, Any] = {"cv_class": LeaveOneGroupOut, "groups": "run"}
SFREQ = 64.0


class Rhythms(Dataset):
    """Three people, three sessions, two runs: 6 Hz where excited, 12 Hz where calm, in noise."""

    spec = name = "rhythms"
    licence = source = ""

    def __init__(self) -> None:
        self.trials = tuple(trials_of(subjects=3, sessions=3, runs=2, n=6))

    def read(self, file: str) -> Recording:
        rng = np.random.default_rng(list(file.encode()))
        time = np.arange(round(26 * SFREQ)) / SFREQ
        x = 8 * rng.standard_normal((len(time), 3))
        for trial in (t for t in self.trials if t.file == file):
            inside = (time >= trial.start_s) & (time < trial.stop_s)
            hz = 6 if trial.label == "excited" else 12
            x[inside] += 5 * np.sin(2 * np.pi * hz * time[inside] + rng.uniform(0, 6.3))[:, None]
        return Recording(Path(file), ("C3", "Cz", "C4"), SFREQ, x, time)


def paradigm_of(dataset: Any, seconds: float, sfreq: float) -> Any:
    options: dict[str, Any] = {"fmin": 1, "fmax": 0.4 * sfreq, "resample": sfreq, "tmax": seconds - 1 / sfreq}
    return MotorImagery(n_classes=2, events=list(dataset.event_id), **options)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """The trials as MOABB's table of them."""
    rows = [{"subject": t.subject, "session": t.session, "run": t.run} for t in trials_of(3, 3, 3)]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("evaluation", "splitter"),
    [
        ("CrossSubject", CrossSubjectSplitter()),
        ("CrossSession", CrossSessionSplitter()),
        ("WithinSession", WithinSessionSplitter(shuffle=False, **RUNS)),
    ],
)
def test_the_rules_split_as_moabb_does(evaluation: str, splitter: Any, table: pd.DataFrame) -> None:
    trials = trials_of(3, 3, 3)
    y = np.array([t.label for t in trials])
    theirs = {(frozenset(map(int, a)), frozenset(map(int, b))) for a, b in splitter.split(y, table)}
    assert theirs == splits(trials, evaluation)


def test_moabbs_own_split_of_a_session_puts_neighbours_on_both_sides() -> None:
    """Why ours holds out blocks: by default MOABB shuffles the trials of a session."""
    trials = trials_of(subjects=1, sessions=1, runs=5)
    y = np.array([t.label for t in trials])
    table = pd.DataFrame({"subject": [1] * len(y), "session": ["0"] * len(y)})
    beside = [
        len({int(i) - 1, int(i) + 1} & set(train.tolist()))
        for train, test in WithinSessionSplitter(random_state=0).split(y, table)
        for i in test
    ]
    blocks = [
        len({int(i) - 1, int(i) + 1} & set(f.train.tolist()))
        for f in make_folds(trials, "within-session")
        for i in f.test
    ]
    assert np.mean(beside) > 3 * np.mean(blocks)


@pytest.mark.parametrize("n", [3, 8, 13])
def test_the_rules_of_statistics_are_moabbs(n: int) -> None:
    scores = pd.DataFrame(np.random.default_rng(n).normal([0.7, 0.62], 0.08, (n, 2)), columns=["a", "b"])
    difference = (scores["a"] - scores["b"]).to_numpy()
    p, size = compute_pvals_perm(scores), compute_effect(scores)
    assert p[0, 1] == pytest.approx(one_sided_p(difference))
    assert p[1, 0] == pytest.approx(one_sided_p(-difference))
    assert sign_flip_p(difference) == pytest.approx(2 * min(p[0, 1], p[1, 0]))
    assert size[0, 1] == pytest.approx(effect(difference))


def test_of_more_subjects_both_draw_and_agree_within_their_error() -> None:
    scores = pd.DataFrame(np.random.default_rng(1).normal([0.68, 0.64], 0.08, (18, 2)), columns=["a", "b"])
    p = compute_pvals_perm(scores, seed=0)
    twice, ours = 2 * min(p[0, 1], p[1, 0]), sign_flip_p((scores["a"] - scores["b"]).to_numpy())
    assert 0.01 < ours < 0.9
    # The error of twice a share of 10,000 draws and that of a share of as many.
    assert abs(twice - ours) < 4 * np.sqrt(2 * twice * (1 - twice / 2) / 10_000 + ours * (1 - ours) / 9_999)


def test_a_report_in_moabbs_table_gives_the_reports_p() -> None:
    trials = trials_of(subjects=9, sessions=1, runs=2, n=10)
    labels = np.array([t.label == "excited" for t in trials]).astype(np.int64)
    rng = np.random.default_rng(2)
    predicted = [np.where(rng.random(len(labels)) < share, labels, 1 - labels)[None] for share in (0.8, 0.7)]
    none = np.zeros((len(labels), 1, 1))
    windows = Windows(none, labels, np.arange(len(labels)), ("calm", "excited"), tuple(trials))
    scorer = Scorer(windows, make_folds(trials, "cross-subject"))
    ours = [scorer.method("net", "model", predicted[0], None)]
    ours.append(scorer.method("other", "baseline", predicted[1], predicted[0]))
    results = pd.DataFrame(
        {"dataset": "d", "pipeline": m.name, "subject": g.name, "score": g.balanced_accuracy}
        for m in ours
        for g in m.subjects
    )
    told = compute_dataset_statistics(results).set_index(["pipe1", "pipe2"])
    better, worse = told.loc[("net", "other")], told.loc[("other", "net")]
    against = ours[1].against
    assert against is not None
    assert against.sign_flip_p == pytest.approx(2 * min(better["p"], worse["p"]))
    assert (against.difference < 0) == (better["smd"] > 0)
    assert against.difference == pytest.approx(
        results[results["pipeline"] == "other"]["score"].mean()
        - results[results["pipeline"] == "net"]["score"].mean()
    )


POWER = make_pipeline(
    FunctionTransformer(lambda x: np.log(np.abs(np.fft.rfft(x)[..., 1:40]) ** 2).reshape(len(x), -1)),
    LogisticRegression(),
)
SMALL = {"d_model": 16, "n_layers": 1, "d_state": 2, "d_ff": 2, "n_kernels": 2, "top_k": 1}
NETWORK = MSiMambaClassifier(SFREQ, config=SMALL, epochs=3, learning_rate=5e-3, random_state=0)


def agree(kind: Any, dataset: Any, paradigm: Any, protocol: str, folder: Path, **options: Any) -> int:
    """Check MOABB's score of every fold against one computed here on our folds; return their number."""
    pipelines = {"power": POWER, "network": NETWORK}
    evaluation = kind(paradigm, [dataset], overwrite=True, hdf5_path=str(folder), **options)
    results = evaluation.process(pipelines)
    x, y, table = paradigm.get_data(dataset)
    trials, names = dataset.data.trials, dataset.data.subjects
    # MOABB's rows come by subject, session and recording, and in time: so do those of our table.
    assert [names[s - 1] for s in table["subject"]] == [t.subject for t in trials]
    assert y.tolist() == [t.label for t in trials]
    y = (y == sorted(set(y))[1]).astype(int)
    one_at_a_time = {"cross-subject": lambda t: ""}.get(protocol, lambda t: t.subject)
    found: dict[tuple[str, str, str], list[float]] = {}
    for part in dict.fromkeys(map(one_at_a_time, trials)):
        index = np.array([i for i, t in enumerate(trials) if one_at_a_time(t) == part])
        for fold in make_folds([trials[i] for i in index], protocol):
            fitted, tested = np.sort(index[np.concatenate([fold.train, fold.validation])]), index[fold.test]
            for name, pipeline in pipelines.items():
                scores = clone(pipeline).fit(x[fitted], y[fitted]).predict_proba(x[tested])[:, 1]
                for session in dict.fromkeys(table["session"].iloc[tested]):
                    inside = tested[(table["session"].iloc[tested] == session).to_numpy()]
                    at = np.isin(tested, inside)
                    key = name, str(table["subject"].iloc[tested[0]]), str(session)
                    found.setdefault(key, []).append(roc_auc_score(y[inside], scores[at]))
    rows = results.itertuples(index=False)
    theirs = {(row.pipeline, str(row.subject), str(row.session)): row.score for row in rows}
    assert theirs.keys() == found.keys()
    for key, score in theirs.items():
        assert score == pytest.approx(np.mean(found[key]), abs=1e-6), key  # stored as float32
    return len(theirs)


def test_moabbs_evaluations_give_the_scores_of_our_folds(tmp_path: Path) -> None:
    dataset = MoabbDataset(Rhythms())
    paradigm = paradigm_of(dataset, 2, SFREQ)
    x, _, _ = paradigm.get_data(dataset)
    assert x.shape == (108, 3, 128)
    assert 5 < x.std() < 15, "microvolts"
    assert agree(CrossSessionEvaluation, dataset, paradigm, "cross-session", tmp_path / "a") == 18
    assert agree(CrossSubjectEvaluation, dataset, paradigm, "cross-subject", tmp_path / "b") == 18


@pytest.mark.data
def test_the_same_on_real_recordings(recordings: Path, tmp_path: Path) -> None:
    dataset = MoabbDataset(open_dataset(recordings))
    paradigm = paradigm_of(dataset, dataset.interval[1], 128.0)
    options: dict[str, Any] = {"random_state": 0, **RUNS}
    assert agree(WithinSessionEvaluation, dataset, paradigm, "leave-one-run-out", tmp_path, **options) == 2
