"""The whole network: against the oracle, in its fused, frozen, parallel, compiled and exported forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.torch, pytest.mark.slow]

from mimamba_edge.errors import ConfigError  # noqa: E402
from mimamba_edge.export.families.msimamba.network import MSiMamba  # noqa: E402
from mimamba_edge.export.families.msimamba.oracle import msimamba  # noqa: E402
from mimamba_edge.numerics.mstb import period_gap, spectrum  # noqa: E402

_SMALL = {"d_model": 16, "n_layers": 1, "d_state": 4, "d_ff": 3, "n_kernels": 3}


def _model(n_chans: int = 4, n_times: int = 64, seed: int = 0, **options: Any) -> MSiMamba:
    torch.manual_seed(seed)
    model = MSiMamba(n_chans, n_times, 3, 128.0, **options)
    for parameter in model.parameters():  # no zeros or ones that would hide a mistake
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model


def _windows(b: int, n_chans: int = 4, n_times: int = 64, seed: int = 1) -> Any:
    return torch.randn(b, n_chans, n_times, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("n_chans", "n_times", "options"),
    [
        (4, 128, {}),
        (1, 32, {**_SMALL, "top_k": 8, "n_kernels": 1, "d_conv": 1}),
        (5, 65, {**_SMALL, "bidirectional": True, "weighting": "softmax", "amplitude_scale": 0.1}),
        (128, 33, {**_SMALL, "min_bin": 3, "max_bin": 9, "n_kernels": 8}),
        (3, 4096, {**_SMALL, "n_layers": 2, "d_ff": 2, "dt_rank": 3}),
    ],
)
def test_equals_the_oracle_in_every_form(n_chans: int, n_times: int, options: dict[str, Any]) -> None:
    model = _model(n_chans, n_times, **options).eval()
    x = _windows(2, n_chans, n_times)
    config = model.config.to_dict()
    gap = period_gap(
        spectrum(x.numpy().transpose(0, 2, 1)), config["top_k"], config["min_bin"], config["max_bin"]
    )
    assert gap.min() > 1e-5, "the test's windows must not be near-ties"
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    expected = msimamba(x.numpy(), state, config)
    scale = np.abs(expected["logits"]).max()
    for form in (model, model.frozen(), model.plain()):
        with torch.no_grad():
            logits = form(x).numpy()
        assert np.abs(logits - expected["logits"]).max() < 2e-5 * scale
        np.testing.assert_array_equal(form.periods(x), expected["periods"])


def test_the_same_seed_gives_the_same_model() -> None:
    one, same, other = (_model(seed=s, **_SMALL).state_dict() for s in (3, 3, 4))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_gradients_reach_every_parameter_and_equal_the_plain_forms() -> None:
    x = _windows(3)
    grads = []
    for plain in (False, True):
        model = _model(**_SMALL, bidirectional=True, dropout=0.0)
        if plain:
            model.mstb.convolution = "parallel"
            model.tsfb.layers[0].mamba.plain_scan = True
        model(x).logsumexp(1).sum().backward()
        grads.append({name: p.grad for name, p in model.named_parameters()})
    for name, grad in grads[0].items():
        assert grad is not None, name
        assert grad.abs().max() > 0, name
        torch.testing.assert_close(grad, grads[1][name], rtol=1e-3, atol=1e-4, msg=name)


def test_a_window_answers_the_same_alone_and_in_a_batch() -> None:
    model = _model().eval()
    x = _windows(32)
    with torch.no_grad():
        together = model(x)
        alone = torch.cat([model(window[None]) for window in x])
    torch.testing.assert_close(alone, together, rtol=1e-5, atol=1e-5)


def test_batch_periods_are_shared_in_training_only() -> None:
    x = _windows(6)
    model = _model(**_SMALL, period_selection="batch", dropout=0.0)
    shared = model.mstb.choose(x.transpose(1, 2), across_batch=True)[0]
    mean = spectrum(x.numpy().transpose(0, 2, 1)).mean(0)
    bins = 1 + np.argsort(-mean[1:])[:3]
    assert shared.tolist() == [(-(-64 // bins)).tolist()] * 6
    trained = model(x)
    model.mstb.convolution = "parallel"
    torch.testing.assert_close(model(x), trained, rtol=1e-4, atol=1e-5)
    model.mstb.convolution = "fused"
    evaluated = model.eval()(x)
    assert (evaluated - trained).abs().max() > 1e-3
    per_window = _model(**_SMALL, dropout=0.0).eval()
    torch.testing.assert_close(per_window(x), evaluated)


def test_fused_kernel_equals_the_parallel_ones() -> None:
    model = _model().double().eval()
    x = _windows(4).double()
    fused = model(x)
    model.mstb.convolution = "parallel"
    torch.testing.assert_close(model(x), fused, rtol=1e-10, atol=1e-10)
    assert model.mstb.msp1.fused()[0].shape == (32, 4, 11, 11)


def test_frozen_copies_leave_the_model_alone() -> None:
    model = _model(**_SMALL)
    names = set(model.state_dict())
    frozen = model.frozen()
    assert set(frozen.state_dict()) == names == set(model.plain().state_dict())
    assert model.training
    assert not frozen.training
    x = _windows(2)
    before = frozen(x)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(frozen(x), before)
    assert not model(x).any()


@pytest.mark.parametrize("training", [False, True])
def test_compiles_as_one_graph(training: bool) -> None:
    # aot_eager traces forward and backward as inductor does and leaves out only the code generation.
    model = _model(**_SMALL, bidirectional=True, dropout=0.0).train(training)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager", dynamic=True)
    for b in (2, 5):
        x = _windows(b)
        expected = model(x)
        y = compiled(x)
        torch.testing.assert_close(y, expected)
        if training:
            ours = torch.autograd.grad(y.sum(), list(model.parameters()))
            theirs = torch.autograd.grad(expected.sum(), list(model.parameters()))
            for a, b_ in zip(ours, theirs, strict=True):
                torch.testing.assert_close(a, b_)
    torch._dynamo.reset()


def test_exports_with_a_dynamic_batch_and_one_node_an_op() -> None:
    model = _model(**{**_SMALL, "n_layers": 2}, bidirectional=True).frozen()
    batch = torch.export.Dim("b", min=1, max=4096)
    program = torch.export.export(model, (_windows(3),), dynamic_shapes=({0: batch},))
    called = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert called.count("mimamba.multi_scale_temporal_block.default") == 1
    assert called.count("mimamba.selective_scan.default") == 4
    assert not any(word in name for name in called for word in ("exp", "stack", "flip", "mean"))
    for b in (1, 7):
        torch.testing.assert_close(program.module()(_windows(b)), model(_windows(b)))


def test_wrong_windows_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"\(b, 4, 64\)"):
        _model(**_SMALL)(_windows(2, 4, 65))
    model = _model(**_SMALL)
    model.mstb.convolution = "other"
    with pytest.raises(ConfigError, match="fused or parallel"):
        model(_windows(1))


def test_a_window_that_does_not_move_gives_finite_logits_and_gradients() -> None:
    model = _model(**_SMALL)
    x = torch.full((2, 4, 64), 0.3).requires_grad_()
    model(x).sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert model.periods(x).tolist() == [[64, 32, 22]] * 2
