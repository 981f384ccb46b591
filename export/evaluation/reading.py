"""Reports of earlier runs, read back: all that a page and a card need stands in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from mimamba_edge.bench.record_format import Machine
from mimamba_edge.contract import Contract
from mimamba_edge.errors import DataError, MimambaError
from mimamba_edge.export.evaluation.report import SCHEMA, EvaluationReport, Method
from mimamba_edge.export.training.protocol import check_protocol
from mimamba_edge.strict_json import Malformed, convert, read_json

__all__ = ["TIMES", "Bench", "BenchRow", "read_bench", "read_report"]

_T = TypeVar("_T")
TIMES = 32
"""Of the usual bounds: where SEED's 152,055 windows count as trials, 30 predictions of each are 40 MB."""


@dataclass(frozen=True)
class BenchRow:
    """A row of the report of ``bench``, as far as a card tells it."""

    artifact: str
    runner: str
    batch: int
    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None

    @property
    def latencies(self) -> tuple[float, ...]:
        """Return p50, p99 and maximum in milliseconds; nothing where the row was not timed."""
        found = (self.p50_ms, self.p99_ms, self.max_ms)
        return tuple(ms for ms in found if ms is not None) if None not in found else ()


@dataclass(frozen=True)
class Bench:
    """The report of ``bench``, as far as a card tells it."""

    rows: list[BenchRow]
    environment: Machine


@dataclass(frozen=True)
class _Picked:
    """What choosing the epoch on the tested trials would have added, as far as it is shown."""

    mean: float
    difference: float
    method: str
    groups: int
    interval: list[float] | None


def read_bench(path: Path) -> Bench:
    """Read what ``bench --report`` wrote.

    Raises:
        DataError: It is something else.
    """
    return _read(path, "bench", lambda: read_json(path, Bench, closed=False))


def read_report(path: Path) -> EvaluationReport:
    """Read what ``evaluate --report`` wrote.

    Raises:
        DataError: It is something else, of another version, or its parts do not fit together.
    """

    def read() -> EvaluationReport:
        raw = read_json(path, dict[str, Any], times=TIMES)
        raw.pop("made_by", None)
        if raw.get("schema") != SCHEMA:
            raise Malformed(f"schema: another one than {SCHEMA}")
        report = convert(raw, EvaluationReport, times=TIMES)
        _check(report)
        # With all its fields, also those that may be left out of a file.
        return replace(report, contract=Contract.from_dict(report.contract).to_dict())

    return _read(path, "evaluate", read)


def _read(path: Path, verb: str, read: Callable[[], _T]) -> _T:
    try:
        return read()
    except OSError as error:
        raise DataError(f"cannot read {path}", got=error.strerror) from error
    except MimambaError as error:
        problem = error.what if error.got is None else f"{error.what}: {error.got}"
    except Malformed as error:
        problem = str(error)
    raise DataError(
        f"{path} is not a report of `{verb}`",
        got=problem,
        expected=f"what `mimamba-edge {verb} --report FILE` of this version wrote",
        do=f"run `{verb}` again",
    )


def _check(report: EvaluationReport) -> None:
    """Refuse what no evaluation gives.

    Raises:
        Malformed: Parts of the report do not fit together.
        MimambaError: Contract or protocol cannot be used.
    """
    check_protocol(report.protocol)
    convert(report.environment, Machine, closed=False)
    if report.picked_on_test is not None:
        _interval("picked_on_test", convert(report.picked_on_test, _Picked, closed=False).interval)
    if not report.methods or len(report.trials) != report.n_trials:
        raise Malformed("methods, trials: not those of the report's trials")
    first = report.methods[0]
    for one in report.methods:
        _check_method(one, first, report)
    if report.personal is not None:
        if not report.personal.points or report.personal.points[0].minutes != 0:
            raise Malformed("personal.points: the first one is not of 0 minutes")
        for point in report.personal.points:
            _check_intervals(point.scored)


def _check_method(one: Method, first: Method, report: EvaluationReport) -> None:
    _check_intervals(one)
    for which in ("folds", "subjects"):
        names = [[group.name for group in getattr(method, which)] for method in (one, first)]
        if names[0] != names[1]:
            raise Malformed(f"methods: the {which} of {one.name} are others than the first row's")
    lengths, classes = {len(row) for row in one.predicted}, set().union(*one.predicted)
    if not first.subjects or lengths != {report.n_trials} or classes - set(range(len(report.class_names))):
        raise Malformed(f"methods: {one.name} has no prediction for each trial")


def _check_intervals(one: Method) -> None:
    _interval(f"methods: {one.name}", one.balanced_accuracy.interval)
    if not one.balanced_accuracy.seeds:
        raise Malformed(f"methods: {one.name} has no seed")
    if one.against is not None:
        _interval(f"methods: {one.name}: against", one.against.interval)
    if one.calibration is not None:
        for group in (one.calibration.overall, *one.calibration.subjects):
            _interval(f"methods: {one.name}: calibration", group.nll_change.interval)


def _interval(where: str, bounds: list[float] | None) -> None:
    if bounds is not None and not (
        len(bounds) == 2 and bounds[0] <= bounds[1] and max(map(abs, bounds)) < 1e6
    ):
        raise Malformed(f"{where}: interval: not two bounds")
