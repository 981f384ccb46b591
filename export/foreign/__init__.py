"""Any ``nn.Module`` to verified files: its factory, its weights, its inputs, the export."""

from __future__ import annotations
