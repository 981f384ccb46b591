"""``mimamba-edge train``: from labelled recordings to a checkpoint with honest scores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mimamba_edge.cli.options import Json, Report, count, deliver, need_paths, number
from mimamba_edge.cli.options import seconds as seconds_option
from mimamba_edge.errors import ConfigError


def train(
    data: Annotated[
        str, typer.Argument(help="Data set: a folder with its labels.csv, or NAME:PATH, as deap:DEAP.")
    ],
    window: Annotated[
        float | None, seconds_option("Window length in seconds; default: 1.", least=0.05, most=3600)
    ] = None,
    sfreq: Annotated[
        float | None, number("Sampling rate of the windows in Hz; default: 128.", least=1, most=100_000)
    ] = None,
    channels: Annotated[
        str | None, typer.Option(help="Channel names, separated by commas; default: all EEG channels.")
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(
            help="What is held out in turn: within-session (blocks of trials), leave-one-run-out, "
            "cross-session or cross-subject; each also with +cross-stimulus, which holds out what was "
            "shown as well. leaky-window splits windows at random, as many papers do: it measures memory, "
            "and marks the checkpoint."
        ),
    ] = "leave-one-run-out",
    seeds: Annotated[int, count("Number of random seeds.", most=1000)] = 1,
    epochs: Annotated[
        int | None, count("Number of epochs of each training; all are run, the best is kept.", most=100_000)
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="An EEG network in place of ours: package.module:factory, called with those of n_chans, "
            "n_times, n_outputs, sfreq that it takes. "
            "This runs its Python code; nothing else here runs yours."
        ),
    ] = None,
    init: Annotated[Path | None, typer.Option(help="Fine-tune this checkpoint.")] = None,
    freeze: Annotated[
        str | None, typer.Option(help="With --init: backbone trains the final layer only.")
    ] = None,
    scaling: Annotated[
        str | None,
        typer.Option(
            help="With --init: init keeps the checkpoint's scaling (default), personal measures it here."
        ),
    ] = None,
    jobs: Annotated[
        int | None, count("Number of trainings at a time; default: one on each core.", most=10_000)
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            help="Where they run. local: processes of this machine. ray: Ray, on the cluster of RAY_ADDRESS "
            "or on this machine. On equal processors the result is the same to the bit."
        ),
    ] = "local",
    device: Annotated[
        str,
        typer.Option(
            help="What computes the fits: cpu or cuda, with mamba_ssm's scan where it is installed."
        ),
    ] = "cpu",
    precision: Annotated[
        str,
        typer.Option(
            help="float32, or bfloat16 for convolutions and matrix products of the fits (mixed precision); "
            "scores are always of float32."
        ),
    ] = "float32",
    output: Annotated[Path, typer.Option("--output", "-o", help="Checkpoint to write.")] = Path("ckpt.pt"),
    json: Json = False,
    report: Report = None,
) -> None:
    """Train our model, or an EEG network of yours, on labelled recordings and score it.

    The scores are of runs, sessions or subjects that were held out of the training. Given again, a command
    that was ended, by a kill too, goes on after the trainings that it had finished.
    """
    from mimamba_edge.data.dataset import open_dataset
    from mimamba_edge.load import CHECKPOINTS, is_checkpoint
    from mimamba_edge.optional_packages import need_export
    from mimamba_edge.outputs import CHECKPOINT, check_outputs, report_of

    need_export("train")
    need_paths(init)
    dataset = open_dataset(data)
    from mimamba_edge.export.jobs.run import Engine
    from mimamba_edge.export.training.fit import checked_device
    from mimamba_edge.export.training.pipeline import prepare, run_training

    where = Engine(engine, jobs)
    where.check()
    checked_device(device, precision)
    if not is_checkpoint(output.name):
        raise ConfigError(
            "not a name for a checkpoint", got=output, expected=" or ".join(f"NAME{s}" for s in CHECKPOINTS)
        )
    _check_words(init, freeze, scaling)
    # Fold checkpoints of an earlier run are replaced or removed: they are outputs too.
    folds = output.with_name(f"{output.stem}-folds").glob(f"*{output.suffix}")
    made = [(path, CHECKPOINT) for path in (output, *folds)]
    check_outputs([*made, (report, report_of("train"))], [data, *([] if init is None else [init])])
    names = None if channels is None else tuple(c.strip() for c in channels.split(",") if c.strip())
    if init is None:
        plan = prepare(
            dataset,
            protocol,
            window_s=window or 1.0,
            sfreq=sfreq or 128.0,
            channels=names,
            epochs=epochs,
            model=model,
        )
    else:
        from mimamba_edge.export.training.finetune import prepare_from

        plan = prepare_from(
            init,
            dataset,
            protocol,
            frozen=freeze is not None,
            own_scaling=scaling == "personal",
            window_s=window,
            sfreq=sfreq,
            channels=names,
            epochs=epochs,
            model=model,
        )
    scores = run_training(plan.computed(device, precision), seeds=seeds, out=output, engine=where)
    deliver("train", scores, json, report)


def _check_words(init: Path | None, freeze: str | None, scaling: str | None) -> None:
    for option, word, allowed in (
        ("--freeze", freeze, ("backbone",)),
        ("--scaling", scaling, ("init", "personal")),
    ):
        if word is not None and word not in allowed:
            raise ConfigError(f"{option} does not know this", got=word, expected=" or ".join(allowed))
        if word is not None and init is None:
            raise ConfigError(f"{option} needs a checkpoint to start from", do="add --init CHECKPOINT")
