"""Sources: where a stream's samples come from."""
