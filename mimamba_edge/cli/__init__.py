"""The command line: one verb, one file. Each parses, calls and prints."""

from __future__ import annotations

from mimamba_edge.cli.app import main

__all__ = ["main"]
