"""Contrasts of independent estimates with unequal errors: is one of them apart from the mean of others?"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num
from scipy import stats


class Contrast(NamedTuple):
    """A weighted sum of estimates, and whether it is 0."""

    value: float
    error: float
    p: float
    """Two-sided p of the value if the estimates are normal: Student's t with the degrees of freedom of Welch (1947)."""


def contrast(
    values: Float[np.ndarray, " n"],
    errors: Float[np.ndarray, " n"],
    runs: Int[np.ndarray, " n"],
    weights: Num[np.ndarray, " n"],
) -> Contrast:
    """Σ w·x with its standard error, from estimates x with standard errors over so many runs each; NaN if any of them is."""
    value, parts = float(weights @ values), (weights * errors) ** 2
    error = float(np.sqrt(parts.sum()))
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = parts.sum() ** 2 / (parts**2 / (runs - 1)).sum()
        return Contrast(value, error, float(2 * stats.t.sf(abs(np.divide(value, error)), freedom)))


def against(
    values: Float[np.ndarray, " n"],
    errors: Float[np.ndarray, " n"],
    runs: Int[np.ndarray, " n"],
    one: int,
    others: Int[np.ndarray, " other"],
) -> Contrast:
    """The mean of some estimates less one of them; NaN if there are no others."""
    if not len(others):
        return Contrast(np.nan, np.nan, np.nan)
    weights = np.zeros(len(values))
    weights[others] = 1 / len(others)
    weights[one] = -1
    used = np.flatnonzero(weights)
    return contrast(values[used], errors[used], runs[used], weights[used])
