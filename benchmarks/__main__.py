"""What is measured, by name.

    python -m benchmarks list
    python -m benchmarks NAME [options]        # --help tells them

Exit status: 0 measured and as it should be, 1 a finding, 2 it could not run, 130 interrupted.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from mimamba_edge.bench.environment import describe
from mimamba_edge.errors import MimambaError

BENCHMARKS = {
    "latency": "benchmarks.latency",
    "live-latency": "benchmarks.live_latency",
    "live-load": "benchmarks.live_load",
    "stream-stages": "benchmarks.stream_stages",
    "precision": "benchmarks.precision",
    "personal": "benchmarks.personal",
    "personal-minutes": "benchmarks.personal_minutes",
    "ssvep-baseline": "benchmarks.ssvep_baseline",
    "evaluation": "benchmarks.evaluation",
    "seed-size": "benchmarks.seed_size",
    "training": "benchmarks.training",
    "stateful": "benchmarks.stateful",
    "soak": "benchmarks.soak",
    "crash-recovery": "benchmarks.crash_recovery",
    "footprint": "benchmarks.footprint",
    "kernel-registers": "benchmarks.kernel_registers",
    "native-ops": "benchmarks.native_ops",
    "kernel-cycles": "benchmarks.kernel_cycles",
    "gpu": "benchmarks.gpu",
    "gpu-tensorrt": "benchmarks.gpu_tensorrt",
    "gpu-onnxruntime": "benchmarks.gpu_onnxruntime",
    "arm64": "benchmarks.arm64",
    "containers": "benchmarks.containers",
    "compat": "benchmarks.compat",
    "stress-30": "benchmarks.stress_30",
    "demo": "benchmarks.demo",
    "demo-page": "benchmarks.demo_page",
    "reference-model": "benchmarks.reference_model",
    "submissions": "benchmarks.submitted",
    "render": "benchmarks.render",
}
"""Each module has a docstring and ``run(arguments)``, which gives the status; some ``add_arguments``."""


def summary_of(module: str) -> str:
    """Return the first line of a module's docstring; nothing of it is imported."""
    path = Path(__file__).resolve().parents[1].joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").splitlines()[0]


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is named; return the exit status."""
    given = list(sys.argv[1:] if argv is None else argv)
    chooser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    chooser.add_argument("name", metavar="NAME", choices=("list", *BENCHMARKS), help="list shows all names")
    name = chooser.parse_args(given[:1]).name
    if name == "list":
        for each, where in BENCHMARKS.items():
            print(f"{each:<18}{summary_of(where)}")
        return 0
    module = importlib.import_module(BENCHMARKS[name])
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks {name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if hasattr(module, "add_arguments"):
        module.add_arguments(parser)
    arguments = parser.parse_args(given[1:])
    # Where files lay on this machine is no part of a record.
    arguments.benchmark, arguments.environment = name, describe()
    arguments.command = shlex.join(
        ["python", "-m", "benchmarks", *(Path(a).name if "/" in a else a for a in given)]
    )
    try:
        return int(module.run(arguments))
    except MimambaError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
