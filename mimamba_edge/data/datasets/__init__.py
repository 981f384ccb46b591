"""Readers of data sets, one a module with ``open_spec(rest) -> Dataset``."""
