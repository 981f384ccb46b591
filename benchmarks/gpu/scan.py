"""The selective scan alone: ours, mamba_ssm's, a copy of the same bytes, as many exponentials."""

from __future__ import annotations

import functools
from dataclasses import asdict
from typing import Any

from benchmarks.gpu.bench import TOLERANCE, Bench, distance, poisoned, require_close
from benchmarks.gpu.cases import ScanCase, copies
from benchmarks.gpu.timing import Call, per_launch, ratio, summary
from mimamba_edge.errors import GateError
from mimamba_edge.numerics.scan import selective_scan

__all__ = ["measure_scan"]

Tensors = dict[str, Any]
_ROTATED = ("u", "delta", "B", "C", "z")
_SAMPLED = 3
"""Channels checked against the oracle; the others are compared with mamba_ssm's, or must be finite."""
_EXP_LAUNCHES = 16


def draw(bench: Bench, case: ScanCase, sets: int) -> Tensors:
    """Return random tensors in our layout; those that rotate have ``sets`` as their first size.

    Step sizes and decay rates are those that a Mamba starts training with.
    """
    torch, device = bench.torch, bench.device
    kind = getattr(torch, case.dtype)

    def normal(*shape: int, dtype: Any = kind) -> Any:
        return torch.randn(*shape, dtype=dtype, device=device)

    wide = (sets, case.b, case.l, case.d)
    drawn: Tensors = {"u": normal(*wide), "delta": normal(*wide).mul_(0.5)}
    for name in ("B", "C"):
        drawn[name] = normal(sets, case.b, case.l, 1, case.n)
    if case.gated:
        drawn["z"] = normal(*wide)
    rates = torch.arange(1, case.n + 1, dtype=torch.float32, device=device)
    drawn["A"] = -rates.repeat(case.d, 1)
    drawn["D"] = normal(case.d, dtype=torch.float32)
    drawn["delta_bias"] = -4.6 + 2.3 * torch.rand(case.d, dtype=torch.float32, device=device)
    drawn["initial_state"] = torch.zeros(1, case.d, case.n, dtype=torch.float32, device=device)
    return drawn


def one(drawn: Tensors, index: int) -> Tensors:
    """Return the tensors of one launch."""
    return {name: t[index] if name in _ROTATED else t for name, t in drawn.items()}


def in_mamba_ssm_layout(drawn: Tensors) -> Tensors:
    """Return the same numbers as mamba_ssm lays them out: ``(b, d, l)`` and ``(b, g, n, l)``."""
    turned: Tensors = {}
    for name in ("u", "delta", "z"):
        if name in drawn:
            turned[name] = drawn[name].transpose(-1, -2)
    for name in ("B", "C"):
        turned[name] = drawn[name].movedim(-3, -1)
    rest = {name: drawn[name] for name in ("A", "D", "delta_bias")}
    return {name: t.contiguous() for name, t in turned.items()} | rest


def run_ours(bench: Bench, t: Tensors) -> tuple[Any, Any]:
    """Launch our kernel: ``y (b, l, d)`` and the last state."""
    names = ("u", "delta", "A", "B", "C", "D", "delta_bias", "initial_state")
    result: tuple[Any, Any] = bench.kernels.selective_scan(*(t[k] for k in names), t.get("z"), True, False)
    return result


def verify(bench: Bench, case: ScanCase, drawn: Tensors, turned: Tensors | None, index: int) -> Tensors:
    """Return the relative errors of one set, ours and mamba_ssm's, against the float64 oracle.

    Raises:
        GateError: One is too large, or a number is missing.
    """
    torch, t = bench.torch, one(drawn, index)
    batch = int(torch.randint(case.b, ()))
    channels = torch.randint(case.d, (_SAMPLED,)).to(bench.device)

    def part(name: str) -> Any:
        x = t[name]
        x = x[batch : batch + 1] if name in _ROTATED else x
        axis = {"u": 2, "delta": 2, "z": 2, "initial_state": 1}.get(name, 0)
        return (x if name in ("B", "C") else x.index_select(axis, channels)).double().cpu().numpy()

    names = ("u", "delta", "A", "B", "C", "D", "delta_bias", "initial_state")
    gate = part("z") if case.gated else None
    wanted, end = selective_scan(**{name: part(name) for name in names}, z=gate, delta_softplus=True)
    with poisoned(torch):
        y, last = run_ours(bench, t)
        theirs = bench.mamba_ssm.call(one(turned, index))[0] if bench.mamba_ssm and turned else None
    tolerance = TOLERANCE[case.dtype]
    sampled = y[batch : batch + 1].index_select(2, channels).double().cpu().numpy()
    state = last[batch : batch + 1].index_select(1, channels).double().cpu().numpy()
    errors = {
        "ours": require_close(f"our scan ({case})", distance(sampled, wanted), tolerance),
        "state": require_close(f"our last state ({case})", distance(state, end), TOLERANCE["float32"]),
    }
    if not bool(torch.isfinite(y).all()):
        raise GateError(f"our scan ({case}) left values unwritten or not finite")
    if theirs is not None:
        sampled = theirs[batch : batch + 1].index_select(1, channels).transpose(1, 2)
        error = distance(sampled.double().cpu().numpy(), wanted)
        errors["mamba_ssm"] = require_close(f"mamba_ssm's scan ({case})", error, tolerance)
        apart = (y.float() - theirs.transpose(1, 2)).norm() / theirs.float().norm()
        errors["apart"] = require_close(f"our scan beside mamba_ssm's ({case})", float(apart), 2 * tolerance)
    return errors


def measure_scan(bench: Bench, case: ScanCase) -> dict[str, Any]:
    """Verify one case, time it, and return its row of the record.

    Raises:
        GateError: An output is wrong.
    """
    row: dict[str, Any] = {**asdict(case), "bytes": case.bytes, "exps": case.exps}
    sets = copies(case.bytes, bench.cache_bytes)
    wanted = sets * case.bytes * (3.5 if bench.mamba_ssm else 2.5)
    if wanted > bench.free_bytes():
        return {**row, "why_not": f"needs {wanted / 1e9:.1f} GB of device memory"}
    torch, mamba_ssm = bench.torch, bench.mamba_ssm
    drawn = draw(bench, case, sets)
    turned = in_mamba_ssm_layout(drawn) if mamba_ssm else None
    checked = [verify(bench, case, drawn, turned, index) for index in sorted({0, sets - 1})]

    half = -(-case.bytes // 32) * 16
    source, target = (torch.ones(sets, half, dtype=torch.uint8, device=bench.device) for _ in range(2))
    each = range(sets)
    calls: dict[str, list[Call]] = {
        "ours": [functools.partial(run_ours, bench, one(drawn, i)) for i in each],
        "copy": [functools.partial(bench.roofs.copy, source[i], target[i]) for i in each],
        "exp": [functools.partial(bench.roofs.exps, case.exps)] * _EXP_LAUNCHES,
    }
    if mamba_ssm and turned:
        calls["mamba_ssm"] = [functools.partial(mamba_ssm.call, one(turned, i)) for i in each]
    runs = {name: bench.timer.capture(listed) for name, listed in calls.items()}
    counts = {name: len(listed) for name, listed in calls.items()}
    samples = per_launch(bench.timer, runs, counts, bench.rounds)
    roof = [max(pair) for pair in zip(samples["copy"], samples["exp"], strict=True)]
    return {
        **row,
        "sets": sets,
        "errors": {key: max(c[key] for c in checked) for key in checked[0]},
        **{name: summary(taken) for name, taken in samples.items()},
        "against_mamba_ssm": ratio(samples["ours"], samples["mamba_ssm"]) if mamba_ssm else None,
        "share_of_roof": ratio(roof, samples["ours"]),
    }
