"""Runners: one protocol for every backend that can run a model."""
