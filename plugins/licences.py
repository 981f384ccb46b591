"""The licence that goes with every library that leaves this machine."""

from __future__ import annotations

from importlib.metadata import distributions

from mimamba_edge.errors import DependencyError

__all__ = ["our_licence"]


def our_licence() -> str:
    """Return our licence, from the package as it is installed.

    Raises:
        DependencyError: It is not installed.
    """
    # In a checkout, the folder of a build stands before what pip installed, and holds none.
    for installed in distributions(name="mimamba-edge"):
        for name in ("licenses/LICENSE", "LICENSE"):
            if text := installed.read_text(name):
                return text
    raise DependencyError(
        "a library is packed with its licence, and none was found",
        do="install mimamba-edge by pip: pip install -e .",
    )
