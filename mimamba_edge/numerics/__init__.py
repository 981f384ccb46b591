"""Float64 NumPy oracles of the ops and the whole network, and the figures of a comparison."""
