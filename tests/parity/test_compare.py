import dataclasses
import json

import numpy as np
import pytest

from mimamba_edge.contract import LOGITS
from mimamba_edge.errors import ConfigError, ContractError, DataError, RunnerError
from mimamba_edge.numerics import mstb
from mimamba_edge.parity import GATES, check_contracts, compare, gate_for, to_rows
from mimamba_edge.runtime.base import Arrays, Runner
from mimamba_edge.runtime.function import FunctionRunner
from mimamba_edge.signature import Signature, Tensor
from tests.modelfiles import answers, noise, tiny_contract

MODEL = {"top_k": 2, "min_bin": 1, "max_bin": 0}


def _runner(contract, change=lambda y: y, *, periods=None, precision="fp32", name="m") -> FunctionRunner:
    def fn(x):
        logits = change(answers(contract, x))
        return logits if periods is None else {LOGITS: logits, "periods": periods(x)}

    return FunctionRunner(
        fn, contract, artifact=name, precision=precision, auxiliary=() if periods is None else ("periods",)
    )


def _chosen(x):
    return mstb.choose_periods(mstb.spectrum(x.transpose(0, 2, 1)), x.shape[2], 2)[0]


def _verdicts(report) -> dict:
    return {check.name: check.passed for check in report.checks}


def test_equal_answers_pass_and_json_holds_the_keys() -> None:
    contract = tiny_contract(model=MODEL)
    windows = noise(contract, 130)
    report = compare(
        _runner(contract, periods=_chosen), _runner(contract, periods=_chosen), windows, batch=64
    )
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert plain["passed"]
    assert plain["identical"]
    assert (plain["n_windows"], plain["top1_agreement"], plain["auxiliary_agreement"]) == (130, 1.0, 1.0)
    assert plain["sqnr_db"] >= 100
    assert {gate["name"] for gate in plain["checks"]} == set(_verdicts(report))
    assert len(to_rows(report)) >= len(report.checks)


@pytest.mark.parametrize(("error_db", "passes"), [(101, True), (99, False)])
def test_the_sqnr_gate_stands_at_100_db(error_db, passes) -> None:
    contract = tiny_contract()
    # Float64 in the fake, since float32 answers are themselves 150 dB from exact only.
    worse = _runner(contract, lambda y: y.astype(np.float64) * (1 + 10 ** (-error_db / 20)))
    report = compare(_runner(contract), worse, noise(contract, 20))
    assert report.sqnr_db == pytest.approx(error_db, abs=0.1)
    assert report.passed is passes
    assert _verdicts(report)["SQNR"] is passes


def test_a_flip_inside_the_tolerance_is_listed_and_one_outside_is_missed() -> None:
    contract = tiny_contract()
    windows = noise(contract, 40)
    base = answers(contract, windows)
    peak = float(np.abs(base).max())

    def close(y):
        y = y.copy()
        y[3] = [1.0, 1.0 + 0.5e-4 * peak]
        return y

    def swap(y, row):
        y = y.copy()
        y[row] = y[row][::-1]
        return y

    report = compare(_runner(contract, close), _runner(contract, lambda y: swap(close(y), 3)), windows)
    (flip,) = report.class_flips
    assert flip["window"] == 3
    assert not flip["decided"]
    assert flip["margin"] < flip["tolerance"]
    assert flip["margin"] == pytest.approx(0.5e-4 * peak, rel=1e-2)
    assert _verdicts(report)["same class, ties aside"] is True
    assert report.top1_agreement == 39 / 40

    report = compare(_runner(contract), _runner(contract, lambda y: swap(y, 5)), windows)
    assert [f["decided"] for f in report.class_flips] == [True]
    assert _verdicts(report)["same class, ties aside"] is False


def test_not_finite_fails_without_breaking_the_report() -> None:
    contract = tiny_contract()
    report = compare(_runner(contract), _runner(contract, lambda y: y * np.nan), noise(contract, 5))
    assert not report.passed
    assert report.sqnr_db is None
    json.dumps(report.to_dict(), allow_nan=False)


def test_constant_answers_decide_nothing() -> None:
    contract = tiny_contract()
    constant = _runner(contract, lambda y: np.ones_like(y))
    report = compare(constant, constant, noise(contract, 5))
    assert report.top1_decided is None
    assert not report.passed


def _tie_windows(contract) -> np.ndarray:
    """Noise, but window 2 holds bins 3 and 5 of equal amplitude behind bin 2."""
    windows = noise(contract, 6)
    t = np.arange(contract.n_times) / contract.n_times
    wave = 4 * np.cos(2 * np.pi * 2 * t) + np.cos(2 * np.pi * 3 * t) + np.cos(2 * np.pi * 5 * t)
    windows[2] = wave.astype(np.float32)
    return windows


def test_near_ties_stand_apart_and_other_period_changes_do_not() -> None:
    contract = tiny_contract(model=MODEL)
    windows = _tie_windows(contract)

    def other(x):  # the order of a window's periods does not count
        periods = _chosen(x)
        periods[2] = [10, 4] if 7 in periods[2] else [10, 7]
        return periods[:, ::-1]

    def garbled(y):
        y = y.copy()
        y[2] = -y[2]
        return y

    a = _runner(contract, periods=_chosen)
    report = compare(a, _runner(contract, garbled, periods=other), windows)
    # The tied window folds otherwise and answers otherwise: shown, and no part of any figure.
    assert report.near_ties == 1
    assert report.auxiliary_agreement == 1.0
    assert [d["window"] for d in report.auxiliary_differences] == [2]
    assert report.passed

    def wrong(x):
        periods = _chosen(x)
        periods[4] = periods[4] + 1
        return periods

    report = compare(a, _runner(contract, periods=wrong), windows)
    assert report.near_ties == 0
    assert report.auxiliary_agreement == pytest.approx(5 / 6)
    assert _verdicts(report)["same periods"] is False
    assert not report.passed


def test_without_periods_every_near_tie_stands_apart() -> None:
    contract = tiny_contract(model=MODEL)
    windows = _tie_windows(contract)
    report = compare(_runner(contract), _runner(contract, periods=_chosen), windows)
    assert report.near_ties == 1
    assert report.auxiliary_agreement is None
    assert _verdicts(report)["same periods"] is None
    assert report.passed
    with pytest.raises(DataError, match="near-tie"):
        compare(_runner(contract), _runner(contract), windows[2:3])


def test_gates_by_precision() -> None:
    assert gate_for("fp64", "fp32") == GATES["fp32"]
    assert gate_for("int8", "fp16") == GATES["int8"]
    assert [g.sqnr_db for g in GATES.values()] == sorted((g.sqnr_db for g in GATES.values()), reverse=True)
    with pytest.raises(ConfigError, match="fp8"):
        gate_for("fp32", "fp8")
    # fp16 counts every window, undecided or not.
    contract = tiny_contract()
    report = compare(_runner(contract), _runner(contract, precision="fp16"), noise(contract, 9))
    assert report.gate.precision == "fp16"
    assert report.n_decided == 9


@pytest.mark.parametrize(
    "changes", [{"n_times": 21}, {"class_names": ("calm", "sad")}, {"ch_names": ("TP9", "AF7", "Fz")}]
)
def test_models_that_do_not_fit_name_both_values(changes) -> None:
    contract = tiny_contract()
    other = dataclasses.replace(contract, **changes)
    (key,) = changes
    with pytest.raises(ContractError) as error:
        check_contracts(_runner(contract), _runner(other))
    for value in (changes[key], getattr(contract, key)):
        text = str(list(value) if isinstance(value, tuple) else value)
        assert text in str(error.value)
    assert error.value.exit_code == 2


def test_other_differences_are_shown() -> None:
    contract = tiny_contract()
    assert check_contracts(_runner(contract), _runner(dataclasses.replace(contract, hop=7))) == ["hop"]


class _Tensors(Runner):
    """A model without a contract: each output is its input twice."""

    kind, precision = "test", "fp32"

    def __init__(self, tensor: Tensor, *outputs: Tensor) -> None:
        self.promise, self.artifact = Signature(tensor, outputs), "mine.onnx"

    def activate(self) -> None:
        pass

    def infer(self, feeds: Arrays) -> Arrays:
        assert list(feeds) == [self.signature.input.name]
        return {tensor.name: 2 * feeds[self.signature.input.name] for tensor in self.signature.outputs}


def test_outputs_of_other_names_cannot_be_compared() -> None:
    contract = tiny_contract()
    signal, logits = contract.signature.input, contract.signature.outputs[0]
    ours, mine = _runner(contract), _Tensors(signal, Tensor("output", logits.dtype, logits.shape))
    for a, b, got in ((ours, mine, "output"), (mine, ours, "logits")):
        with pytest.raises(ContractError, match=rf"different names\n +got: +{got}\n(.|\n)*--channels"):
            compare(a, b, noise(contract, 3))
    named = _Tensors(signal, Tensor("answer", logits.dtype, logits.shape))
    with pytest.raises(ContractError, match=r"different names(.|\n)*forward"):
        check_contracts(mine, named)


def test_logits_of_a_model_without_a_contract_are_its_only_output() -> None:
    x, y, z = (Tensor(name, "float32", (4,)) for name in "xyz")
    values = np.ones((2, 4), np.float32)
    assert (_Tensors(x, y).logits(values) == 2 * values).all()
    with pytest.raises(RunnerError, match=r"model\.infer\(\{'x': x\}\)"):
        _Tensors(x, y, z).logits(values)
