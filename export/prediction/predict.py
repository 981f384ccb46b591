"""What ``predict`` does: scores recordings as independent jobs, writes one table, tells how it ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mimamba_edge import __version__
from mimamba_edge.artifact import sha256_file
from mimamba_edge.contract import Contract
from mimamba_edge.errors import DataError, MimambaError, listed
from mimamba_edge.export.jobs.results import Results, content_key
from mimamba_edge.export.jobs.run import Engine, each_result
from mimamba_edge.export.prediction.recordings import Recordings
from mimamba_edge.export.prediction.scoring import score_recording
from mimamba_edge.export.prediction.table import Cells, cells_of, columns_of, write
from mimamba_edge.load import load_model
from mimamba_edge.profile import contract_sha256
from mimamba_edge.runtime.base import Runner
from mimamba_edge.stream.names import check_map
from mimamba_edge.stream.options import StreamOptions

__all__ = ["Outcome", "Task", "predict"]

_BLOCK = 1024
"""Decisions that become rows together: with many channels one takes ten times the memory of its row."""


@dataclass(frozen=True)
class Task:
    """What is to be scored, by what and how.

    Attributes:
        model: The model, as :func:`mimamba_edge.load.load_model` takes it.
        where: The recordings, see :class:`mimamba_edge.export.prediction.recordings.Recordings`.
        options: As of a stream.
        provider: Runs an ``.onnx``.
        batch: Windows at a time, see :func:`mimamba_edge.export.prediction.scoring.score_recording`.
    """

    model: str
    where: str
    options: StreamOptions = field(default_factory=StreamOptions)
    provider: str = "cpu"
    batch: int = 1


@dataclass(frozen=True)
class Scored:
    """What became of a recording.

    Attributes:
        cells: Its rows; none where it failed.
        failure: Why it could not be scored; empty where it was.
    """

    cells: Cells = ()
    failure: str = ""


@dataclass(frozen=True)
class Outcome:
    """How it ended.

    Attributes:
        recordings: Number of those that were scored.
        windows: Number of rows.
        no_decision: Number of windows without a decision, by reason.
        failures: Why a recording could not be scored, by name.
    """

    recordings: int
    windows: int
    no_decision: dict[str, int]
    failures: dict[str, str]

    def __str__(self) -> str:
        without = ", ".join(f"{n} {reason}" for reason, n in self.no_decision.items())
        decided = self.windows - sum(self.no_decision.values())
        return f"{self.recordings} recordings, {self.windows} windows: {decided} decided" + (
            f", no decision on {self.windows - decided} ({without})" if without else ""
        )


class _Kept(Results[Scored]):
    """Results of recordings; one that failed is tried again."""

    def save(self, number: int, result: Scored) -> None:
        if not result.failure:
            super().save(number, result)


def predict(
    task: Task,
    out: Path,
    names: Sequence[str],
    engine: Engine | None = None,
    *,
    done: Callable[[], None] = lambda: None,
) -> Outcome:
    """Score recordings and write the table of all their windows.

    Args:
        task: What is scored, and how.
        out: Where the table goes.
        names: Of the recordings, see :meth:`mimamba_edge.export.prediction.recordings.Recordings.names`.
        engine: Where they are scored; by default on all cores, on a GPU one at a time.
        done: Called after each recording.

    Raises:
        DataError: None of them could be scored; nothing is written then.
        MimambaError: The model cannot be used, or the table not be written.
    """
    contract = load_model(task.model, provider=task.provider).contract
    model = Path(task.model.removeprefix("oracle:"))
    sha256 = sha256_file(model)
    check_map(task.options.channel_map, contract.ch_names)
    task.options.effective(contract, sha256)
    if engine is None and (task.provider != "cpu" or model.suffix == ".plan" or find_spec("joblib") is None):
        engine = Engine(jobs=1)
    told = {
        "made_by": f"mimamba-edge {__version__}",
        "model": model.name,
        "model_sha256": sha256,
        "contract_sha256": contract_sha256(contract),
        **_told(task),
    }
    results = _Kept(Scored, [content_key(told, _hash(task, name)) for name in names])
    ended: dict[int, _Ended] = {}
    held: dict[int, Scored] = {}
    try:
        with closing(each_result(_score, task, names, engine=engine, results=results)) as scored:
            for i, one in scored:
                ended[i] = _ended(one, contract)
                if results.folder is None:
                    held[i] = one  # only then: all rows may be more than the memory
                done()
        outcome = _outcome({name: ended[i] for i, name in enumerate(names)})
        if not outcome.recordings:
            raise DataError(
                f"none of the {len(names)} recordings of {task.where} could be scored",
                got=listed(outcome.failures.values(), most=3),
            )
        found = (
            (name, held.get(i) or results.load(i) or _score(task, name))
            for i, name in enumerate(names)
            if name not in outcome.failures
        )
        write(out, contract, ((name, _rows(one, name)) for name, one in found), told)
    finally:
        _release()
    results.clear()
    return outcome


def _rows(scored: Scored, name: str) -> Cells:
    """Return the rows of a recording. It may be gone, where another run has removed its result.

    Raises:
        DataError: It has none any more.
    """
    if scored.failure:
        raise DataError(f"{name} was scored, and cannot be any more", got=scored.failure)
    return scored.cells


def _told(task: Task) -> dict[str, Any]:
    """Return what was chosen, as far as it changes the rows; JSON-ready."""
    options = task.options
    return {
        "provider": task.provider,
        "batch": task.batch,
        "channel_map": dict(options.channel_map),
        "mains_hz": options.mains_hz,
        "smooth_s": options.smooth_s,
        "hysteresis": options.hysteresis,
        "profile": None if options.profile is None else asdict(options.profile),
    }


def _hash(task: Task, name: str) -> str:
    try:
        return _recordings(task.where).sha256(name)
    except OSError as error:
        return f"{name}: {error}"  # it will fail, and is not kept


@lru_cache(maxsize=1)
def _recordings(where: str) -> Recordings:
    return Recordings(where)


_active: dict[tuple[str, str, int], Runner] = {}
"""The runner of this process: it serves all recordings that come here."""


def _runner(task: Task) -> Runner:
    key = (task.model, task.provider, task.batch)
    if key not in _active:
        _release()
        runner = load_model(task.model, task.provider, threads=1, batches=(1, task.batch))
        runner.activate()
        _active[key] = runner
    return _active[key]


def _release() -> None:
    while _active:
        _active.popitem()[1].deactivate()


def _score(task: Task, name: str) -> Scored:
    """Score a recording; what is wrong with it is told, what is wrong with the model is raised."""
    runner = _runner(task)
    parts: list[Cells] = []
    try:
        decisions = score_recording(runner, _recordings(task.where).read(name), task.options, task.batch)
        while block := list(islice(decisions, _BLOCK)):
            parts.append(cells_of(block, runner.contract))
    except MimambaError as error:
        return Scored(failure=str(error))
    return Scored(tuple(map(np.concatenate, zip(*parts, strict=True))))


@dataclass(frozen=True)
class _Ended:
    """How the scoring of a recording ended: its failure, or its windows and those without a decision."""

    failure: str
    windows: int
    no_decision: Counter[str]


def _ended(scored: Scored, contract: Contract) -> _Ended:
    if scored.failure:
        return _Ended(scored.failure, 0, Counter())
    (reasons, column), *_ = (
        x for x in zip(scored.cells, columns_of(contract), strict=True) if x[1].name == "reason"
    )
    without = Counter(column.words[number] for number in reasons.tolist() if number >= 0)
    return _Ended("", len(reasons), without)


def _outcome(ended: Mapping[str, _Ended]) -> Outcome:
    return Outcome(
        recordings=sum(not one.failure for one in ended.values()),
        windows=sum(one.windows for one in ended.values()),
        no_decision=dict(sum((one.no_decision for one in ended.values()), Counter[str]()).most_common()),
        failures={name: one.failure for name, one in ended.items() if one.failure},
    )
