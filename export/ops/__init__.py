"""The custom ops SelectiveScan and MultiScaleTemporalBlock in PyTorch."""
