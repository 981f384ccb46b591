"""Runs level 2; see the package."""

from __future__ import annotations

import importlib.util
import sys

from mimamba_edge.errors import DependencyError

NEEDED = ("numpy", "rich", "scipy", "torch", "typer")


def main() -> int:
    """Run the suite, or say which packages this Python lacks."""
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        error = DependencyError(
            "this Python lacks packages that the measurement needs",
            got=f"{sys.executable} without {', '.join(missing)}",
            do="install them, or name a Python that has them: make gpu-bench GPU_PYTHON=/path/to/python3",
        )
        print(error, file=sys.stderr)
        return 2
    from benchmarks.gpu import suite

    return suite.main()


if __name__ == "__main__":
    sys.exit(main())
