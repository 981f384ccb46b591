"""Programs that serve a model to others: what they want on the disk."""
