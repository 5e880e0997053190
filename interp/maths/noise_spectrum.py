"""Singular values of a matrix of independent random entries of one variance: what a spectrum is held against."""

import math

import numpy as np
from jaxtyping import Float

NODES = 4096
"""Points at which an integral over the law of Marchenko and Pastur is taken; more change the tenth digit."""

RARE = 2.0234
"""99 % quantile of the law of Tracy and Widom for real matrices (Johnstone 2001; Bornemann 2010)."""


def edge(rows: int, columns: int) -> float:
    """Largest singular value √m + √n of an m×n matrix of entries of variance 1, as it grows (Marchenko & Pastur 1967)."""
    return math.sqrt(rows) + math.sqrt(columns)


def rare_edge(rows: int, columns: int) -> float:
    """Singular value that the largest of such a normal matrix exceeds once in a hundred draws (Johnstone 2001).

    Its square fluctuates around (√(m−1) + √n)² by the law of Tracy and Widom. Entries of other laws with four finite moments
    have the same limit. Of a few rows or columns it lies a little too high.
    """
    short, long = math.sqrt(min(rows, columns)), math.sqrt(max(rows, columns) - 1) or 1.0
    centre, scale = (short + long) ** 2, (short + long) * (1 / short + 1 / long) ** (1 / 3)
    return math.sqrt(centre + RARE * scale)


def stable_rank_of_noise(rows: int, columns: int) -> float:
    """Stable rank mn/(√m + √n)² of such a matrix, as it grows."""
    return rows * columns / edge(rows, columns) ** 2


def effective_rank_of_noise(rows: int, columns: int) -> float:
    """Effective rank exp H(σ/Σσ) of such a matrix, as it grows: k·E[x]·exp(−E[x ln x]/E[x]), x by Marchenko & Pastur."""
    values, weights = law(min(rows, columns) / max(rows, columns))
    mean = float(weights @ values)
    return min(rows, columns) * mean * math.exp(-float(weights @ (values * np.log(values))) / mean)


def law(ratio: float) -> tuple[Float[np.ndarray, " node"], Float[np.ndarray, " node"]]:
    """Singular values ÷ √(longer side) at some nodes, and their weights, which sum to 1; `ratio` is shorter ÷ longer side.

    With σ²/n = 1 + r + 2√r cos θ the law has the density 2 sin²θ / (π σ²/n) of θ between 0 and π.
    """
    theta = (np.arange(NODES) + 0.5) * math.pi / NODES
    squares = 1 + ratio + 2 * math.sqrt(ratio) * np.cos(theta)
    return np.sqrt(squares), 2 / NODES * np.sin(theta) ** 2 / squares
