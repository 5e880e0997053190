"""A task, a family of models and an analysis for interp, from outside of it."""
