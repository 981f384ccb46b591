"""What `doctor` looks at for a model's engine: whether the plan beside it fits this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mimamba_edge.doctor.health_check import HealthCheck

__all__ = ["plan"]


def plan(model: Path) -> Iterator[HealthCheck]:
    """Check the plan of a portable model ``NAME.onnx`` without loading it; no line where there is none."""
    from mimamba_edge.errors import DependencyError, MimambaError
    from mimamba_edge.trt.api import load_tensorrt
    from mimamba_edge.trt.build import plan_path
    from mimamba_edge.trt.build_environment import read_build_environment
    from mimamba_edge.trt.cuda import load_cuda
    from mimamba_edge.trt.library import find_plugin
    from mimamba_edge.trt.plan import PlanManifest, check_plan

    path = plan_path(model)
    if not path.exists():
        return
    try:
        PlanManifest.load(path)
        environment = read_build_environment(load_tensorrt(), load_cuda())
        check_plan(path, environment, find_plugin(sm=environment.sm))
    except DependencyError as error:
        yield HealthCheck("engine", "warning", f"{path}: not checked, {error.what}", error.do or "")
    except MimambaError as error:
        values = f": {error.got}; now {error.expected}" if error.got and error.expected else ""
        yield HealthCheck("engine", "wrong", f"{error.what}{values}", error.do or "build it again")
    else:
        yield HealthCheck("engine", "ok", f"{path}: of this machine, TensorRT and plugin library")
