"""A whole benchmark: load, verify, warm up, time in turn, and write down everything needed to judge it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.bench import environment
from mimamba_edge.bench.energy import measure_energy
from mimamba_edge.bench.floor import SgemmClock
from mimamba_edge.bench.measure import (
    Budget,
    PeakMemory,
    make_feeds,
    paced,
    summarise,
    summarise_paced,
    time_together,
    warm_up,
)
from mimamba_edge.console import progress
from mimamba_edge.errors import ConfigError
from mimamba_edge.family import family_of
from mimamba_edge.files import sha256_file
from mimamba_edge.parity.compare import check_contracts, missed
from mimamba_edge.parity.verify import run_all, verify
from mimamba_edge.parity.windows import WindowSet
from mimamba_edge.runtime.base import Arrays, Runner
from mimamba_edge.signature import Signature

__all__ = ["Entry", "Expected", "answers_of", "run_bench", "unverified"]

FORMAT = 1

METHOD = (
    "Compute latency: from float32 windows in memory to logits in memory. Preprocessing and waiting "
    "for samples are not included; mimamba-edge stream reports those.\n"
    "Every runner is verified first; one with wrong output is not timed.\n"
    "Runners take turns in short blocks within one process, so that a noisy machine disturbs all alike.\n"
    "Every run gets a different input. Warm-up runs are not counted.\n"
    "Outliers (over Q3 + 3 IQR) are counted and kept.\n"
    "Unstable: the means of a row's blocks vary by more than 10 % (standard deviation), in the process's CPU "
    "time as well; disturbed: by the clock only; a row of one block cannot tell.\n"
    "Paced: one window per hop of the stream, at most 250 ms apart, the machine idle in between.\n"
    "Memory: growth of resident memory from before loading to after warm-up, loaded libraries included."
)

FIGURES = (
    *("p50_ms", "p90_ms", "p99_ms", "max_ms", "min_ms", "mean_ms", "per_window_ms", "throughput_hz"),
    *("n_runs", "outliers", "cv", "cv_blocks", "unstable", "unstable_why"),
    *("paced_p50_ms", "paced_p90_ms", "paced_p99_ms", "paced_max_ms", "paced_period_ms", "paced_runs"),
    *("peak_memory_bytes", "load_ms", "first_run_ms", "speedup", "floor_ratio", "verification"),
    *("energy", "plan_sha256", "plugin_sha256"),
)
"""What a row holds once it is measured, and ``None`` where it is not."""


@dataclass(frozen=True)
class Expected:
    """What a runner must answer before it is timed.

    Attributes:
        windows: ``(n, n_chans, n_times)`` float32.
        outputs: Logits, and auxiliary outputs where known.
        against: What gave the outputs.
        precision: What it computed in.
    """

    windows: NDArray[np.float32]
    outputs: Arrays
    against: str
    precision: str


@dataclass(frozen=True)
class Entry:
    """One runner to measure.

    Attributes:
        runner: The runner, or ``None`` where it cannot be had on this machine.
        expected: Gives what it is verified against; called once the runner is to be loaded.
        label: Name of the row where there is no runner.
        artifact: Model of the row.
        why_not: Why there is no runner.
        optional: Not ours: it may fail to load, to compile or to be right; the row then says why.
        accuracy: Trials right out of fold, ``{"right": n, "n_trials": n}``, where it was measured.
        loading: What the progress bar says while it is made ready.
    """

    runner: Runner | None
    expected: Callable[[], Expected] | None
    label: str
    artifact: str
    why_not: str = ""
    optional: bool = False
    accuracy: dict[str, int] | None = None
    loading: str = "load and verify"


def run_bench(
    entries: Sequence[Entry],
    windows: WindowSet,
    *,
    batches: Sequence[int] = (1,),
    threads: int = 1,
    budget: Budget | None = None,
    root: Path = Path("/"),
) -> dict[str, Any]:
    """Measure all entries at all batch sizes and return the record in plain JSON types.

    The rows stand in the order of the entries, batch by batch; ratios are to the first entry that ran.

    Args:
        entries: What to measure.
        windows: What it runs on.
        batches: Batch sizes.
        threads: Threads of one operation.
        budget: How long to measure.
        root: Where the files of the board are.

    Raises:
        ContractError: The models take different windows.
        ConfigError: No entry, or a batch below one.
    """
    budget = budget or Budget()
    runners = [e.runner for e in entries if e.runner is not None]
    if not runners or not batches or min(batches) < 1:
        raise ConfigError("a benchmark needs a model and batch sizes of at least one", got=list(batches))
    for other in runners[1:]:
        check_contracts(runners[0], other)
    promise, signature = runners[0].promise, runners[0].signature
    contract = None if isinstance(promise, Signature) else promise
    _check_batches(signature, batches)
    before = environment.describe(root)
    batches = sorted(set(batches))
    feeds = {batch: make_feeds(windows.data, batch, name=signature.input.name) for batch in batches}
    rows = [[_empty_row(entry, batch, threads, windows) for entry in entries] for batch in batches]
    macs = None if contract is None else family_of(contract).dense_macs(contract, windows.data[:512])
    with (
        progress("benchmark", total=len(entries) + 2 * len(batches), still=True) as bar,
        SgemmClock(threads) as clock,
    ):
        ready: list[tuple[int, Runner]] = []
        try:
            for index, entry in enumerate(entries):
                bar.describe(f"{entry.loading} {entry.label}")
                if _prepare(entry, [column[index] for column in rows], feeds, budget):
                    assert entry.runner is not None
                    ready.append((index, entry.runner))
                bar.advance()
            for column, batch in zip(rows, batches, strict=True):
                timed = [(i, r) for i, r in ready if column[i]["verified"]]
                bar.describe(f"time batch {batch}")
                done = time_together(
                    [r for _, r in timed], feeds[batch], budget, between=clock.sample, on_step=bar.advance
                )
                for (index, _), series in zip(timed, done, strict=True):
                    column[index].update(summarise(series, batch))
                if batch == 1 and contract is not None:
                    bar.describe("one window per hop")
                    period_s = min(0.25, contract.hop / contract.sfreq)
                    for index, runner in timed:
                        ms = paced(runner, feeds[1], period_s, budget.paced_runs)
                        column[index].update(summarise_paced(ms, period_s))
                bar.describe(f"energy of batch {batch}")
                for index, runner in timed:
                    column[index]["energy"] = _energy(runner, feeds[batch], budget, root)
                bar.advance()
        finally:
            for _, runner in reversed(ready):
                runner.deactivate()
        if not clock.samples:
            clock.sample()
        floor = None if macs is None else clock.floor(sum(macs.values()))
    if floor is not None:
        floor["macs"] = macs
    _ratios(rows, floor)
    after = environment.describe(root)
    return {
        "format": FORMAT,
        # Heat, throttling and alarms that came up during the run show in these.
        "environment": {**before, **{f"{key}_after": after[key] for key in ("load", "board", "gpus")}},
        "method": METHOD.split("\n"),
        "budget": vars(budget),
        "threads": threads,
        "windows": windows.to_dict(),
        "model": contract.model if contract else {"name": signature.model},
        "input": list(signature.input.shape),
        "floor": floor,
        "rows": [row for column in rows for row in column],
    }


def _check_batches(signature: Signature, batches: Sequence[int]) -> None:
    if signature.batch is not None and list(batches) != [signature.batch]:
        raise ConfigError(
            "the model was exported for one batch size only",
            got=", ".join(map(str, batches)),
            expected=f"--batch {signature.batch}",
        )


def _empty_row(entry: Entry, batch: int, threads: int, windows: WindowSet) -> dict[str, Any]:
    return {
        "artifact": entry.artifact,
        "sha256": _hash_of(entry),
        "runner": entry.label,
        "precision": entry.runner.precision if entry.runner else None,
        "batch": batch,
        "threads": threads,
        "verified": False,
        "why_not": entry.why_not or None,
        "optional": entry.optional,
        "accuracy": entry.accuracy,
        "windows": windows.to_dict(),
        **dict.fromkeys(FIGURES),
        "latencies_ms": [],
    }


def _hash_of(entry: Entry) -> str | None:
    path = Path(entry.artifact)
    return sha256_file(path) if entry.runner is not None and path.is_file() else None


def _energy(runner: Runner, feeds: Sequence[Arrays], budget: Budget, root: Path) -> dict[str, Any] | None:
    return measure_energy(lambda number: runner.infer(feeds[number % len(feeds)]), budget.energy_s, root)


def _prepare(
    entry: Entry, rows: Sequence[dict[str, Any]], feeds: dict[int, list[Arrays]], budget: Budget
) -> bool:
    """Load, verify and warm up one entry; return whether it stayed loaded."""
    if entry.runner is None or entry.expected is None:
        return False
    expected, memory = entry.expected(), PeakMemory()
    runner = entry.runner
    memory.reset()
    start = time.perf_counter()
    try:
        runner.activate()
        load_ms = (time.perf_counter() - start) * 1e3
        for row in rows:
            row.update(load_ms=load_ms, first_run_ms=warm_up(runner, feeds[row["batch"]], budget.warm_s))
            row["peak_memory_bytes"] = memory.growth_bytes()
            _verify(row, runner, expected)
            if runner.report:
                row["runner_report"] = dict(runner.report)
                native = runner.report.get("native_ops", {})
                row["plan_sha256"] = runner.report.get("plan_sha256")
                row["plugin_sha256"] = runner.report.get("plugin_sha256", native.get("sha256"))
    except Exception as error:
        runner.deactivate()
        if not entry.optional:
            raise
        lines = str(error).strip().splitlines() or [type(error).__name__]
        for row in rows:
            row.update(verified=False, why_not=f"{type(error).__name__}: {lines[0]}")
        return False
    return True


def _verify(row: dict[str, Any], runner: Runner, expected: Expected) -> None:
    verdict = verify(
        runner, expected.outputs, expected.windows, precision=expected.precision, batches=[row["batch"]]
    )
    row["verified"] = verdict.passed
    row["verification"] = {
        "against": expected.against,
        "n_windows": verdict.n_windows,
        "sqnr_db": verdict.sqnr_db,
        "top1_agreement": verdict.top1_agreement,
        "gate": verdict.gate.to_dict(),
    }
    if not verdict.passed:
        row["why_not"] = f"disagrees with {expected.against} ({missed(verdict.checks, values=True)})"


def _ratios(rows: Sequence[Sequence[dict[str, Any]]], floor: dict[str, Any] | None) -> None:
    """Fill in how much faster each row is than the first that ran, and how far from the floor."""
    for column in rows:
        first = next((row["p50_ms"] for row in column if row["p50_ms"] is not None), None)
        for row in column:
            if row["p50_ms"] is None:
                continue
            row["speedup"] = first / row["p50_ms"]
            if floor is not None:
                row["floor_ratio"] = row["p50_ms"] / (floor["floor_ms"] * row["batch"])


def unverified(record: dict[str, Any]) -> list[str]:
    """Return the reasons of our rows that were refused because their output was wrong."""
    return [
        f"{row['artifact']} in {row['runner']}, batch {row['batch']}: {row['why_not']}"
        for row in record["rows"]
        if row["verification"] is not None and not row["verified"] and not row.get("optional")
    ]


def answers_of(runner: Runner, windows: NDArray[np.float32]) -> Arrays:
    """Return the outputs of a runner that is not yet activated."""
    with runner:
        return run_all(runner, windows)
