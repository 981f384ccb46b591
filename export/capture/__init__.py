"""Selective scans of other people's models become our op, their parameters and names untouched."""

from __future__ import annotations

from mimamba_edge.export.capture.replace import as_selective_scan, capture

__all__ = ["as_selective_scan", "capture"]
