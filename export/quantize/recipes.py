"""The recipes: what each makes of a portable fp32 model, and what it is held to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from mimamba_edge.errors import ConfigError, ExportError
from mimamba_edge.export.onnx.carried import family_in
from mimamba_edge.export.quantize.activations import calibrate_linears
from mimamba_edge.export.quantize.cache import cached
from mimamba_edge.export.quantize.fp16 import to_fp16
from mimamba_edge.export.quantize.int8_tensorrt import to_int8_tensorrt
from mimamba_edge.export.quantize.ranges import Range

__all__ = ["RECIPES", "Recipe", "recipe_for"]

Step = Callable[[int], None]


@dataclass(frozen=True)
class Recipe:
    """How one lower precision is made.

    Attributes:
        name: For people.
        precision: Key of the parity gates.
        suffix: Of the file's name, before ``.onnx``.
        runs_in: ``"tensorrt"`` or ``"cpu"``.
        least_speedup: Against the fp32 file, batch 1, one thread of ONNX Runtime; ``None`` where it runs in
            TensorRT, which the bench on the device judges.
        calibrated: Whether it needs calibration windows.
        advice: What to do where it is refused.
    """

    name: str
    precision: str
    suffix: str
    runs_in: str
    least_speedup: float | None
    calibrated: bool
    advice: str = "keep the fp32 file, or see `mimamba-edge parity --bisect` to find where the two differ"

    def check_fits(self, model: ModelProto) -> None:
        """Check that this precision is known for a kind of model.

        Raises:
            ConfigError: It is not.
        """
        if not self.calibrated:
            return
        family = family_in(model)
        if family is None or not family.int8_modules:
            kind = "models of tensors" if family is None else f"models of the family {family.name}"
            raise ConfigError(
                f"{kind} have no {self.name}",
                got="nobody knows which of their layers bear eight bits",
                do="use --to fp16",
            )

    def make(
        self,
        model: ModelProto,
        windows: NDArray[np.float32] | None = None,
        *,
        method: str = "mse",
        on_step: Step = lambda _: None,
    ) -> ModelProto:
        """Return the model in this precision; the one given is unchanged.

        Args:
            model: Portable, fp32.
            windows: For calibration, ``(n, c, l)`` scaled.
            method: Of calibration.
            on_step: Told how many windows were calibrated on.

        Raises:
            MimambaError: The model or the windows cannot be used.
        """
        if not self.calibrated or windows is None:
            return to_fp16(model)
        if self.runs_in == "cpu":
            family = family_in(model)
            if family is None:
                raise ExportError("the model carries no contract", expected="a file of `mimamba-edge export`")
            return family.to_int8_cpu(model, windows, method=method, on_step=on_step)
        return to_int8_tensorrt(model, _linear_ranges(model, windows, method, on_step))


RECIPES = {
    "fp16": Recipe("fp16", "fp16", ".fp16", "tensorrt", None, calibrated=False),
    # Less than this is not worth eight bits: the fp32 file is there and exact.
    "int8-cpu": Recipe(
        "INT8 for ONNX Runtime's CPU",
        "int8",
        ".int8-cpu",
        "cpu",
        1.3,
        calibrated=True,
        advice="keep the fp32 file: on small images the fp32 convolution skips rows that the INT8 one "
        "computes, so INT8 is not faster",
    ),
    "int8-tensorrt": Recipe("INT8 for TensorRT", "int8", ".int8", "tensorrt", None, calibrated=True),
}


def recipe_for(to: str, target: str | None) -> Recipe:
    """Return the recipe that two options name.

    Raises:
        ConfigError: There is none.
    """
    name = to if to == "fp16" else f"{to}-{target or 'cpu'}"
    if name not in RECIPES or (to == "fp16" and target not in (None, "tensorrt")):
        raise ConfigError(
            "this combination of precision and target does not exist",
            got=f"--to {to}" + (f" --target {target}" if target else ""),
            expected="--to fp16, --to int8 --target cpu or --to int8 --target tensorrt",
        )
    return RECIPES[name]


def _linear_ranges(
    model: ModelProto, windows: NDArray[np.float32], method: str, on_step: Step
) -> dict[str, Range]:
    def compute() -> dict[str, Any]:
        found = calibrate_linears(model, windows, method=method, on_step=on_step)
        return {name: asdict(one) for name, one in found.items()}

    held = cached(("linears", method), model, windows, compute)
    return {name: Range(**one) for name, one in held.items()}
