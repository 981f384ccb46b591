"""One folder a model family, found by name in mimamba_edge/family.py."""
