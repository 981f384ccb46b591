"""The verdict on a candidate's answers, by a reference's answers for the same windows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.contract import LOGITS, Contract, Promise
from mimamba_edge.errors import ContractError, DataError
from mimamba_edge.family import Family, family_of
from mimamba_edge.numerics import metrics
from mimamba_edge.parity.gates import Gate
from mimamba_edge.runtime.base import Arrays, Runner
from mimamba_edge.signature import Signature

__all__ = ["Check", "Parity", "check_contracts", "compare_outputs", "missed", "to_rows", "verdict"]

_MUST_AGREE = ("ch_names", "sfreq", "n_times", "class_names")
OTHERS_DB = 90.0
"""Asked of an fp32 model of others, whose depth is not known: 50 Mamba blocks add up their roundings."""
_IDENTICAL_DB = 400.0
"""Stands in JSON, which knows no infinity, for the ratio of two outputs that are equal bit for bit."""


@dataclass(frozen=True)
class Check:
    """One line of the verdict: a value, the bound it is held to, and whether it holds (``None``: not run)."""

    name: str
    value: str
    bound: str
    passed: bool | None


@dataclass(frozen=True)
class Parity:
    """How far a candidate's answers are from the reference's.

    Attributes:
        n_windows: Windows compared, with those that stand apart as near-ties.
        finite: Whether all logits of both are finite; if not, the distances are ``None``.
        identical: Whether the logits are equal bit for bit.
        sqnr_db: See :func:`mimamba_edge.numerics.metrics.sqnr_db`.
        max_rel_err: Largest error relative to the largest reference logit.
        mean_kl: Of the class probabilities, in nats.
        top1_agreement: Share of the windows with the same class, those that stand apart left out; ``None`` of
            a model of tensors, which has no classes.
        top1_decided: Share of the decided windows with the same class; ``None`` if none is decided.
        n_decided: Windows whose margin exceeds the gate's tolerance.
        class_flips: Windows with another class: index, both classes, margin, tolerance, decided.
        auxiliary_agreement: Share of windows with the same auxiliary outputs, near-ties that differ left out;
            0 if their shapes differ; ``None`` if a runner does not show them.
        near_ties: Windows whose auxiliary outputs differ and which are near-ties.
        auxiliary_differences: Windows whose auxiliary outputs differ: index, both, the relative gap, near-tie
            or not.
        gate: The bounds.
        checks: The verdict, line by line.
    """

    n_windows: int
    finite: bool
    identical: bool
    sqnr_db: float | None
    max_rel_err: float | None
    mean_kl: float | None
    top1_agreement: float | None
    top1_decided: float | None
    n_decided: int
    class_flips: list[dict[str, Any]]
    auxiliary_agreement: float | None
    near_ties: int
    auxiliary_differences: list[dict[str, Any]]
    gate: Gate
    checks: list[Check] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(check.passed is not False for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "checks"}
        plain["gate"] = self.gate.to_dict()
        plain["checks"] = [vars(check) for check in self.checks]
        return {"passed": self.passed, **plain}


def verdict(parity: Parity, name: str) -> str:
    """Return why a file that an export made is not published, check by check."""
    lines = [
        f"    {'missed' if check.passed is False else 'ok':8}{check.name:28}{check.value:28}{check.bound}"
        for check in parity.checks
    ]
    return f"{name} does not match the model; nothing was written\n" + "\n".join(lines)


def check_contracts(a: Runner, b: Runner) -> list[str]:
    """Check that two models take the same windows and name the same classes.

    Returns:
        Other fields of the signal path in which they differ, for people to see.

    Raises:
        ContractError: They take other windows or name other classes; both values are named.
    """
    if isinstance(a.promise, Signature) or isinstance(b.promise, Signature):
        _check_signatures(a, b)
        return []
    one, two = a.contract.to_dict(), b.contract.to_dict()
    differing = [key for key in _MUST_AGREE if one[key] != two[key]]
    if differing:
        raise ContractError(
            f"{b.artifact} cannot be compared with {a.artifact}: their contracts differ in "
            f"{', '.join(differing)}",
            got={key: two[key] for key in differing},
            expected={key: one[key] for key in differing},
            do="compare artefacts that were made from the same model",
        )
    shown = ("reference", "filters", "mains_hz", "resampler", "scaling", "temperature", "hop")
    return [key for key in shown if one[key] != two[key]]


def _check_signatures(a: Runner, b: Runner) -> None:
    tensors = [[str(t) for t in (r.signature.input, *r.signature.outputs)] for r in (a, b)]
    names = [", ".join(t.name for t in r.signature.outputs) for r in (a, b)]
    if tensors[0] == tensors[1] and names[0] != names[1]:
        one_has_contract = isinstance(a.promise, Signature) != isinstance(b.promise, Signature)
        raise ContractError(
            f"{b.artifact} cannot be compared with {a.artifact}: their outputs have different names",
            got=names[1],
            expected=names[0],
            do="export both in the same way: both with --channels, --sfreq and --classes, or both without"
            if one_has_contract
            else "let forward return its tensors under the same names, and export again",
        )
    if tensors[0] != tensors[1]:
        raise ContractError(
            f"{b.artifact} cannot be compared with {a.artifact}: their tensors differ",
            got=", ".join(tensors[1]),
            expected=", ".join(tensors[0]),
            do="compare artefacts that were made from the same model",
        )


def compare_outputs(
    ref: Arrays, got: Arrays, windows: NDArray[np.float32], contract: Promise, gate: Gate
) -> Parity:
    """Judge outputs that are already there (see :mod:`mimamba_edge.parity.verify`).

    Of a model without a contract every output is held to the ratio.

    A near-tie is a window that has another, equally right answer (see
    :meth:`mimamba_edge.family.Family.tie_gaps`). Such windows are counted and left out of every figure: where
    both runners show their auxiliary outputs, those that chose differently; else all of them.

    Raises:
        DataError: Nothing is left to compare.
    """
    if isinstance(contract, Signature):
        return _compare_tensors(ref, got, contract, gate)
    family = family_of(contract)
    gate = gate if family.has_code else _of_others(gate)
    apart, differences = _near_ties(ref, got, windows, contract, gate)
    kept = np.flatnonzero(~apart)
    if not kept.size:
        raise DataError(
            "every window has a near-tie of two answers, so nothing can be compared",
            got=f"{len(windows)} windows",
            do="use windows of real signals",
        )
    a, b = ref[LOGITS][kept], got[LOGITS][kept]
    finite = metrics.all_finite(a, b)
    sqnr = metrics.sqnr_db(a, b)
    with np.errstate(invalid="ignore"):  # infinite logits: `finite` tells
        margin = metrics.margins(a)
    tolerance = gate.margin_rtol * float(np.abs(a).max()) if finite else math.nan
    decided, same = margin > tolerance, a.argmax(axis=1) == b.argmax(axis=1)
    flips = [
        {
            "window": int(kept[i]),
            "reference": contract.class_names[int(a[i].argmax())],
            "candidate": contract.class_names[int(b[i].argmax())],
            "margin": _number(margin[i]),
            "tolerance": _number(tolerance),
            "decided": bool(decided[i]),
        }
        for i in np.flatnonzero(~same)
    ]
    shown = _both_show(family, ref, got)
    other = _other_shapes(family, ref, got) if shown else []
    wrong = len(kept) if other else sum(not d["near_tie"] for d in differences)
    parity = Parity(
        n_windows=len(windows),
        finite=finite,
        identical=sqnr == math.inf,
        sqnr_db=_number(min(max(sqnr, -_IDENTICAL_DB), _IDENTICAL_DB)) if finite else None,
        max_rel_err=_number(metrics.max_rel_err(a, b)) if finite else None,
        mean_kl=_number(metrics.mean_kl(a, b)) if finite else None,
        top1_agreement=float(same.mean()),
        top1_decided=float(same[decided].mean()) if decided.any() else None,
        n_decided=int(decided.sum()),
        class_flips=flips,
        auxiliary_agreement=1 - wrong / len(kept) if shown else None,
        near_ties=int(apart.sum()),
        auxiliary_differences=differences,
        gate=gate,
    )
    parity.checks.extend(_checks(parity))
    if family.auxiliary:
        parity.checks.append(_auxiliary_check(parity, family, "; ".join(other)))
    return parity


def _of_others(gate: Gate) -> Gate:
    return dataclasses.replace(gate, sqnr_db=min(gate.sqnr_db, OTHERS_DB))


def _compare_tensors(ref: Arrays, got: Arrays, signature: Signature, gate: Gate) -> Parity:
    """Judge outputs that name no classes: each by its own ratio, the worst counts.

    Whole numbers and truth values must be equal.
    """
    worst, finite, largest = math.inf, True, 0.0
    for tensor in signature.outputs:
        a, b = ref[tensor.name], got[tensor.name]
        if tensor.dtype != "float32":
            worst = worst if np.array_equal(a, b) else -math.inf
            continue
        finite = finite and metrics.all_finite(a, b)
        worst = min(worst, metrics.sqnr_db(a, b)) if finite else -math.inf
        largest = max(largest, metrics.max_rel_err(a, b)) if finite else math.inf
    parity = Parity(
        n_windows=len(next(iter(ref.values()))),
        finite=finite,
        identical=worst == math.inf,
        sqnr_db=_number(min(max(worst, -_IDENTICAL_DB), _IDENTICAL_DB)) if finite else None,
        max_rel_err=_number(largest),
        mean_kl=None,
        top1_agreement=None,
        top1_decided=None,
        n_decided=0,
        class_flips=[],
        auxiliary_agreement=None,
        near_ties=0,
        auxiliary_differences=[],
        gate=_of_others(gate),
    )
    parity.checks.extend(_checks(parity)[:2])
    return parity


def _both_show(family: Family, ref: Arrays, got: Arrays) -> bool:
    return bool(family.auxiliary) and all(name in ref and name in got for name in family.auxiliary)


def _other_shapes(family: Family, ref: Arrays, got: Arrays) -> list[str]:
    """Return, in words, which auxiliary outputs hold another number of values for a window."""
    sizes = ((name, got[name].shape[1:], ref[name].shape[1:]) for name in family.auxiliary)
    return [
        f"{math.prod(ours)} a window, the reference {math.prod(right)}"
        for name, ours, right in sizes
        if ours != right
    ]


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _near_ties(
    ref: Arrays, got: Arrays, windows: NDArray[np.float32], contract: Contract, gate: Gate
) -> tuple[NDArray[np.bool_], list[dict[str, Any]]]:
    """Return which windows stand apart ``(n,)`` and how those differ whose auxiliary outputs both show."""
    family, n = family_of(contract), len(windows)
    suspects, compared = np.arange(n), dict[str, tuple[NDArray[Any], NDArray[Any]]]()
    if _both_show(family, ref, got):
        if _other_shapes(family, ref, got):
            return np.zeros(n, dtype=np.bool_), []  # no near-tie explains that
        compared = {
            name: (family.compared(name, ref[name]), family.compared(name, got[name]))
            for name in family.auxiliary
        }
        differ = [(a != b).reshape(n, -1).any(axis=1) for a, b in compared.values()]
        suspects = np.flatnonzero(np.any(differ, axis=0))
    gaps = family.tie_gaps(windows[suspects], contract.model) if suspects.size else np.zeros(0)
    near = gaps < gate.tie_gap
    apart = np.zeros(n, dtype=np.bool_)
    apart[suspects] = near
    if not compared:
        return apart, []
    return apart, [
        {
            "window": int(i),
            "reference": {name: a[i].tolist() for name, (a, _) in compared.items()},
            "candidate": {name: b[i].tolist() for name, (_, b) in compared.items()},
            "gap": _number(gap),
            "near_tie": bool(tie),
        }
        for i, gap, tie in zip(suspects, gaps, near, strict=True)
    ]


def _checks(p: Parity) -> list[Check]:
    gate = p.gate
    ratio = "not finite" if p.sqnr_db is None else f"{p.sqnr_db:.1f} dB"
    classes = "every window is a tie" if p.top1_decided is None else f"{p.top1_decided:.2%} of {p.n_decided}"
    return [
        Check("finite", "all" if p.finite else "not all", "all", p.finite),
        Check(
            "SQNR",
            "equal bit for bit" if p.identical else ratio,
            f">= {gate.sqnr_db:g} dB",
            p.sqnr_db is not None and p.sqnr_db >= gate.sqnr_db,
        ),
        Check(
            "same class, ties aside",
            classes,
            f">= {gate.top1:.1%}; tie: two classes within {gate.margin_rtol:g} max |logit|",
            p.top1_decided is not None and p.top1_decided >= gate.top1,
        ),
    ]


def missed(checks: Iterable[Check], *, values: bool = False) -> str:
    """Return the names of the checks that failed, with value and bound if wanted, for one line of text."""
    failed = [check for check in checks if check.passed is False]
    if not values:
        return ", ".join(check.name for check in failed)
    return "; ".join(f"{check.name}: {check.value}, bound {check.bound}" for check in failed)


def _auxiliary_check(p: Parity, family: Family, other: str) -> Check:
    share = "not given by both" if p.auxiliary_agreement is None else f"{p.auxiliary_agreement:.2%}"
    return Check(
        f"same {', '.join(family.auxiliary)}",
        other or f"{share}, {p.near_ties} windows with near-ties left out",
        f"100%; near-tie: two strengths within {p.gate.tie_gap:g}",
        None if p.auxiliary_agreement is None else p.auxiliary_agreement == 1.0,
    )


def to_rows(p: Parity) -> list[tuple[str, str, str, str]]:
    """Return the report as rows of a table: check, value, bound, verdict."""
    verdicts = {True: "passed", False: "missed", None: "not run"}
    rows = [(c.name, c.value, c.bound, verdicts[c.passed]) for c in p.checks]
    figures = (
        ("same class, all windows", p.top1_agreement, "{:.2%}"),
        ("max |err| / max |ref|", p.max_rel_err, "{:.2e}"),
        ("mean KL", p.mean_kl, "{:.2e} nats"),
    )
    shown = [(name, form.format(value), "", "") for name, value, form in figures if value is not None]
    return rows + shown
