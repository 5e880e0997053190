"""Neurons that fire for some examples rather than for others, against examples that are chosen anew within their classes."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata

BEYOND = 1.96
"""Standard deviations of the null above which a neuron counts as selective: one in forty by chance."""


class Selectivity(NamedTuple):
    """How neurons tell examples apart, and how many do against chance."""

    auc: Float[np.ndarray, " neuron"]
    """Chance that a chosen example has a higher activation than another one; ties count half. ½: it tells nothing."""
    z: Float[np.ndarray, " neuron"]
    """`auc` less its mean under the null, ÷ its standard deviation there; 0 of a neuron that never varies."""
    share: float
    """Share of the neurons with z above `BEYOND`."""
    null: Float[np.ndarray, " draw"]
    """That share under the null."""

    @property
    def p(self) -> float:
        """Chance of so large a share under the null."""
        return float((1 + (self.null >= self.share).sum()) / (1 + len(self.null)))


def selectivity(
    activations: Float[np.ndarray, "example neuron"],
    chosen: Bool[np.ndarray, " example"],
    classes: Int[np.ndarray, " example"],
    draws: int,
    seed: int,
) -> Selectivity:
    """Selectivity of neurons for the chosen examples; the null chooses as many anew among the examples of each class.

    A neuron that knows classes, and nothing of which examples are chosen, is no more selective than the null.
    """
    ranks = rankdata(activations, axis=0)
    masks = np.concatenate([chosen[None], dealt(chosen, classes, draws, seed)]).astype(float)
    few, many = int(chosen.sum()), int((~chosen).sum())
    auc = (masks @ ranks - few * (few + 1) / 2) / (few * many)
    mean, spread = auc[1:].mean(axis=0), auc[1:].std(axis=0)
    # all activations equal: ranks are equal, and what is left is rounding
    z = np.divide(auc - mean, spread, out=np.zeros_like(auc), where=spread > 1e-9)
    shares = (z > BEYOND).mean(axis=1)
    return Selectivity(auc[0], z[0], float(shares[0]), shares[1:])


def dealt(
    chosen: Bool[np.ndarray, " example"], classes: Int[np.ndarray, " example"], draws: int, seed: int
) -> Bool[np.ndarray, "draw example"]:
    """Choices of as many examples of each class."""
    numbers, found = np.random.default_rng(seed), np.zeros((draws, len(chosen)), dtype=bool)
    for one in np.unique(classes):
        rows = np.flatnonzero(classes == one)
        found[:, rows] = numbers.permuted(np.tile(chosen[rows], (draws, 1)), axis=1)
    return found


def as_many(pool: Int[np.ndarray, " other"], n: int, draws: int, seed: int) -> Int[np.ndarray, "draw n"]:
    """For each draw n of the neurons in the pool."""
    numbers = np.random.default_rng(seed)
    return np.array([numbers.choice(pool, n, replace=False) for _ in range(draws)])


def of_equal_energy(
    energies: Float[np.ndarray, " neuron"], taken: Int[np.ndarray, " n"], draws: int, seed: int, near: int = 3
) -> Int[np.ndarray, "draw n"]:
    """For each draw, in place of every neuron that is taken another one of nearly its energy, each once.

    In a random order, each is replaced by one of the `near` nearest in energy that are left.
    """
    numbers, pool = np.random.default_rng(seed), np.setdiff1d(np.arange(len(energies)), taken)
    found = np.empty((draws, len(taken)), dtype=int)
    for draw in found:
        left = pool
        for place in numbers.permutation(len(taken)):
            order = np.abs(energies[left] - energies[taken[place]]).argsort(kind="stable")[:near]
            one = numbers.choice(order)
            draw[place], left = left[one], np.delete(left, one)
    return found
