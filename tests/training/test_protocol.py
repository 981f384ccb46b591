from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from mimamba_edge.data.labels import Trial  # noqa: E402
from mimamba_edge.data.windows import Windows  # noqa: E402
from mimamba_edge.errors import ConfigError, DataError  # noqa: E402
from mimamba_edge.export.training.protocol import (  # noqa: E402
    LEAKY,
    PROTOCOLS,
    check_protocol,
    excluded,
    fold_mark,
    make_folds,
    split,
)
from mimamba_edge.naming import natural_order  # noqa: E402


def trials(subjects: int = 3, sessions: int = 3, runs: int = 2, per_run: int = 6) -> list[Trial]:
    out = []
    for s in range(subjects):
        for d in range(sessions):
            for r in range(runs):
                for i in range(per_run):
                    label = f"class-{i % 2}"
                    out.append(
                        Trial(
                            f"s{s}d{d}r{r}.csv", 4.0 * i, 4.0 * i + 2, label, f"s{s}", f"d{d}", f"r{r}", label
                        )
                    )
    return out


GROUP = {
    "cross-subject": lambda t: t.subject,
    "cross-session": lambda t: (t.subject, t.session),
    "leave-one-run-out": lambda t: (t.subject, t.session, t.run),
    "within-session": lambda t: (t.file, t.start_s),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_group_stands_on_two_sides_and_every_trial_is_tested_once(protocol: str) -> None:
    table = trials()
    folds = make_folds(table, protocol)
    tested = np.concatenate([f.test for f in folds])
    assert sorted(tested) == list(range(len(table)))
    for fold in folds:
        sides = [
            {GROUP[protocol](table[i]) for i in part} for part in (fold.train, fold.validation, fold.test)
        ]
        assert all(sides)
        assert not sides[0] & sides[1]
        assert not (sides[0] | sides[1]) & sides[2]
        assert len(fold.train) + len(fold.validation) + len(fold.test) == len(table)


def test_runs_of_the_same_name_in_two_sessions_are_two_groups() -> None:
    assert len(make_folds(trials(1, 3, 2), "leave-one-run-out")) == 6


def test_blocks_of_a_session_are_neighbours_in_time() -> None:
    table = trials(1, 1, 1, per_run=20)
    for fold in make_folds(table, "within-session"):
        assert list(fold.test) == list(range(fold.test[0], fold.test[0] + len(fold.test)))


def test_the_blocks_of_numbered_runs_are_in_the_order_of_the_numbers() -> None:
    names = ["run-1", "run-2", "run-3", "run-9", "run-10", "run-011", "run-100"]
    assert sorted({*names}, key=natural_order) == names
    assert sorted(["b", "", "a2", "a", "2", "²"], key=natural_order) == ["", "2", "a", "a2", "b", "²"]
    table = [
        dataclasses.replace(t, run=f"run-{r}", file=f"run-{r}.csv")
        for r in range(1, 11)
        for t in trials(1, 1, 1, per_run=2)
    ]
    shuffled = sorted(table, key=lambda t: t.run)
    folds = make_folds(shuffled, "within-session")
    tested = sorted(sorted({int(shuffled[i].run[4:]) for i in fold.test}) for fold in folds)
    assert tested == [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]]


def test_trials_that_share_samples_do_not_stand_on_two_sides() -> None:
    table = trials(1, 1, 1, per_run=20)
    table[11] = dataclasses.replace(table[11], stop_s=table[12].start_s + 0.5)
    with pytest.raises(DataError, match=r"share samples(.|\n)*44 to 48.5 s and 48 to 50 s"):
        make_folds(table, "within-session")
    # The same block, or the same run: no harm.
    table[11] = dataclasses.replace(table[11], stop_s=46.0)
    table[13] = dataclasses.replace(table[13], stop_s=56.5)
    assert len(make_folds(table, "within-session")) == 5
    # One that runs on beneath others: the last it meets is in another block.
    table[13] = dataclasses.replace(table[13], stop_s=66.5)
    with pytest.raises(DataError, match="share samples"):
        make_folds(table, "within-session")


def test_too_few_groups_and_absent_classes_are_explained() -> None:
    with pytest.raises(DataError, match=r"at least 3 groups"):
        make_folds(trials(2, 1, 1), "cross-subject")
    lonely = [t for t in trials(3, 1, 1) if t.label == "class-0" or t.subject == "s0"]
    with pytest.raises(DataError, match="no training trial of class-1"):
        make_folds(lonely, "cross-subject")
    with pytest.raises(ConfigError, match="leaky"):
        make_folds(trials(), "leaky")


@pytest.mark.parametrize(
    ("table", "protocol", "advice"),
    [
        (trials(1, 1, 1), "leave-one-run-out", "--protocol within-session"),
        (trials(1, 1, 3), "cross-subject", "--protocol leave-one-run-out or within-session"),
        (trials(1, 1, 1, per_run=2), "leave-one-run-out", None),
        (trials(1, 1, 1, per_run=2), "within-session", None),
    ],
)
def test_what_is_advised_works(table: list[Trial], protocol: str, advice: str | None) -> None:
    with pytest.raises(DataError) as caught:
        make_folds(table, protocol)
    said = str(caught.value)
    assert "record more" in said
    assert ("--protocol" in said) is (advice is not None)
    if advice is not None:
        assert said.endswith(advice)
        for name in advice.removeprefix("--protocol ").split(" or "):
            assert make_folds(table, name)


def with_clips(n_clips: int, **sizes: int) -> list[Trial]:
    """Everybody sees the same clips, each always of one class."""
    return [
        dataclasses.replace(t, label=f"class-{i % n_clips % 2}", stimulus=f"clip-{i % n_clips}")
        for i, t in enumerate(trials(**sizes))
    ]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_stimulus_stands_on_two_sides_where_they_are_held_out(protocol: str) -> None:
    table = with_clips(12, per_run=12)
    folds = make_folds(table, f"{protocol}+cross-stimulus")
    assert sorted(np.concatenate([f.test for f in folds])) == list(range(len(table)))
    for fold in folds:
        train, validation, test = (
            [table[i] for i in part] for part in (fold.train, fold.validation, fold.test)
        )
        assert train
        assert validation
        for key in (GROUP[protocol], lambda t: t.stimulus):
            sides = [{key(t) for t in side} for side in (train, validation, test)]
            assert not sides[0] & sides[1]
            assert not (sides[0] | sides[1]) & sides[2]
    assert len({f.name for f in folds}) == len(folds)


def test_every_part_of_the_stimuli_holds_every_class() -> None:
    table = with_clips(15, subjects=3, sessions=1, runs=1, per_run=15)
    for fold in make_folds(table, "cross-subject+cross-stimulus"):
        assert len(fold.test) == 3
        assert {table[i].label for i in fold.test} == {"class-0", "class-1"}


def test_stimuli_that_cannot_be_held_out_are_explained() -> None:
    with pytest.raises(DataError, match=r"(?s)at least 3 stimuli of each class.*class-0 by 1"):
        make_folds(trials(), "cross-subject+cross-stimulus")
    nameless = [dataclasses.replace(t, stimulus="") for t in trials()]
    with pytest.raises(DataError, match="needs the stimulus of every trial"):
        make_folds(nameless, "cross-subject+cross-stimulus")


@pytest.mark.parametrize("name", ["cross-stimulus", "cross-subject+", "leaky-window+cross-stimulus", "+", ""])
def test_protocols_that_do_not_exist(name: str) -> None:
    with pytest.raises(ConfigError, match="unknown protocol"):
        check_protocol(name)


def test_the_leaky_split_is_of_windows_and_claims_nothing() -> None:
    table = tuple(trials(1, 1, 2))
    owner = np.repeat(np.arange(len(table)), 5)
    data = np.zeros((len(owner), 1, 4))
    windows = Windows(data, np.array([i % 2 for i in owner]), owner, ("class-0", "class-1"), table)
    again, folds = split(windows, LEAKY)
    assert len(again.trials) == len(owner) == sum(len(f.test) for f in folds)
    sides = [{again.trials[i].start_s for i in part} for part in (folds[0].train, folds[0].test)]
    assert sides[0] & sides[1]
    assert excluded(LEAKY) == ()
    assert excluded("cross-session+cross-stimulus") == ("trial", "order", "run", "session", "stimulus")
    same, _ = split(windows, "within-session")
    assert same is windows


def test_the_mark_of_a_fold_tells_its_trials() -> None:
    table = trials()
    one, other = make_folds(table, "cross-subject")[:2]
    assert fold_mark(table, one) == fold_mark(table, one)
    moved = dataclasses.replace(one, train=one.train[1:])
    assert len({fold_mark(table, f) for f in (one, other, moved)}) == 3
