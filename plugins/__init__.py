"""CUDA kernels of the two custom ops and the TensorRT plugins around them, and how they are compiled.

``CMakeLists.txt`` alone says how; ``cmake.py`` runs it, ``kernel_libraries.py`` asks it for the kernels as
libraries with C names and for what ptxas says of them, ``build.py`` for the plugin libraries.

The sources in ``kernels/`` know nothing of TensorRT. Their arithmetic and control structure compile for a
CUDA device (``scan.cu``, ``mstb.cu``) and for the host (``host.cpp``), where the tests run them against the
oracles of :mod:`mimamba_edge.numerics`.

What the host build covers: every line between the launch and the memory system, with all index arithmetic,
every phase of every thread in several orders (a race would change bits), the cutting of the work, the checks.
What it does not: the launch itself, ``device_math.h`` (approximate exponential, conversions by PTX, CUDA's
``erff``, ``expf``, ``log1pf``, ``sincospif``), fused multiply-adds, memory coalescing and, of course, speed.
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
