"""A report of five people, made without a network, whose names try to break what shows them."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np

from mimamba_edge.bench.environment import describe
from mimamba_edge.contract import Filter
from mimamba_edge.data.dataset import Processing
from mimamba_edge.data.labels import Trial
from mimamba_edge.data.windows import Windows
from mimamba_edge.export.evaluation.overlap import overlap
from mimamba_edge.export.evaluation.report import (
    DataStatement,
    EvaluationReport,
    PersonalCurve,
    PersonalPoint,
)
from mimamba_edge.export.evaluation.statement import scored_trials
from mimamba_edge.export.evaluation.table import Scorer
from mimamba_edge.export.training.protocol import make_folds
from tests.modelfiles import tiny_contract

HOSTILE = (
    "<script>alert(1)</script>",
    "a|b\n# heading",
    "`code` *bold* [x](http://evil.example) $x$",
    '"><img src=x onerror=alert(1)>',
    "\x1b[31m\u202e\x00--- {{x}}\r\n---",
)
CLASSES = ("<b>calm</b>", "ex|cited\n---")


def make_report(**changed: Any) -> EvaluationReport:
    """Return the report; its first row is right in 3 of 4 trials, its second always says the first class."""
    rng = np.random.default_rng(0)
    trials = tuple(
        Trial(f"{s}.csv", 4.0 * i, 4.0 * i + 2, CLASSES[i % 2], s, "1", "r", f"clip|{i}")
        for s in HOSTILE
        for i in range(8)
    )
    labels = np.array([CLASSES.index(t.label) for t in trials])
    owner = np.repeat(np.arange(len(trials)), 2)
    windows = Windows(np.zeros((len(owner), 1, 4)), labels[owner], owner, CLASSES, trials)
    folds = make_folds(trials, "cross-subject")
    scorer = Scorer(windows, folds)
    said = np.where(np.arange(len(labels)) % 4 == rng.integers(4), 1 - labels, labels)
    logits = rng.normal(size=(2, len(owner), 2)) + 2 * np.eye(2)[said[owner]]
    first = np.stack([said, said])
    sure = scorer.calibration(logits, np.full((2, len(owner)), 1.5))
    contract = tiny_contract(
        ch_names=("T|P9", "AF<7"),
        class_names=CLASSES,
        filters=(Filter("bandpass", low_hz=1.0, high_hz=45.0),),
    )
    methods = [
        scorer.method("<net|work>", "model", first, None, sure),
        scorer.method("triv|ial", "baseline", np.zeros((1, len(labels)), dtype=np.int64), first),
        scorer.method("<i>other</i>\n|", "network", labels[None], first),
    ]
    nothing = PersonalPoint("nothing", 0.0, 0.0, methods[0])
    adapted = [PersonalPoint("scaling", m, m * 1.1, methods[2]) for m in (1.0, 2.0)]
    made = EvaluationReport(
        model="dir/ck<pt>|x\n.pt",
        contract=contract.to_dict(),
        data=DataStatement(
            **{
                "name": "SEED",
                "labels_sha256": "0" * 64,
                "n_subjects": 5,
                "n_sessions": 5,
                "n_recordings": 5,
            },
            **{"n_trials": 40, "licence": "<licence>\nmore", "source": "https://evil.example/<x>"},
            **{"labelling": "> 3", "reference": Processing().reference, "band_hz": [4.0, 45.0]},
            **{"cleaning": "eyes <removed>", "faults": ["<none>"]},
        ),
        protocol="cross-subject",
        trained_on="out-of-fold",
        class_names=list(CLASSES),
        n_trials=len(trials),
        chance=0.5,
        methods=methods,
        overlap=overlap(trials, folds),
        trials=scored_trials(trials, folds),
        left_out={"rail|ed": 2},
        picked_on_test={
            "mean": 0.8,
            "difference": 0.05,
            "interval": [0.01, 0.09],
            "method": "t",
            "groups": 5,
        },
        notes=["a <note>"],
        command="mimamba-edge evaluate '<x>.pt' data --html p.html",
        personal=PersonalCurve([0, 1, 2], [nothing, *adapted], [], {"<p>": "short"}, [0], [], []),
        environment={**describe(), "commit": "0123456789abcdef", "dirty": False},
    )
    return replace(made, **changed)


def as_json(report: EvaluationReport) -> dict[str, Any]:
    """Return a report in plain types."""
    return asdict(report)
