"""``mimamba-edge calibrate``: one person's resting signal as a model sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mimamba_edge.cli.options import ChannelMap, Json, deliver
from mimamba_edge.cli.options import seconds as seconds_option


def calibrate(
    model: Annotated[str, typer.Argument(help="Model: an .onnx or .plan file or a checkpoint.")],
    source: Annotated[str, typer.Option(help="Recording, brainflow:…, lsl:…, stdin:, or simulated:")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Profile to write, NAME.json.")],
    seconds: Annotated[
        float,
        seconds_option(
            "Seconds of resting EEG to record after the filters have settled.", least=1, most=3600
        ),
    ] = 60.0,
    channel_map: ChannelMap = None,
    speed: Annotated[str, typer.Option(help="How fast recordings are played: realtime or max.")] = "realtime",
    json: Json = False,
) -> None:
    """Measure one person's resting EEG for a profile.

    Sit still while it records. The profile holds scale, noise, mains frequency and baseline.
    `stream --profile` reads it.
    It belongs to this one model file; a quantised or newer file needs its own profile.
    """
    from contextlib import closing
    from dataclasses import asdict

    from mimamba_edge.artifact import sha256_file
    from mimamba_edge.calibration.make_profile import make_profile, settling_s
    from mimamba_edge.console import printable, progress, show_note, show_table
    from mimamba_edge.load import load_model
    from mimamba_edge.outputs import PROFILE, check_outputs
    from mimamba_edge.stream.names import check_map, parse_map
    from mimamba_edge.stream.sources.spec import check_source, open_source

    names = parse_map(channel_map or [])
    check_source(source)
    check_outputs([(output, PROFILE)], [model, source])
    file = Path(model.removeprefix("oracle:"))
    with load_model(model, threads=1) as runner:
        check_map(names, runner.contract.ch_names)
        opened = open_source(source, speed=speed)
        first = settling_s(opened, runner.contract, names)
        show_note(f"{first:g} s until the filters have settled, then {seconds:g} s of resting EEG")
        with closing(opened), progress("sit still", first + seconds) as bar:
            profile = make_profile(
                opened,
                runner,
                name=output.stem,
                model=file,
                model_sha256=sha256_file(file),
                seconds=seconds,
                channel_map=names,
                advance=bar.advance,
            )
        before = runner.contract.scaling
    profile.save(output)
    rows = []
    for i, (name, figures) in enumerate(profile.channels.items()):
        scales = ["-", "-"]
        if before.kind == "robust":
            scales = [f"{before.scale[i]:.2f}", f"{profile.scaling.scale[i]:.2f}"]
        mains, noise = figures["mains_ratio"], figures["noise_uv_rthz"]
        shown = ["-" if v is None else f"{v:.3g}" for v in (figures["rms_uv"], mains, noise)]
        rows.append([printable(name), *scales, *shown])
    header = ["channel", "training scale uV", "here uV", "rms uV", "mains", "noise uV/rtHz"]
    show_table("", header, rows)
    signal = profile.signal
    mains_text = "no mains hum was found" if profile.mains_hz is None else f"mains {profile.mains_hz:g} Hz"
    show_note(f"{signal['valid']} of {signal['windows']} windows valid; {mains_text}")
    if before.kind != "robust":
        show_note(
            f"this model scales every window by itself ({before.kind}): the profile changes the mains only"
        )
    show_note(f"profile for {printable(file.name)}: {output}")
    deliver("calibrate", {"profile": str(output), **asdict(profile)}, json, None)
