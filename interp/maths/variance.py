"""Bias and variance of answers over runs on the same examples, for squared error and for cross-entropy (Yang et al. 2020).

Both split the mean loss of runs into what their average gets wrong and how far they lie apart. The average of probabilities is
the mean for squared error, and the normalised geometric mean for cross-entropy.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.special import logsumexp

Outputs = Float[np.ndarray, "run example answer"]


class Decomposition(NamedTuple):
    """Mean over examples of the loss of a run, in its parts: total = bias + variance."""

    total: float
    bias: float
    """Loss of the average of all runs there could be; squared error calls it bias²."""
    variance: float


class Estimate(NamedTuple):
    """A decomposition with standard errors over runs."""

    value: Decomposition
    error: Decomposition
    """By leaving one run out at a time (jackknife); NaN of two runs. The examples are taken as given."""
    share_error: float
    """Standard error of variance ÷ total, so too."""


def squared_error(outputs: Outputs, targets: Int[np.ndarray, " example"]) -> Decomposition:
    """Bias² and variance of Σ_k (p_k − y_k)², y one-hot; unbiased for any number of runs from 2.

    Variance is the sum over answers of the sample variance, ÷ (runs − 1). The mean of R runs is off by variance ÷ R, which is
    taken out of its squared error.
    """
    runs, right = len(outputs), np.eye(outputs.shape[2])[targets]
    mean = outputs.mean(axis=0)
    variance = float(((outputs - mean) ** 2).sum(axis=(0, 2)).mean() / (runs - 1))
    total = float(((outputs - right) ** 2).sum(axis=2).mean())
    return Decomposition(total, total - variance, variance)


def cross_entropy(log_probabilities: Outputs, targets: Int[np.ndarray, " example"]) -> Decomposition:
    """Bias KL(y ‖ π̄) and variance E KL(π̄ ‖ π) in nats, π̄ ∝ exp E log π; they sum to the mean cross-entropy.

    The variance is −ln Σ_k exp E log π_k. Of R runs it is too small by about variance ÷ R; the jackknife takes that out
    (Quenouille 1956), and leaves what is of order 1 ÷ R². Yang et al. leave it in.
    """
    runs, places = len(log_probabilities), np.arange(len(targets))
    total = float(-log_probabilities[:, places, targets].mean())
    whole = log_probabilities.sum(axis=0)
    without = [plain_variance((whole - one) / (runs - 1)) for one in log_probabilities]
    variance = runs * plain_variance(whole / runs) - (runs - 1) * float(np.mean(without))
    return Decomposition(total, total - variance, variance)


def plain_variance(mean_log: Float[np.ndarray, "example answer"]) -> float:
    """−ln Σ_k exp E log π_k, mean over examples; 0 of one run."""
    return float(-np.asarray(logsumexp(mean_log, axis=1)).mean())


def estimate(
    decompose: Callable[[Outputs, Int[np.ndarray, " example"]], Decomposition],
    outputs: Outputs,
    targets: Int[np.ndarray, " example"],
) -> Estimate:
    """The decomposition of two or more runs, with its standard errors."""
    runs, value = len(outputs), decompose(outputs, targets)
    if runs < 3:
        return Estimate(value, Decomposition(np.nan, np.nan, np.nan), np.nan)
    left_out = np.array([decompose(np.delete(outputs, run, axis=0), targets) for run in range(runs)])
    parts = np.column_stack([left_out, left_out[:, 2] / left_out[:, 0]])
    *errors, of_share = np.sqrt((runs - 1) * parts.var(axis=0)).tolist()
    return Estimate(value, Decomposition(*errors), of_share)
