"""When each of many examples is learned: first steps, their quantiles, and how far groups and pairs tell them.

A step that is not reached is infinite: it comes after the last one, and quantiles among such are NaN.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata

QUANTILES = (0.25, 0.5, 0.75)

Steps = Float[np.ndarray, " example"]


def first_in_a_row(right: Bool[np.ndarray, "step example"], steps: Int[np.ndarray, " step"], in_a_row: int) -> Steps:
    """First step from which each example is right at `in_a_row` steps one after another; infinite if there is none."""
    if len(steps) < in_a_row:
        return np.full(right.shape[1], np.inf)
    stays = np.lib.stride_tricks.sliding_window_view(right, in_a_row, axis=0).all(axis=-1)
    return np.where(stays.any(axis=0), steps[stays.argmax(axis=0)], np.inf)


def for_good(right: Bool[np.ndarray, "step example"], steps: Int[np.ndarray, " step"]) -> Steps:
    """First step from which each example stays right to the end; infinite if it is wrong at the last."""
    later_wrong = np.logical_or.accumulate(~right[::-1], axis=0)[::-1]
    return np.where(right[-1], steps[later_wrong.sum(axis=0).clip(max=len(steps) - 1)], np.inf)


def lapses(
    right: Bool[np.ndarray, "step example"], steps: Int[np.ndarray, " step"], learned: Steps
) -> Int[np.ndarray, " example"]:
    """Number of times that each example goes from right to wrong after it was learned (forgetting events, Toneva et al. 2019)."""
    lost = right[:-1] & ~right[1:]
    return (lost & (steps[1:, None] > learned)).sum(axis=0)


def quantiles(learned: Steps, weights: Float[np.ndarray, " example"] | None = None) -> Float[np.ndarray, " quantile"]:
    """Quartiles: the first step by which a quarter, half, three quarters have it; NaN if too few ever have, and of none.

    Every example is followed to the same last step, so these are the quantiles of Kaplan and Meier.
    """
    if not len(learned):
        return np.full(len(QUANTILES), np.nan)
    order = np.argsort(learned, kind="stable")
    share = np.cumsum(np.ones(len(learned)) if weights is None else weights[order])
    places = np.searchsorted(share, np.array(QUANTILES) * share[-1] * (1 - 1e-12))
    found = learned[order][places]
    return np.where(np.isfinite(found), found, np.nan)


def explained(learned: Steps, groups: Int[np.ndarray, " example"]) -> tuple[float, float]:
    """Share of the variance of the ranks of these steps that lies between groups, and what groups at random have on average.

    The share is H/(n − 1) with the H of Kruskal and Wallis; at random it is (groups − 1)/(n − 1). NaN if all are tied.
    """
    ranks, (_, which) = rankdata(learned), np.unique(groups, return_inverse=True)
    n, sizes = len(ranks), np.bincount(which)
    total = ((ranks - ranks.mean()) ** 2).sum()
    if not total:
        return np.nan, np.nan
    means = np.bincount(which, weights=ranks) / sizes
    return float((sizes * (means - ranks.mean()) ** 2).sum() / total), (len(sizes) - 1) / (n - 1)


def gaps(one: Steps, other: Steps) -> Steps:
    """Number of steps between the two examples of each pair; infinite if either is never learned."""
    known = np.isfinite(one) & np.isfinite(other)
    found = np.full(len(one), np.inf)
    found[known] = np.abs(one[known] - other[known])
    return found


def gaps_by_chance(one: Steps, other: Float[np.ndarray, " others"], same: bool) -> Float[np.ndarray, " quantile"]:
    """Quartiles of the gaps if every example of the one kind were paired with every one of the other; with `same`, of its own
    kind, and not with itself.
    """
    (levels, counts), (theirs, others) = (np.unique(each, return_counts=True) for each in (one, other))
    weights = counts[:, None] * others.astype(float)
    if same:
        weights[np.arange(len(levels)), np.arange(len(levels))] -= counts
    between = gaps(np.repeat(levels, len(theirs)), np.tile(theirs, len(levels)))
    some = weights.ravel() > 0
    return quantiles(between[some], weights.ravel()[some])
