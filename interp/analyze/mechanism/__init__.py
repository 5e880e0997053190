"""Analyses of mechanism: by which waves, neurons, heads and representations answers are computed."""
