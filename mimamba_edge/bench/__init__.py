"""Measure latency honestly: verified first, side by side, with changing inputs and every outlier kept."""
