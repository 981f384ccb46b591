"""``mimamba-edge demo``: what it is like, in ten seconds."""

from __future__ import annotations

from typing import Annotated

from mimamba_edge.cli.options import seconds as seconds_option


def demo(
    seconds: Annotated[float | None, seconds_option("End by itself after this time.", least=0.001)] = None,
) -> None:
    """Show live decisions of the built-in model on a simulated headset, on a web page and here.

    It needs no headset, no training and no network, and writes no file; q or Ctrl-C ends it.
    """
    from mimamba_edge.demo import show_demo

    show_demo(seconds=seconds)
