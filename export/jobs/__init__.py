"""Independent jobs on all cores or machines, and their results on the disk."""
