"""The causal signal path from recorded microvolts to scaled windows."""
