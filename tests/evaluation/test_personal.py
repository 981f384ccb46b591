"""Accuracy against minutes of personal calibration: what calibrates, what is scored, that they never mix."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("joblib", reason="needs joblib: pip install 'mimamba-edge[export]'")
pytestmark = pytest.mark.torch

from mimamba_edge.data.dataset import open_dataset  # noqa: E402
from mimamba_edge.data.labels import Trial  # noqa: E402
from mimamba_edge.data.simulate import write_dataset  # noqa: E402
from mimamba_edge.data.windows import Windows, trial_windows  # noqa: E402
from mimamba_edge.errors import ConfigError, DataError  # noqa: E402
from mimamba_edge.export.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from mimamba_edge.export.evaluation.personal import (  # noqa: E402
    ADAPTATIONS,
    AS_DELIVERED,
    Adaptation,
    adapt,
    adaptations_of,
    personal_curve,
    plan_personal,
)
from mimamba_edge.export.jobs.run import Engine  # noqa: E402
from mimamba_edge.export.network import FamilyBlueprint  # noqa: E402
from mimamba_edge.export.runner import OracleRunner  # noqa: E402
from mimamba_edge.export.training.fit import Hyperparameters  # noqa: E402
from mimamba_edge.export.training.protocol import LEAKY, make_folds  # noqa: E402
from mimamba_edge.signal.scaling import fit_scaling  # noqa: E402
from tests.cli.conftest import run  # noqa: E402, F401
from tests.evaluation.planted import Planted, relabelled, windows_of  # noqa: E402
from tests.evaluation.trained import Trained, write_trained  # noqa: E402
from tests.onnx.conftest import make_checkpoint  # noqa: E402

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "formats" / "evaluation.schema.json"
ONE = Engine(jobs=1)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIMAMBA_CACHE", str(tmp_path / "cache"))


def rows(labels: str, file: str, seconds: float = 30.0) -> list[Trial]:
    return [Trial(file, 40.0 * i, 40.0 * i + seconds, k, "s", file, file, "x") for i, k in enumerate(labels)]


def windows_on(trials: list[Trial]) -> Windows:
    n = len(trials)
    return Windows(np.zeros((n, 1, 4)), np.zeros(n, np.int64), np.arange(n), ("a", "b"), tuple(trials))


def test_whole_trials_in_time_calibrate_and_the_rest_is_scored_at_all_minutes() -> None:
    first, second = rows("aabab", "one.csv"), rows("abab", "two.csv")
    table = [*first[::-1], *second]  # within a recording the table need not be in order
    short = rows("aaabb", "three.csv", seconds=20.0)
    one_class = rows("bbbbbba", "four.csv")
    trials = [*table, *short, *one_class]
    groups = [Trial(**{**dataclasses.asdict(t), "session": t.file.partition(".")[0]}) for t in trials]
    joined = [
        dataclasses.replace(t, session="both") if t.file in ("one.csv", "two.csv") else t for t in groups
    ]
    plan = plan_personal(windows_on(joined), [], "cross-session", [2, 0.5, 1.5, 2])
    assert plan.minutes == (0.5, 1.5, 2)
    (part,) = plan.parts
    assert part.name == "s/both"
    # 30 s are reached by the first trial, both classes only by the third; 2 minutes by the fourth.
    assert [c.tolist() for c in part.calibration] == [[4, 3, 2], [4, 3, 2], [4, 3, 2, 1]]
    assert part.scored.tolist() == [0, 5, 6, 7, 8]
    assert set(plan.left_out) == {"s/three", "s/four"}
    assert plan.left_out["s/three"].startswith("1.7 minutes of trials")


def test_folds_are_cut_as_they_were_held_out() -> None:
    trials = [t for k in range(4) for t in rows("abababab", f"r{k}")]
    folds = make_folds(trials, "leave-one-run-out")
    plan = plan_personal(windows_on(trials), folds, "leave-one-run-out", [1])
    assert [p.name for p in plan.parts] == [f.name for f in folds]
    for part, fold in zip(plan.parts, folds, strict=True):
        assert [*part.calibration[0], *part.scored] == fold.test.tolist()
        assert len(part.calibration[0]) == 2


def test_what_is_too_short_or_holds_nobody_out_is_refused() -> None:
    trials = [t for k in range(3) for t in rows("abab", f"r{k}")]
    with pytest.raises(DataError, match=r"(?s)long enough for 8 minutes.*2\.0 to 2\.0.*0\.5,1"):
        plan_personal(
            windows_on(trials), make_folds(trials, "leave-one-run-out"), "leave-one-run-out", [1, 8]
        )
    with pytest.raises(ConfigError, match="holds none out"):
        plan_personal(windows_on(trials), [], LEAKY, [1])


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Windows, Path]:
    """Trials that can be told apart, with labels that say nothing, and a network of random weights."""
    rng = np.random.default_rng(3)
    trials = [
        Trial(f"r{k}", 0.0, 1.0, "ab"[i % 2], f"s{k}", "d", "r", "x") for k in range(2) for i in range(40)
    ]
    windows = windows_of(Planted(trials, rng.standard_normal((80, 16)), trial_s=3.0))
    windows = relabelled(windows, np.concatenate([rng.permutation(40) % 2 for _ in range(2)]))
    sizes = {"n_chans": 4, "n_times": 64, "n_outputs": 2, "sfreq": 64.0, "n_layers": 1, "d_model": 16}
    sizes |= {"d_ff": 4, "n_kernels": 2, "dropout": 0.0}
    path = make_checkpoint(tmp_path_factory.mktemp("planted") / "x.pt", **sizes)
    held = load_checkpoint(path)
    own = dataclasses.replace(held.contract, scaling=fit_scaling(windows.data), class_names=("a", "b"))
    save_checkpoint(path, held.build(), own)
    return windows, path


STRONG = Adaptation(
    "strong", True, Hyperparameters(epochs=14, batch_size=16, learning_rate=1.5e-2, ft_surrogate=0.0)
)
"""Remembers every trial that it is fitted on."""


def test_leak_of_a_planted_trial_into_the_calibration(planted: tuple[Windows, Path], monkeypatch) -> None:
    """At chance where later trials are scored, far above where those of the calibration were."""
    monkeypatch.setattr("mimamba_edge.export.evaluation.personal.ADAPTATIONS", (STRONG,))
    windows, path = planted
    plan = plan_personal(windows, [], "cross-subject", [0.6])
    seen = [dataclasses.replace(part, scored=part.calibration[0]) for part in plan.parts]
    scores = []
    for one in (plan, dataclasses.replace(plan, parts=tuple(seen))):
        curve = personal_curve(one, np.zeros((1, 80), np.int64), lambda name, seed: path, engine=ONE)
        assert [p.adapted for p in curve.points] == [AS_DELIVERED, "strong"]
        scores.append(curve.points[1].scored.balanced_accuracy.mean)
    later, memory = scores
    assert abs(later - 0.5) < 0.12
    assert memory > 0.85


@pytest.mark.parametrize(("layer", "n"), [("final_layer", 4), ("head", 2)])
def test_a_final_layer_of_another_name_is_not_fitted_alone(layer: str, n: int) -> None:
    class Made:
        config = None

        def network(self) -> torch.nn.Module:
            return torch.nn.ModuleDict({"features": torch.nn.Linear(2, 2), layer: torch.nn.Linear(2, 2)})

    assert len(adaptations_of(Made())) == n
    assert adaptations_of(None) == ADAPTATIONS


@pytest.mark.parametrize("adaptation", ADAPTATIONS, ids=lambda a: a.name)
def test_leak_scored_trials_decide_nothing(planted: tuple[Windows, Path], adaptation) -> None:
    """Weights and scaling keep every bit where all but the calibration is made up."""
    windows, path = planted
    held = load_checkpoint(path)
    blueprint = FamilyBlueprint(held.config, held.contract.family)
    rows = np.flatnonzero(windows.trial_of < 6)
    short = shortened(adaptation)
    found = []
    for data, labels in (
        (windows.data, windows.labels),
        (
            np.where(np.arange(len(windows.data))[:, None, None] <= rows[-1], windows.data, np.nan),
            1 - windows.labels,
        ),
    ):
        labels = np.where(np.isin(np.arange(len(labels)), rows), windows.labels, labels)
        network, scaling = adapt(held, blueprint, short, data, labels, rows, seed=0)
        found.append((scaling, {k: v.numpy().tobytes() for k, v in network.state_dict().items()}))
    assert found[0] == found[1]
    changed = [k for k, v in found[0][1].items() if v != held.state_dict[k].numpy().tobytes()]
    expected = {"scaling": 0, "all weights and scaling": len(held.state_dict)}.get(adaptation.name, 2)
    assert len(changed) <= expected
    assert bool(changed) == (adaptation.recipe is not None)
    assert (scaling != held.contract.scaling) == adaptation.own_scaling


def shortened(adaptation: Adaptation) -> Adaptation:
    recipe = adaptation.recipe and dataclasses.replace(adaptation.recipe, epochs=2)
    return dataclasses.replace(adaptation, recipe=recipe)


def oracle_scaling(trained: Trained) -> list[int]:
    """Classes of the later trials of each run, scaled by the first trials' median and quartiles."""
    contract = load_checkpoint(trained.checkpoint).contract
    windows = trial_windows(open_dataset(trained.data), contract)
    found = []
    for number, path in enumerate(sorted(trained.folds.glob("seed0-*"))):
        members = [i for i, t in enumerate(windows.trials) if t.file == f"run-{number + 1:02d}.csv"]
        labels = [windows.trials[i].label for i in members]
        n = next(n for n in range(2, 6) if len(set(labels[:n])) == 2)
        data = windows.data[np.isin(windows.trial_of, members[:n])]
        low, mid, high = np.quantile(data.transpose(1, 0, 2).reshape(4, -1), (0.25, 0.5, 0.75), axis=1)
        with OracleRunner(path) as runner:
            for i in members[n:]:
                x = (windows.data[windows.trial_of == i] - mid[:, None]) / (high - low)[:, None]
                logits = runner.logits(x.astype(np.float32)).mean(axis=0)
                found.append(int(logits.argmax()))
    return found


@pytest.mark.slow
def test_the_curve_as_typed(tmp_path: Path, run, monkeypatch) -> None:  # noqa: F811
    trained = write_trained(tmp_path)
    monkeypatch.setattr("mimamba_edge.export.jobs.run.available_cores", lambda: 1)
    short = tuple(shortened(one) for one in ADAPTATIONS)
    monkeypatch.setattr("mimamba_edge.export.evaluation.personal.ADAPTATIONS", short)
    options = ("--calibration-minutes", "0.13", "--report", tmp_path / "e.json")
    out = run("evaluate", trained.checkpoint, trained.data, *options)
    assert out.code == 0, out.err
    report = json.loads((tmp_path / "e.json").read_text())
    jsonschema.validate(report, json.loads(SCHEMA.read_text()))
    curve = report["personal"]
    assert curve["minutes"] == [0, 0.13]
    delivered, scaling = curve["points"][:2]
    whole = report["methods"][0]["predicted"][0]
    assert delivered["scored"]["predicted"][0] == [whole[i] for i in curve["scored"]]
    assert scaling["adapted"] == "scaling"
    assert scaling["scored"]["predicted"][0] == oracle_scaling(trained)
    assert len(curve["neighbours"]) == 3, "the first scored trial of each run"
    assert "3 of them stand beside a calibration trial" in out.out
    assert "final layer and scaling" in out.out
    new = tmp_path / "new"
    write_dataset(new, runs=2, trials=6, seed=9)
    out = run("evaluate", trained.checkpoint, new, *options)
    assert out.code == 0, out.err
    curve = json.loads((tmp_path / "e.json").read_text())["personal"]
    assert [group["name"] for group in curve["groups"]] == ["s1/s1-1/run-01", "s1/s1-1/run-02"]


@pytest.mark.parametrize("text", ["1,", "0,1", "-1", "x", "nan", "1e9", ",".join(["1"] * 21)])
def test_minutes_that_are_none(tmp_path: Path, run, text) -> None:  # noqa: F811
    (tmp_path / "x.pt").touch()
    out = run("evaluate", tmp_path / "x.pt", tmp_path, "--calibration-minutes", text)
    assert out.code == 2
    assert "--calibration-minutes takes minutes" in out.err
