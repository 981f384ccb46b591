"""CUDA kernels of the two custom ops and the TensorRT plugins around them, and how they are compiled.

``CMakeLists.txt`` alone says how; ``cmake.py`` runs it, ``kernel_libraries.py`` asks it for the kernels as
libraries with C names and for what ptxas says of them, ``build.py`` for the plugin libraries.

The sources in ``kernels/`` know nothing of TensorRT. Without a GPU the tests execute the PTX that nvcc makes
of them on a simulated device (``tests/ptx``) and hold it against the oracles of
:mod:`mimamba_edge.numerics`; ``harness/`` holds the float64 reference that stands in for the kernels where
the plugins alone are tested.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["ARCHITECTURES", "KERNELS", "SOURCES"]

SOURCES = Path(__file__).resolve().parent
"""Folder of ``CMakeLists.txt``."""

KERNELS = SOURCES / "kernels"
"""Folder of the kernels."""

ARCHITECTURES = (75, 80, 86, 87, 89, 90, 100, 110, 120)
"""Compute capabilities, times ten, that the kernels are meant for. CUDA 12.6 (JetPack 6) ends at 90."""
