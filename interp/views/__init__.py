"""What a run can be seen as: each view says what it needs of a run, and what it offers to analyses."""
