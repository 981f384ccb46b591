"""What `doctor` looks at for the custom ops in TensorRT: one node of each is built, run and compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimamba_edge.contract import OPS
from mimamba_edge.doctor.health_check import HealthCheck, import_version

if TYPE_CHECKING:
    from mimamba_edge.runtime.probe_process import Answer

__all__ = ["ops"]

_AGAIN = "mimamba-edge plugin build"
_REPORT = "if it stays, open an issue with what `mimamba-edge doctor --report doctor.json` writes"


def ops(root: Path = Path("/")) -> Iterator[HealthCheck]:
    """Run one node of each op by its plugin; no line where there is no TensorRT."""
    from mimamba_edge.machine.gpu import first_capability
    from mimamba_edge.trt.plugin_probe import probe

    version, _ = import_version("tensorrt")
    if version is None:
        return
    by, sm = f"by TensorRT {version}", first_capability(root)
    if sm is None:
        yield from (HealthCheck(op, "ok", f"{by}: not tried, there is no GPU") for op in OPS)
        return
    again = f"{_AGAIN} --arch {sm}" if sm else _AGAIN
    for op, answer in probe(list(OPS)).items():
        yield _line(op, by, answer, again)


def _line(op: str, by: str, answer: Answer, again: str) -> HealthCheck:
    from mimamba_edge.trt.plugin_probe import BOUND

    if answer.problem:
        return HealthCheck(op, "wrong", f"{by}: {answer.problem}", f"{again}; {_REPORT}")
    if "what" in answer.told:
        return _refused(op, by, answer.told, again)
    error = answer.told["error"]
    if error is not None and error <= BOUND:
        return HealthCheck(op, "ok", f"{by}: right (largest error {error:.0e} of the largest value)")
    off = "not all of them finite" if error is None else f"off by {error:.1e} of the largest value"
    value = f"{by}: wrong numbers, {off} (bound {BOUND:g}), from {answer.told['library']}"
    return HealthCheck(op, "wrong", value, f"{again}; {_REPORT}")


def _refused(op: str, by: str, told: Mapping[str, Any], again: str) -> HealthCheck:
    """Return the line of an op that could not be tried or run."""
    value = f"{told['what']} ({told['got']})" if told["got"] else str(told["what"])
    if not told["tried"]:
        # What is not installed, or is no driver's, has a line of its own.
        do = again if told["kind"] == "PluginError" else told["do"]
        return HealthCheck(op, "warning", f"{by}: not tried, {value}", do or again)
    do = f"{told['do']}; else {again}" if told["do"] else again
    return HealthCheck(op, "wrong", f"{by}: failed, {value}", do)
