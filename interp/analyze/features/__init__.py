"""Analyses of features: how many there are, in how many dimensions, and how they lie there."""
