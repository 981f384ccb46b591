"""MS-iMamba: multi-scale temporal block, then Mamba over channels (arXiv 2409.07589)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mimamba_edge.contract import Contract
from mimamba_edge.errors import ExportError
from mimamba_edge.export.families.msimamba.config import N_TIMES, ModelConfig, settings_in
from mimamba_edge.export.families.msimamba.cost import dense_macs
from mimamba_edge.export.families.msimamba.oracle import PERIODS, msimamba
from mimamba_edge.family import Family
from mimamba_edge.numerics.mstb import period_gap, spectrum

if TYPE_CHECKING:
    from onnx import ModelProto

    from mimamba_edge.export.families.msimamba.network import MSiMamba

__all__ = ["FAMILY"]


class _MSiMambaFamily(Family):
    name = "msimamba"
    auxiliary = (PERIODS,)
    n_times = N_TIMES
    # Two thirds of the Mamba layers' arithmetic, fed by a LayerNorm, with 51 to 56 dB on real windows.
    # out_proj reads the scan's output, where a few channels are a hundred times the others: 23 to 32 dB with
    # it, at most 42 with its channels smoothed. x_proj and dt_proj feed the scan's exponents, the first
    # linear and the classifier see few values. All these stay in fp16.
    int8_modules = ("in_proj",)

    def config(self, raw: Any) -> ModelConfig:
        return ModelConfig.from_dict(raw)

    def network(self, config: Mapping[str, Any]) -> MSiMamba:
        from mimamba_edge.export.families.msimamba.network import MSiMamba

        return MSiMamba(**config)

    def oracle(
        self, windows: NDArray[Any], state: Mapping[str, NDArray[Any]], config: Any
    ) -> dict[str, NDArray[Any]]:
        return msimamba(windows, state, config)

    def settings_in(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
        return settings_in(shapes)

    def custom_nodes(self, config: Mapping[str, Any]) -> dict[str, int]:
        if config["period_selection"] != "sample":
            raise ExportError(
                "a model that chooses one set of periods for a whole batch cannot be exported: "
                "the output for a window would depend on the other windows of its batch",
                got=f"period_selection={config['period_selection']!r}",
                expected="period_selection='sample'",
                do="train with period_selection='sample'",
            )
        directions = 2 if config["bidirectional"] else 1
        return {"MultiScaleTemporalBlock": 1, "SelectiveScan": config["n_layers"] * directions}

    def auxiliary_values(self, model: ModelProto) -> dict[str, str]:
        from mimamba_edge.export.onnx.inline import label
        from mimamba_edge.export.onnx.mstb_body import PERIODS as INSIDE
        from mimamba_edge.export.onnx.schema import MSTB

        blocks = [node for node in model.graph.node if node.op_type == MSTB]
        if not model.functions:  # the inlined form: values of bodies stand in the graph under the same names
            names = [name for node in model.graph.node for name in node.output]
            found = [name for name in names if name.endswith(f"{MSTB}/{INSIDE}")]
            return {PERIODS: found[0]} if len(found) == 1 else {}
        if len(blocks) != 1 or not any(function.name == MSTB for function in model.functions):
            return {}
        return {PERIODS: f"{label(blocks[0])}/{INSIDE}"}

    def tie_gaps(self, windows: NDArray[Any], config: Mapping[str, Any]) -> NDArray[np.float64]:
        if "top_k" not in config:
            return super().tie_gaps(windows, config)
        amplitude = spectrum(windows.transpose(0, 2, 1))
        return period_gap(amplitude, config["top_k"], config["min_bin"], config["max_bin"])

    def compared(self, name: str, values: NDArray[Any]) -> NDArray[Any]:
        return np.sort(values, axis=1)  # a multiset: the branches are summed

    def dense_macs(self, contract: Contract, windows: NDArray[np.float32]) -> dict[str, float] | None:
        return dense_macs(contract, windows) if "top_k" in contract.model else None

    def to_int8_cpu(
        self,
        model: ModelProto,
        windows: NDArray[np.float32],
        *,
        method: str,
        on_step: Callable[[int], None],
    ) -> ModelProto:
        from mimamba_edge.export.families.msimamba.int8_cpu import to_int8_cpu
        from mimamba_edge.export.families.msimamba.int8_ranges import cached_ranges

        return to_int8_cpu(model, cached_ranges(model, windows, method=method, on_step=on_step))

    def int8_cpu_layers(
        self, model: ModelProto, windows: NDArray[np.float32], *, method: str
    ) -> Iterator[tuple[str, ModelProto]]:
        from mimamba_edge.export.families.msimamba.int8_ranges import one_convolution_each

        return one_convolution_each(model, windows, method=method)


FAMILY = _MSiMambaFamily()
