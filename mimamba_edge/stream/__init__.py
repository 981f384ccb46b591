"""Live inference: sources, windows, decisions."""
