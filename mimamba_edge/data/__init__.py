"""Recordings, label tables, trial windows and the EEG simulator."""
