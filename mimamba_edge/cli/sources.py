"""``mimamba-edge sources``: what there is to stream from."""

from __future__ import annotations

from typing import Annotated

from mimamba_edge.cli.options import Json, Report, deliver, seconds


def sources(
    seconds: Annotated[float, seconds("Seconds to wait for LSL streams.", least=0.1, most=60)] = 3.0,
    json: Json = False,
    report: Report = None,
) -> None:
    """List the signal sources that are available now.

    Each comes with its text for --source. Connects to no device.
    """
    import shlex

    from mimamba_edge.console import progress, show_note
    from mimamba_edge.outputs import check_outputs, report_of
    from mimamba_edge.stream.sources.discover import look

    check_outputs([(report, report_of("sources"))])
    with progress("looking for sources"):
        found = look(seconds)
    for one in found["sources"]:
        show_note(f"{one['kind']:<12} {one['what']}")
        show_note(f"{'':<12} --source {shlex.quote(one['source'])}")
    for name, package in found["packages"].items():
        if not package["works"]:
            show_note(f"{'package':<12} {name}: {package['problem']}")
            show_note(f"{'':<12} do this: {package['do']}")
    if not any(one["kind"] == "LSL" for one in found["sources"]):
        show_note(
            "no LSL stream: start the program that sends one (for a Muse: muselsl stream). Recordings (a "
            "path) and stdin:?sfreq=… can always be a source."
        )
    deliver("sources", found, json, report)
