"""The custom ops in PyTorch; the two functions named here are public, the modules are not."""

from mimamba_edge.export.ops.mstb import multi_scale_temporal_block
from mimamba_edge.export.ops.scan import selective_scan

__all__ = ["multi_scale_temporal_block", "selective_scan"]
