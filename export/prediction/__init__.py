"""Bulk scoring: the decisions of a stream on many recordings, as one table."""
