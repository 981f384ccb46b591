"""mimamba-edge: a Mamba network for EEG, from a PyTorch checkpoint to a wearable.

This package is what runs on the device. It never imports torch, onnx or anything of
:mod:`mimamba_edge.export` at module level.
"""

__version__ = "0.1.0"
