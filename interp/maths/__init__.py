"""Pure functions on tensors, each with its definition and source. They know nothing of runs, tasks or files."""
