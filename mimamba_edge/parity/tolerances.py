"""What one value inside a model may differ by, in one table by the precision it is computed in."""

from __future__ import annotations

__all__ = ["GROWTH", "STEPS", "TOLERANCES"]

TOLERANCES = {"fp32": 1e-4, "fp16": 5e-3, "int8": 0.2}
"""Root mean square error of a value over one window, relative to the value's own root mean square (at least
its median over the windows, so that windows where it is nearly 0 count for what they are worth).

A value belongs to the coarsest precision among the nodes that it was computed by. Clean files of trained
models stay under a third of each (5574 real windows of a Muse); what changes a model's meaning, a swapped
input or a lost operation, costs 0.3 and more."""

GROWTH = 5.0
"""How much larger a node's error may be than the worst of its inputs', besides what its own precision adds.
Clean files of trained models: up to 2.5."""
STEPS = 1.5
"""How much coarser than the widest range of calibration (127 steps to the largest value) an INT8 scale of an
activation may round. Weights are known exactly: none may be off by more than half a step of its column."""
