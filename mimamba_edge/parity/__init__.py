"""Comparing two runners on the same windows."""
