"""MS-iMamba: configuration, network, float64 oracle, INT8."""
