"""Honest latency measurements."""
