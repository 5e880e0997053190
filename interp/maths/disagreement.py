"""Disagreement: how many examples two networks answer differently, beside what their errors alone make of it.

Networks that err less can differ less. So two bounds stand beside the share that is found: of networks that answer each class
alike but independently, and of networks whose errors coincide as far as they can. Fort et al. (2019, arXiv 1912.02757) divide
by the error, and draw the independent case.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class Disagreement(NamedTuple):
    """Shares of examples that two of these runs answer differently, as means over pairs."""

    found: float
    independent: float
    """Share that is expected if the answers of each run were dealt anew among the examples of a class."""
    least: float
    """Least share that runs with these errors can have: the difference of their errors."""

    @property
    def normalised(self) -> float:
        """(found − least) ÷ (independent − least): 0 as alike as their errors let them be, 1 independent, NaN without room."""
        room = self.independent - self.least
        return (self.found - self.least) / room if room > 1e-12 else np.nan


class Estimate(NamedTuple):
    """A disagreement with standard errors over runs, by leaving one run out at a time (jackknife); NaN of two runs.

    Pairs share runs, so their spread would not do. The jackknife is never too small on average, and up to about √2 too large
    where pairs differ by chance alone (Efron & Stein 1981). The examples are taken as given.
    """

    value: Disagreement
    error: float
    """Of the share that is found."""
    normalised_error: float


def disagreement(answers: Int[np.ndarray, "run example"], classes: Int[np.ndarray, " example"]) -> Estimate:
    """The disagreement of two or more runs on examples of these classes."""
    pairs = between(answers, classes)
    value, runs = mean(pairs), len(answers)
    if runs < 3:
        return Estimate(value, np.nan, np.nan)
    left = [mean(np.delete(np.delete(pairs, run, axis=1), run, axis=2)) for run in range(runs)]
    both = np.array([[each.found, each.normalised] for each in left])
    return Estimate(value, *np.sqrt((runs - 1) * both.var(axis=0)).tolist())


def between(
    answers: Int[np.ndarray, "run example"], classes: Int[np.ndarray, " example"]
) -> Float[np.ndarray, "kind run run"]:
    """Share that is found, independent and least share of each two runs."""
    n = answers.shape[1]
    counts = np.zeros((len(answers), int(classes.max()) + 1, int(max(answers.max(), classes.max())) + 1))
    for mine, each in zip(counts, answers, strict=True):
        np.add.at(mine, (classes, each), 1)  # the confusion matrix
    of_class = np.bincount(classes, minlength=counts.shape[1])
    alike = np.einsum("icx,jcx,c->ij", counts, counts, 1 / np.maximum(of_class, 1))
    errors = (answers != classes).mean(axis=1)
    found = (answers[:, None] != answers[None]).mean(axis=2)
    return np.stack([found, (n - alike) / n, abs(errors[:, None] - errors[None])])


def mean(pairs: Float[np.ndarray, "kind run run"]) -> Disagreement:
    """Means over pairs of different runs."""
    first, second = np.triu_indices(pairs.shape[1], k=1)
    return Disagreement(*pairs[:, first, second].mean(axis=1).tolist())
