"""Analyses of the loss around checkpoints: how it curves, how flat it lies, and what lies between two networks."""
