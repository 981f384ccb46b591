"""Training and leak-proof evaluation of the reference model."""
