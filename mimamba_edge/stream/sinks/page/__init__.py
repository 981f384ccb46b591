"""The web page of a stream."""
