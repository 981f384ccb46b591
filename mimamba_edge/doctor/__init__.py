"""What ``doctor`` looks at on a machine, and what each finding asks for."""
