"""``mimamba-edge bench``: verified latencies, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mimamba_edge.cli.options import Json, Report, batch_sizes, deliver, need_paths
from mimamba_edge.cli.options import threads as threads_option
from mimamba_edge.errors import ConfigError, GateError


def bench(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Models to compare: checkpoints, .onnx or .plan files; default: the built-in model."
        ),
    ] = None,
    batch: Annotated[str, typer.Option(help="Batch sizes, separated by commas.")] = "1",
    threads: Annotated[int, threads_option("Number of CPU threads for one operation.")] = 1,
    data: Annotated[
        Path | None, typer.Option(help="Recording, or folder of recordings, to take the windows from.")
    ] = None,
    provider: Annotated[
        str | None,
        typer.Option(
            help="What runs .onnx files: cpu, cuda or tensorrt (builds an engine first). "
            "Default: cpu; with --fp16 or --int8, all that work on this machine."
        ),
    ] = None,
    fp16: Annotated[
        bool, typer.Option("--fp16", help="Also measure the fp16 version; it is made if it is not there.")
    ] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="Also measure the INT8 versions; to make them, --data is needed.")
    ] = False,
    json: Json = False,
    report: Report = None,
    record_path: Annotated[
        Path | None, typer.Option("--record", help="Write a record to send (see benchmarks/submissions).")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write the result as a web page.")] = None,
) -> None:
    """Measure the compute latency of models side by side.

    Beside a portable .onnx on the CPU stands what else runs its network here: PyTorch, if its checkpoint lies
    beside it, ONNX Runtime's LinearAttention, and OpenVINO, if that is installed. A checkpoint that is named
    stands there under torch.compile, too, which takes minutes.

    Exit code 1 if the output of a model is wrong: it is not timed. A version that `quantize` refused, or that
    cannot run here, stands in the table with the reason; the exit code is 0 then.
    """
    from mimamba_edge.bench.entries import Variant, entries_of, of_other_weights
    from mimamba_edge.bench.page import render_page
    from mimamba_edge.bench.run import run_bench, unverified
    from mimamba_edge.bench.submission import BUDGET, make_submission
    from mimamba_edge.bench.table import columns_of, notes, to_rows
    from mimamba_edge.console import show_note, show_table
    from mimamba_edge.export.quantize.variants import providers_at_hand, variants
    from mimamba_edge.load import EXPORTED, builtin_copy, builtin_model, load_model
    from mimamba_edge.outputs import check_outputs, page_of, report_of, write_page, write_report
    from mimamba_edge.parity import find_windows

    batches = batch_sizes(batch)
    need_paths(*(models or ()), data)
    specs = models or [str(builtin_copy() if fp16 or int8 else builtin_model())]
    if (fp16 or int8) and len(specs) != 1:
        raise ConfigError("--fp16 and --int8 work with one model only", got=f"{len(specs)} models")
    outputs = [(report, report_of("bench")), (record_path, report_of("bench")), (html, page_of("bench"))]
    check_outputs(outputs, [*specs, *([] if data is None else [data])])
    exported = next((Path(spec) for spec in specs if models and spec.endswith(EXPORTED)), None)
    contract = load_model(specs[0], provider=provider or "cpu", threads=threads, batches=batches).promise
    windows = find_windows(contract, data=data, artifact=exported)
    wanted = [Variant(spec, provider or "cpu") for spec in specs]
    if fp16 or int8:
        providers = providers_at_hand() if provider is None else [provider]
        model = Path(specs[0])
        wanted = variants(model, fp16=fp16, int8=int8, providers=providers, data=data, say=show_note)
    entries = entries_of(wanted, windows, threads=threads, batches=batches, others=not (fp16 or int8))
    budget = BUDGET if record_path else None
    record = run_bench(entries, windows, batches=batches, threads=threads, budget=budget)
    columns = columns_of(record)
    show_table("", columns, to_rows(record, columns), left=range(columns.index("batch")))
    for line in (*notes(record), *of_other_weights(wanted)):
        show_note(line)
    deliver("bench", record, json, report)
    if html is not None:
        write_page(html, "bench", render_page(record))
        show_note(f"page: {html}")
    if wrong := unverified(record):
        raise GateError("not timed, because the output is wrong:\n  " + "\n  ".join(wrong))
    if record_path is not None:
        write_report(record_path, "bench", make_submission(record))
        show_note(f"record: {record_path}; benchmarks/submissions/README.md says how to send it")
