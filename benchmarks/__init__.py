"""What is measured, the raw records, and the renderer of the tables."""
