"""Level 3 of the GPU checks: artefacts, plugin and engine in a real TensorRT, proved and timed.

    python -m benchmarks.gpu_tensorrt [NAME.trt.onnx]

Takes NAME.trt.onnx and the NAME.fp16.trt.onnx, NAME.int8.trt.onnx beside it; without a name the built-in
model (that needs the package onnx). Verifies each engine against NAME.ref.npz by the gates of
``mimamba-edge parity`` and times it with and without a CUDA graph. Where TensorRT 10.3 or newer is installed
(a Jetson) it goes the way of a user: ``plugin build``, ``build``, the TensorRT runner, and ``trtexec`` on the
same plan where that is found. Else, with TENSORRT86_ROOT set, it builds plugins/tensorrt86 and runs that (see
:mod:`benchmarks.gpu_tensorrt.wheel86`).

The raw record goes to ``benchmarks/results/DEVICE/DATE-gpu-tensorrt.json`` and is never edited. Exit 0: all
artefacts are verified; 1: one is not, or TensorRT refused it; 2: nothing could run here.
"""
