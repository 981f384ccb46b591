import numpy as np
import pytest

from mimamba_edge.contract import LOGITS, WINDOWS
from mimamba_edge.errors import RunnerError
from mimamba_edge.runtime.function import FunctionRunner, WithAuxiliary
from tests.modelfiles import noise, tiny_contract


def test_a_function_is_a_runner() -> None:
    contract = tiny_contract()
    windows = noise(contract, 3)
    with FunctionRunner(lambda x: x[:, :2, 0], contract, artifact="slice", precision="fp64") as runner:
        assert np.array_equal(runner.logits(windows), windows[:, :2, 0])
    assert (runner.artifact, runner.precision, runner.auxiliary) == ("slice", "fp64", ())


@pytest.mark.parametrize(
    ("fn", "shows"),
    [
        (lambda x: x[:, 0, :3], ()),
        (lambda x: {"other": x}, ()),
        (lambda x: {LOGITS: x[:, 0, :2]}, ("periods",)),
    ],
)
def test_what_a_function_must_return(fn, shows) -> None:
    runner = FunctionRunner(fn, tiny_contract(), auxiliary=shows)
    with pytest.raises(RunnerError, match="did not return"):
        runner.infer({WINDOWS: noise(runner.contract, 2)})


def test_periods_pass_through() -> None:
    def both(x):
        return {LOGITS: x[:, 0, :2], "periods": np.ones((len(x), 3), np.int64)}

    runner = FunctionRunner(both, tiny_contract(), auxiliary=("periods",))
    assert runner.infer({WINDOWS: noise(runner.contract, 2)})["periods"].shape == (2, 3)


@pytest.mark.parametrize(
    "bad",
    [
        lambda x: {WINDOWS: x.astype(np.float64)},
        lambda x: {WINDOWS: x[0]},
        lambda x: {WINDOWS: x[:0]},
        lambda x: {WINDOWS: x[:, :2]},
        lambda x: {"x": x},
        lambda x: {WINDOWS: x, "more": x},
    ],
)
def test_wrong_feeds_are_named(bad) -> None:
    runner = FunctionRunner(lambda x: x[:, 0, :2], tiny_contract())
    with pytest.raises(RunnerError, match="float32"):
        runner.infer(bad(noise(runner.contract, 2)))


def test_logits_of_one_and_periods_of_its_twin() -> None:
    contract = tiny_contract()
    plain = FunctionRunner(lambda x: x[:, 0, :2], contract, artifact="m.onnx", kind="ort")

    def tapped(x):
        return {LOGITS: x[:, 0, :2] + 1, "periods": np.full((len(x), 3), 7)}

    with WithAuxiliary(plain, FunctionRunner(tapped, contract, auxiliary=("periods",))) as both:
        out = both.infer({WINDOWS: noise(contract, 2)})
    assert np.array_equal(out[LOGITS], noise(contract, 2)[:, 0, :2])
    assert (out["periods"] == 7).all()
    assert (both.artifact, both.kind, both.auxiliary) == ("m.onnx", "ort", ("periods",))
