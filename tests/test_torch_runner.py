"""Runners of a checkpoint: the three torch forms agree with the oracle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from mimamba_edge.contract import LOGITS, WINDOWS, Contract, Scaling  # noqa: E402
from mimamba_edge.errors import RunnerError  # noqa: E402
from mimamba_edge.export.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from mimamba_edge.export.families.msimamba.network import MSiMamba  # noqa: E402
from mimamba_edge.export.runner import OracleRunner, TorchRunner  # noqa: E402

_CONTRACT = Contract(
    ch_names=("TP9", "AF7"),
    sfreq=128.0,
    n_times=32,
    hop=16,
    class_names=("calm", "tense"),
    scaling=Scaling("none"),
)


def _model() -> MSiMamba:
    torch.manual_seed(0)
    return MSiMamba(2, 32, 2, 128.0, d_model=8, n_layers=1, d_state=2, d_ff=2, n_kernels=2, top_k=1)


def _windows(b: int) -> Any:
    return np.random.default_rng(0).normal(size=(b, 2, 32)).astype(np.float32)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "ckpt.pt", _model(), _CONTRACT)
    return tmp_path / "ckpt.pt"


@pytest.mark.parametrize("mode", ["eager", "parallel"])
def test_agrees_with_the_oracle(checkpoint: Path, mode: str) -> None:
    windows = _windows(7)
    with TorchRunner(checkpoint, mode) as runner, OracleRunner(checkpoint) as oracle:
        outputs, expected = runner.infer({WINDOWS: windows}), oracle.infer({WINDOWS: windows})
        assert outputs[LOGITS].dtype == np.float32
        np.testing.assert_allclose(outputs[LOGITS], expected[LOGITS], rtol=1e-4, atol=1e-5)
        assert ("periods" in outputs) == bool(runner.auxiliary) == (mode == "eager")
        assert oracle.auxiliary == ("periods",)
        if runner.auxiliary:
            np.testing.assert_array_equal(outputs["periods"], expected["periods"])
        assert runner.kind == f"torch-{mode}"
        assert runner.artifact == oracle.artifact == str(checkpoint)
        assert runner.contract == oracle.contract


@pytest.mark.slow
def test_compiled_agrees_with_eager() -> None:
    windows = _windows(3)
    with TorchRunner((_model(), _CONTRACT), "compile") as runner, TorchRunner((_model(), _CONTRACT)) as eager:
        np.testing.assert_allclose(runner.logits(windows), eager.logits(windows), rtol=1e-4, atol=1e-5)
    torch._dynamo.reset()


def test_a_missing_compiler_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise torch._dynamo.exc.InternalTorchDynamoError(RuntimeError("no compiler\nmore"))

    monkeypatch.setattr(torch, "compile", lambda model: fails)
    with TorchRunner((_model(), _CONTRACT), "compile") as runner, pytest.raises(RunnerError, match=r"C\+\+"):
        runner.logits(_windows(1))


def test_the_oracle_takes_a_checkpoint_that_is_open(checkpoint: Path) -> None:
    with OracleRunner(load_checkpoint(checkpoint)) as oracle, OracleRunner(checkpoint) as same:
        feeds = {WINDOWS: _windows(2)}
        np.testing.assert_array_equal(oracle.infer(feeds)[LOGITS], same.infer(feeds)[LOGITS])


def test_the_oracle_answers_long_batches_in_order(checkpoint: Path) -> None:
    windows = _windows(131)
    with OracleRunner(checkpoint) as oracle:
        outputs = oracle.infer({WINDOWS: windows})
        last = oracle.infer({WINDOWS: windows[-1:]})
    for name in (LOGITS, "periods"):
        assert len(outputs[name]) == 131
        np.testing.assert_allclose(outputs[name][-1:], last[name], rtol=1e-12)


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    with TorchRunner((_model(), _CONTRACT), threads=before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_an_exported_runner_does_not_follow_the_model() -> None:
    model = _model()
    with TorchRunner((model, _CONTRACT)) as runner:
        before = runner.logits(_windows(2))
        with torch.no_grad():
            model.final_layer.bias += 1
        np.testing.assert_array_equal(runner.logits(_windows(2)), before)


def test_misuse_is_refused(checkpoint: Path) -> None:
    with pytest.raises(RunnerError, match="unknown mode"):
        TorchRunner(checkpoint, "jit")
    runner = TorchRunner(checkpoint)
    with pytest.raises(RunnerError, match="not active"):
        runner.infer({WINDOWS: _windows(1)})
    with runner, pytest.raises(RunnerError, match="do not fit"):
        runner.infer({WINDOWS: _windows(1)[:, :, :31]})
    with OracleRunner(checkpoint) as oracle, pytest.raises(RunnerError, match="do not fit"):
        oracle.infer({WINDOWS: _windows(1).astype(np.float64)})
