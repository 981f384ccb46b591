"""Session folders: what `record` writes, and its way to training."""
