"""Write the tables of README.md and of docs/ from the records.

    python -m benchmarks render            # rewrites what stands between the markers
    python -m benchmarks render --check    # exit 1 if a table is not what the records say

A table stands between ``<!-- table:NAME -->`` and ``<!-- /table -->``; everything else is left alone.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import evaluation, footprint, live_latency, personal_minutes, stream_stages, training
from benchmarks.compat import table as compat
from benchmarks.kernel_cycles import tables
from benchmarks.latency import TARGETS, ratios
from benchmarks.native_ops import tables as native_ops
from benchmarks.record import RESULTS
from benchmarks.stress_30 import tables as stress_30
from benchmarks.submitted import table as submissions
from mimamba_edge.bench.table import milliseconds

ROOT = Path(__file__).resolve().parents[1]
PAGES = tuple(
    ROOT / name
    for name in (
        "README.md",
        "docs/live.md",
        "docs/edge.md",
        "docs/evaluation.md",
        *("docs/compatibility.md", "plugins/README.md", "benchmarks/submissions/README.md"),
    )
)
_BLOCK = re.compile(r"(<!-- table:([\w-]+) -->\n)(.*?)(<!-- /table -->)", re.DOTALL)
_Rows = Callable[[dict[str, Any]], Sequence[tuple[str, ...]]]
_OPENED = re.compile(r"<!-- table:[\w-]+ -->")
_NAMES = {
    "torch-eager-parallel": "PyTorch eager",
    "torch-compile": "torch.compile",
    "torch-eager-fused": "PyTorch eager, fused ops",
    "onnxruntime-cpu": "**mimamba-edge in ONNX Runtime**",
    "onnxruntime-cpu-native": "**mimamba-edge in ONNX Runtime, native ops**",
}


def newest(results: Path, kind: str) -> list[Path]:
    """Return the newest ``DATE-KIND.json`` or ``DATE-KIND-NUMBER.json`` of each folder."""
    name = re.compile(rf"(\d{{4}}-\d\d-\d\d)-{re.escape(kind)}(?:-(\d+))?\.json")
    found: dict[Path, tuple[str, int, Path]] = {}
    for path in sorted(results.glob("*/*.json")):
        if match := name.fullmatch(path.name):
            here = (match[1], int(match[2] or 1), path)
            found[path.parent] = max(here, found.get(path.parent, here))
    return [path for _, _, path in found.values()]


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]], left: int) -> str:
    rule = [":--" if i < left else "--:" for i in range(len(header))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *rows))


def _link(path: Path, results: Path) -> str:
    return f"benchmarks/results/{path.relative_to(results).as_posix()}"


def _commit(env: dict[str, Any]) -> str:
    known = env["commit"][:10] if env["commit"] else "unknown"
    return f"commit {known}{' with local changes' if env['dirty'] else ''}"


def _caption(record: dict[str, Any], path: Path, results: Path) -> str:
    env, windows, floor = record["environment"], record["windows"], record["floor"]
    versions = env["versions"]
    tools = ", ".join(f"{n} {versions[n]}" for n in ("torch", "onnxruntime") if versions[n])
    chans, times = record["input"]
    return (
        f"{env['device']}, {record['threads']} of {env['cores']} cores, {env['time'][:10]}; {tools}; "
        f"{windows['count']} windows ({chans} x {times}) of {windows['source']} at hop {windows['hop']}; "
        f"sgemm {floor['sgemm_gflops']:.0f} GFLOP/s, {milliseconds(floor['floor_ms'])} ms a window; "
        f"{_commit(env)}; [record]({_link(path, results)})."
    )


def _of_each(results: Path, kind: str, render_one: Callable[[dict[str, Any], Path], str]) -> str:
    parts = [render_one(json.loads(p.read_text(encoding="utf-8")), p) for p in newest(results, kind)]
    return "\n\n".join(parts) or f"Not measured on a clean commit yet: `python -m benchmarks {kind}`."


def latency(results: Path) -> str:
    """Return the latencies of the newest record of each device."""

    def one(record: dict[str, Any], path: Path) -> str:
        rows: list[tuple[str, ...]] = []
        for row in record["rows"]:
            name = _NAMES.get(row["runner"], row["runner"])
            if row["p50_ms"] is None:
                rows.append((name, str(row["batch"]), f"not timed: {row['why_not']}", *[""] * 5))
                continue
            ms = [milliseconds(row[key]) for key in ("p50_ms", "p99_ms", "max_ms", "per_window_ms")]
            ratio = "" if row["floor_ratio"] is None else f"{row['floor_ratio']:.2f}"
            rows.append((name, str(row["batch"]), *ms, f"{row['speedup']:.1f} x", ratio))
        header = ("runner", "batch", "p50 ms", "p99 ms", "max ms", "ms a window", "against eager", "x sgemm")
        return f"{_table(header, rows, 1)}\n\n{_caption(record, path, results)}"

    return _of_each(results, "latency", one)


def targets(results: Path) -> str:
    """Return what the project holds itself to, beside what the newest record of each device shows."""

    def one(record: dict[str, Any], path: Path) -> str:
        values = ratios(record)
        rows: list[tuple[str, ...]] = []
        for name, word, bound in TARGETS:
            value = values[name]
            rows.append((name, "not measured" if value is None else f"{value:.2f}", f"{word} {bound:g}"))
        return _table(("ratio of medians in one run", record["environment"]["device"], "target"), rows, 1)

    return _of_each(results, "latency", one)


def _methods(scores: Iterable[Any]) -> str:
    """Return how the intervals of a record were taken; the first records do not say, all by a bootstrap."""
    scores = [score for score in scores if isinstance(score, dict) and "interval" in score]
    return ", ".join(dict.fromkeys(score.get("method", "percentile bootstrap") for score in scores))


def accuracy(results: Path) -> str:
    """Return the accuracy on the SSVEP recordings beside the baseline's (``benchmarks.ssvep_baseline``)."""

    def figure(score: dict[str, Any], key: str = "mean") -> str:
        low, high = score["interval"]
        return f"{score[key]:.3f} ({low:.3f} to {high:.3f})"

    def one(record: dict[str, Any], path: Path) -> str:
        rows: list[tuple[str, ...]] = []
        for row in record["rows"]:
            difference = figure(row["network_minus_baseline"], "difference")
            names = f"{len(row['ch_names'])}: {', '.join(row['ch_names'])}"
            rows.append((names, row["protocol"], figure(row["network"]), figure(row["baseline"]), difference))
        header = ("channels", "protocol", "MS-iMamba", "linear baseline", "difference")
        return (
            f"{_table(header, rows, 2)}\n\nBalanced accuracy with 95 % intervals "
            f"({_methods(record['rows'][0].values())}), "
            f"{record['rows'][0]['n_trials']} trials; the difference is paired over trials; "
            f"{_commit(record['environment'])}; [record]({_link(path, results)})."
        )

    return _of_each(results, "ssvep-baseline", one)


def precision(results: Path) -> str:
    """Return what each lower precision of each model gave (``benchmarks.precision``)."""

    def one(record: dict[str, Any], path: Path) -> str:
        rows: list[tuple[str, ...]] = []
        for model in record["models"]:
            for report in model["reports"]:
                parity, speed, score = report["parity"], report["speed"], report["accuracy"]
                rows.append(
                    (
                        f"{len(model['ch_names'])} ch, {model['n_times']}",
                        report["recipe"],
                        f"{parity['sqnr_db']:.1f}",
                        f"{parity['top1_agreement']:.2%}",
                        f"{parity['near_ties']} of {parity['n_windows']}",
                        f"{score['net_loss']} of {score['n_trials']}" if score else "not measured",
                        f"{speed['ratio']:.2f} x" if speed else "not measured",
                        "yes" if report["published"] else "refused",
                    )
                )
        header = (
            *("model", "file", "SQNR dB", "same class", "near-ties", "fewer trials right"),
            *("speed against fp32", "written"),
        )
        env, windows = record["environment"], record["models"][0]["reports"][0]["windows"]
        return (
            f"{_table(header, rows, 2)}\n\n{env['device']}, {env['time'][:10]}; up to {windows['count']} "
            f"windows of {windows['source']}; trials out of fold, one seed; speed at batch 1, one thread; "
            f"{_commit(env)}; [record]({_link(path, results)})."
        )

    return _of_each(results, "precision", one)


def sensitivity(results: Path) -> str:
    """Return what INT8 costs at each op of each model, from the same record."""

    def one(record: dict[str, Any], path: Path) -> str:
        costs = [
            {cost["node"]: cost for cost in model["reports"][0]["sensitivity"]} for model in record["models"]
        ]
        names = sorted(costs[0], key=lambda name: float(costs[0][name]["sqnr_db"]))
        rows = [
            (
                f"`{name}`",
                *(f"{held[name]['sqnr_db']:.1f} dB" if name in held else "" for held in costs),
                costs[0][name]["used_by"] or "stays float",
            )
            for name in names
        ]
        heads = (f"{len(model['ch_names'])} ch, {model['n_times']}" for model in record["models"])
        return _table(("INT8 at this op alone", *heads, "quantised for"), rows, 1)

    return _of_each(results, "precision", one)


def personal(results: Path) -> str:
    """Return what a profile and fine-tuning gave on unseen runs (``benchmarks.personal``)."""

    def figure(score: dict[str, Any], key: str, sign: str = "") -> str:
        low, high = score["interval"]
        return f"{score[key]:{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"

    def one(record: dict[str, Any], path: Path) -> str:
        rows: list[tuple[str, ...]] = []
        for condition, methods in record["conditions"].items():
            for name, held in methods.items():
                plain = name == "none"
                rows.append(
                    (
                        condition,
                        name,
                        figure(held["balanced_accuracy"], "mean"),
                        "" if plain else figure(held["minus_none"], "difference", "+"),
                        f"{held['nll']:.3f}",
                        "" if plain else figure(held["nll_minus_none"], "difference", "+"),
                    )
                )
        header = ("signal", "adapted by", "balanced accuracy", "against none", "NLL", "against none")
        env, design = record["environment"], record["design"]
        none = next(iter(record["conditions"].values()))["none"]
        return (
            f"{_table(header, rows, 2)}\n\n{design['n_trials']} trials of {record['data']['folder']}, "
            f"{', '.join(design['ch_names'])}; trained on {design['trained_on']} runs, adapted on "
            f"{design['calibrated_on']}, tested on {design['tested_on']}, {design['rotations']} rotations, "
            f"{design['seeds']} seeds; 95 % intervals ({_methods(none.values())}) over trials, paired; "
            f"one person, one session; "
            f"{env['time'][:10]}; {_commit(env)}; [record]({_link(path, results)})."
        )

    return _of_each(results, "personal", one)


def _sourced(
    results: Path,
    kind: str,
    header: tuple[str, ...],
    rows_of: _Rows,
    left: int,
    notes_of: Callable[[dict[str, Any]], Sequence[str]] = lambda _: (),
) -> str:
    """Return a table of each device's newest record with a line on where it comes from."""

    def one(record: dict[str, Any], path: Path) -> str:
        env = record["environment"]
        about = "".join(f"; {note}" for note in notes_of(record))
        caption = (
            f"{env['device']}, {env['time'][:10]}{about}; {_commit(env)}; [record]({_link(path, results)})."
        )
        return f"{_table(header, rows_of(record), left)}\n\n{caption}"

    return _of_each(results, kind, one)


def _soaked(record: dict[str, Any]) -> Sequence[tuple[str, ...]]:
    return [(one["what"], str(one["n"]), str(one["as_expected"])) for one in record["checks"]]


def _killed(record: dict[str, Any]) -> Sequence[tuple[str, ...]]:
    rows = []
    for way, pace in dict.fromkeys((kill["way"], kill["pace"]) for kill in record["kills"]):
        of = [kill for kill in record["kills"] if (kill["way"], kill["pace"]) == (way, pace)]
        equal = sum(kill["bit_equal"] for kill in of)
        worst = max(kill["missing_s"] for kill in of)
        shown = f"{pace:g} x" if pace < 1e6 else "as fast as it can"
        rows.append((f"`{way}`", shown, str(len(of)), f"{equal} of {len(of)}", f"{worst:g} s"))
    return rows


def _registers(record: dict[str, Any]) -> Sequence[tuple[str, ...]]:
    kernels = record["kernels"]
    return [
        (
            f"sm_{arch}",
            str(len(kernels)),
            str(max(kernel["registers"][arch] for kernel in kernels)),
            str(sum(kernel["spilled_bytes"][arch] for kernel in kernels)),
        )
        for arch in kernels[0]["registers"]
    ]


TABLES: dict[str, Callable[[Path], str]] = {
    "submissions": submissions,
    "latency": latency,
    "latency-targets": targets,
    "ssvep-baseline": accuracy,
    "evaluation": lambda results: _sourced(
        results, "evaluation", evaluation.HEADER, evaluation.to_rows, 2, evaluation.notes
    ),
    "training": lambda results: _sourced(
        results, "training", training.HEADER, training.to_rows, 3, training.notes
    ),
    "precision": precision,
    "sensitivity": sensitivity,
    "personal": personal,
    "personal-minutes": lambda results: _sourced(
        results,
        "personal-minutes",
        personal_minutes.HEADER,
        personal_minutes.to_rows,
        2,
        personal_minutes.notes,
    ),
    "live-latency": lambda results: _sourced(
        results, "live-latency", live_latency.HEADER, live_latency.to_rows, 1, live_latency.notes
    ),
    "stream-stages": lambda results: _sourced(
        results, "stream-stages", stream_stages.HEADER, stream_stages.to_rows, 2, stream_stages.notes
    ),
    "soak": lambda results: _sourced(results, "soak", ("checked", "times", "as expected"), _soaked, 1),
    "crash-recovery": lambda results: _sourced(
        *(results, "crash-recovery", ("killed", "pace", "times", "equal to the bit", "most missing")),
        *(_killed, 2),
    ),
    "footprint": lambda results: _sourced(results, "footprint", ("", "found"), footprint.to_rows, 2),
    "kernel-cycles": lambda results: _sourced(results, "kernel-cycles", tables.TIMES, tables.times, 1),
    "kernel-loops": lambda results: _sourced(results, "kernel-cycles", tables.LOOPS, tables.loops, 2),
    "native-ops": lambda results: _sourced(
        results, "native-ops", native_ops.TARGETS, native_ops.targets, 1, native_ops.notes
    ),
    "native-scans": lambda results: _sourced(
        results, "native-ops", native_ops.SCANS, native_ops.first_scan, 2
    ),
    "native-network": lambda results: _sourced(
        results, "native-ops", native_ops.NETWORK, native_ops.network, 1
    ),
    "compat": lambda results: _sourced(results, "compat", compat.HEADER, compat.to_rows, 2, compat.notes),
    "compat-others": lambda results: _sourced(results, "compat", compat.OTHERS, compat.others, 2),
    "stress-30": lambda results: _sourced(
        results, "stress-30", stress_30.FORMS, stress_30.forms, 2, stress_30.notes
    ),
    "stress-30-mixer": lambda results: _sourced(results, "stress-30", stress_30.MIXER, stress_30.mixer, 1),
    "kernel-registers": lambda results: _sourced(
        *(results, "kernel-registers", ("for", "kernels", "most registers", "spilled bytes"), _registers, 1)
    ),
}


def render(text: str, results: Path = RESULTS) -> str:
    """Return the text with every table rewritten.

    Raises:
        ValueError: A table of an unknown name, or one that is not closed.
    """

    def block(match: re.Match[str]) -> str:
        start, name, _, end = match.groups()
        if name not in TABLES:
            raise ValueError(f"there is no table {name!r}; there are {', '.join(TABLES)}")
        return f"{start}\n{TABLES[name](results)}\n\n{end}"

    if len(_OPENED.findall(text)) != len(_BLOCK.findall(text)):
        raise ValueError("a table marker is not closed by <!-- /table -->")
    return _BLOCK.sub(block, text)


def rendered(page: Path) -> str:
    """Return the text of a page with its tables, links made relative to it."""
    text = render(page.read_text(encoding="utf-8").replace(_up(page), "](benchmarks/"))
    return text.replace("](benchmarks/", _up(page))


def _up(page: Path) -> str:
    return "](" + "../" * (len(page.relative_to(ROOT).parts) - 1) + "benchmarks/"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit 1 if a table is out of date"
    )


def run(arguments: argparse.Namespace) -> int:
    """Rewrite or check the pages."""
    stale = [page for page in PAGES if rendered(page) != page.read_text(encoding="utf-8")]
    for page in stale:
        if arguments.check:
            print(f"{page.name}: a table is not what the records say; run python -m benchmarks render")
        else:
            page.write_text(rendered(page), encoding="utf-8")
    return int(arguments.check and bool(stale))
