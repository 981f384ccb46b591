"""Readers of recordings, a module a format; :func:`mimamba_edge.data.recording.read_recording` knows them."""
