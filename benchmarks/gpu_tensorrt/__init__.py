"""GPU level 3: artefacts, plugin and engine in a real TensorRT, verified and timed.

    python -m benchmarks gpu-tensorrt [NAME.trt.onnx]

Takes NAME.trt.onnx and the NAME.fp16.trt.onnx, NAME.int8.trt.onnx beside it; without a name the built-in
model (that needs the package onnx). Verifies each engine against NAME.ref.npz by the gates of
``mimamba-edge parity`` and times it with and without a CUDA graph. Where TensorRT 10.3 or newer is installed
(a Jetson) it goes the way of a user: ``plugin build``, ``build``, the TensorRT runner, and ``trtexec`` on the
same plan where that is found. Else, with TENSORRT86_ROOT set, it builds the program in
tensorrt86/ and runs that (see :mod:`benchmarks.gpu_tensorrt.wheel86`).

Exit 0: all artefacts are verified; 1: one is not, or TensorRT refused it; 2: nothing could run here.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", nargs="?", type=Path, help="NAME.trt.onnx, NAME.ref.npz beside it")


def run(arguments: argparse.Namespace) -> int:
    """Run the level.

    Raises:
        MimambaError: Nothing could be measured.
    """
    from benchmarks.gpu_tensorrt import level

    return level.run(arguments)
