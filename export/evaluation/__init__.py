"""Honest evaluation: models and baselines on the same held-out trials."""
