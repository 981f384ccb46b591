"""What can be chosen of a runner."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RunnerOptions"]


@dataclass(frozen=True)
class RunnerOptions:
    """What a user chose; a kind of runner heeds what means something to it.

    Attributes:
        provider: Of ONNX Runtime: ``"cpu"`` or ``"cuda"``.
        threads: Threads of one op; ``None`` leaves the choice to the runtime.
        graph: Run engines by CUDA graphs.
        native_ops: In ONNX Runtime, run the custom ops by the library of native ops where one is built for
            the provider; else, and without it, by their function bodies.
        oracle: Run a checkpoint through the float64 NumPy oracle.
    """

    provider: str = "cpu"
    threads: int | None = None
    graph: bool = True
    native_ops: bool = True
    oracle: bool = False
