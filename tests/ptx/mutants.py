"""Faults planted in the kernels, one at a time: the checks on the simulated device must find each.

    python -m tests.ptx.mutants            all of them, some minutes
    python -m tests.ptx.mutants choose     those with a word in their names
    python -m tests.ptx.mutants --list

Every barrier of the kernels is left out in turn; they are found in the sources. The other faults are
text to replace, in ``faults.txt``. A mutant is compiled for float32 and up to 16 states, and dies at the
first finding of the simulator, wrong number, or refused launch.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mimamba_edge.plugins import KERNELS
from tests.plugins import test_mstb_kernel as mstb
from tests.plugins import test_scan_kernel as scan
from tests.ptx.build import kernel_library
from tests.ptx.device import Kernels, Refused, device

OPS = ("scan", "mstb")
FAULTS = Path(__file__).with_name("faults.txt")
_BARRIER = re.compile(r"__sync(?:threads\(\)|warp\([^()]*\)|threads_(?:or|and|count))")


@dataclass(frozen=True)
class Mutant:
    """A fault.

    Attributes:
        name: What is wrong.
        file: In ``plugins/kernels``.
        start: Where the text to replace begins.
        old: That text.
        new: What takes its place.
    """

    name: str
    file: str
    start: int
    old: str
    new: str

    @property
    def op(self) -> str:
        """Which op's source and cases it needs."""
        return "scan" if self.file.startswith("scan") else "mstb"


def copy(folder: Path, mutant: Mutant | None) -> None:
    """Copy the kernels to a folder, with the fault; with one storage type, a third of the compilation."""
    for path in KERNELS.iterdir():
        text = path.read_text(encoding="utf-8")
        if mutant and path.name == mutant.file:
            text = text[: mutant.start] + mutant.new + text[mutant.start + len(mutant.old) :]
        if path.name == "device.cuh":
            text = re.sub(r"f\(__(half|nv_bfloat16)\{\}\)", "f(float{})", text)
        (folder / path.name).write_text(text, encoding="utf-8")


def barriers() -> Iterator[Mutant]:
    """Return a mutant for every barrier."""
    for op in OPS:
        for path in sorted(KERNELS.glob(f"{op}*.cu*")):
            text = path.read_text(encoding="utf-8")
            for match in _BARRIER.finditer(text):
                line = text.count("\n", 0, match.start()) + 1
                # What is left of a vote of the block: a thread's own opinion.
                new = "static_cast<void>(0)" if match[0].endswith(")") else ""
                yield Mutant(f"{path.name}:{line}: no {match[0]}", path.name, match.start(), match[0], new)


def planted() -> Iterator[Mutant]:
    """Return the mutants of ``faults.txt``.

    Raises:
        ValueError: A text is not in its file, or more than once.
    """
    for entry in FAULTS.read_text(encoding="utf-8").split("\n\n"):
        lines = [line for line in entry.splitlines() if line and not line.startswith("#")]
        if not lines:
            continue
        name = lines[0]
        old, new = ("\n".join(line[2:] for line in lines if line.startswith(sign)) for sign in ("- ", "+ "))
        file = name.partition(":")[0]
        text = (KERNELS / file).read_text(encoding="utf-8")
        if text.count(old) != 1:
            raise ValueError(f"{name}: {text.count(old)} times in {file}, not once: {old}")
        yield Mutant(name, file, text.index(old), old, new)


def mutants() -> list[Mutant]:
    """Return all of them."""
    return [*barriers(), *planted()]


def scan_cases(kernels: Kernels, *, growing: bool = True) -> Iterator[Callable[[], object]]:
    """Return calls that reach every way through the scan's kernel; ``growing``: states that grow, too."""

    def case(t: scan.Arrays, **how: Any) -> Callable[[], object]:
        return partial(scan.compare, kernels, t, **how)

    few, rows = device(max_blocks=2), {"z": 80, "B": 160, "C": 48}
    for n, segments in ((16, 1), (16, 8), (16, 16), (6, 1), (6, 8)):
        t = scan.make(3, 300, 33, n)
        yield case(t, segments=segments)
        yield case(t, segments=segments, reverse=True, on=few)
    for segments in (1, 8):
        if growing:
            t = scan.make(1, 150, 4, 16)
            t["A"] = np.abs(t["A"]) * np.float32(0.01)
            yield case(t, segments=segments)
            # The decays of eight steps overflow together; the state stays 0 until the last step.
            t = scan.make(1, 48, 4, 16, z=False)
            t["A"][:], t["delta"][:], t["delta_bias"][:] = 12.0, 1.0, 0.0
            t["u"][:, :47], t["initial_state"][:] = 0.0, 0.0
            yield case(t, segments=segments, softplus=False)
        yield case(scan.make(2, 70, 40, 16, g=2), segments=segments, rows=rows)
        yield case(scan.make(2, 70, 40, 16, g=2), segments=segments, rows={**rows, "B": 164})
        yield case(scan.make(2, 7, 3, 5, z=False, per_window=False), segments=segments)


def mstb_cases(kernels: Kernels) -> Iterator[Callable[[], object]]:
    """Return calls that reach every way through the temporal block's kernels."""
    small, few = device(shared_bytes=32 * 1024), device(max_blocks=2)
    for length, c, f, k, how in (
        (65, 5, 9, 5, {"groups": 2}),
        (129, 4, 12, 11, {"groups": 3}),
        (129, 9, 9, 11, {"groups": 2, "on": small}),
        (700, 1, 5, 3, {"groups": 2, "on": few}),
        (700, 4, 8, 3, {"images_in_workspace": True, "groups": 2}),
        (33, 7, 5, 15, {"weighting": 1}),
        (35, 4, 4, 3, {"period_rule": 1}),
        (127, 4, 4, 1, {"period_rule": 1, "min_bin": 2, "max_bin": 4, "images_in_workspace": True}),
        (1100, 4, 4, 3, {"on": device(shared_bytes=160 * 1024)}),
    ):
        yield partial(mstb.compare, kernels, mstb.make(2, length, c, f=f, k=k), top_k=3, **how)
    t = mstb.make(2, 60, 6)
    turned = {**t, "x": np.ascontiguousarray(t["x"].swapaxes(1, 2))}
    still = mstb.make(1, 200, 2)  # every amplitude is 0, and a lane has several of them
    still["x"][:] = 1.0

    def channel_first() -> None:
        got = kernels.mstb(turned, top_k=2, channel_first=True).swapaxes(1, 2)
        assert scan.error(got, mstb.oracle(t, top_k=2)) <= 1e-5

    def ties() -> None:
        assert scan.error(kernels.mstb(still, top_k=3), mstb.oracle(still, top_k=3)) <= 1e-5

    yield partial(mstb.compare, kernels, mstb.make(1, 2, 6), top_k=1)
    yield channel_first
    yield ties


CASES = {"scan": scan_cases, "mstb": mstb_cases}


def die(library: Path, op: str) -> str:
    """Return how a library fails its op's cases; nothing if it holds."""
    kernels = Kernels(library)
    kernels.set(budget=20_000_000)
    for number, case in enumerate(CASES[op](kernels)):
        try:
            case()
        except (AssertionError, Refused) as error:
            said = str(error).strip().splitlines()
            kind = re.match(r"ptxsim: (.*?) in ", said[0]) if said else None
            otherwise = "wrong numbers" if isinstance(error, AssertionError) else "refused"
            return f"case {number}: {kind[1] if kind else otherwise}"
    return ""


def library(mutant: Mutant | None, options: Sequence[str] = ()) -> Path:
    """Compile a mutant, or all kernels without a fault: a mutant has its other op from there."""
    whole = library(None) if mutant else None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy(folder, mutant)
        ops = [mutant.op] if mutant else OPS
        sources = [folder / f"{word}.cu" for word in (*ops, "c_api")]
        return kernel_library(sources, headers=folder, options=("-DMIMAMBA_HOT_ONLY", *options), link=whole)


def verdict(mutant: Mutant) -> str:
    """Return how a mutant died, in a process of its own; nothing if it lives."""
    try:
        built = library(mutant)
    except RuntimeError as error:
        raise ValueError(f"{mutant.name}: not compiled: {error}") from error
    command = [sys.executable, "-m", "tests.ptx.mutants", "--run", str(built), mutant.op]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if done.returncode not in (0, 1):
        return f"ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}"
    return done.stdout.strip()


def main(words: list[str]) -> int:
    """Run the mutants and print a line for each."""
    if words[:1] == ["--run"]:
        said = die(Path(words[1]), words[2])
        print(said)
        return int(bool(said))
    chosen = [m for m in mutants() if words == ["--list"] or all(word in m.name for word in words)]
    if words == ["--list"]:
        print("\n".join(m.name for m in chosen))
        return 0
    living = 0
    with ThreadPoolExecutor(2) as pool:
        for mutant, said in zip(chosen, pool.map(verdict, chosen), strict=True):
            living += not said
            print(f"{said or 'LIVES':40} {mutant.name}", flush=True)
    print(f"{len(chosen) - living} of {len(chosen)} mutants found")
    return int(living > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
