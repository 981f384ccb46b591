"""``python -m mimamba_edge`` is the command line."""

from mimamba_edge.cli import main

main()
