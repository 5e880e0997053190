"""Analyses of learning: what is learned when, and what becomes of weights and gradients meanwhile."""
