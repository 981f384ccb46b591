"""Sinks: where a stream's decisions, signal and counters go."""
